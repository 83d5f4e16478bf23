"""Creates, changes and deletes objects of the types beyond the first six.

At Stripe nobody can create or change a dispute, a payout or a balance transaction. Here a caller can, because something
has to cause the events of a business.
"""

from scripts.sandbox.fields import Field, flag, integer, merge_metadata, read, text
from scripts.sandbox.forms import Params
from scripts.sandbox.kinds import KINDS
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State
from scripts.sandbox.types.fields import COMPLETE, FIELDS
from scripts.sandbox.types.making import make_up
from scripts.sandbox.writes import chosen_id

_FIELDS: dict[str, Field] = {"active": flag, "description": text, "name": text, "status": text}


def create(state: State, params: Params, *, type: str) -> Json:
    """Creates an object with the given fields and makes up all others; of nothing given, everything."""
    obj, children = make_up(state, type)
    return state.create(type, told(state, type, obj, params), children)


def told(state: State, type: str, obj: Json, params: Params) -> Json:
    """The made-up object with the given fields."""
    own = FIELDS.get(type, {})
    given = read(params, {**_FIELDS, **own, "id": text})
    if "id" in given:
        obj["id"] = chosen_id(state, KINDS[type], given)
    obj.update({name: value for name, value in given.items() if name in obj})
    if given.keys() & own.keys():
        obj["metadata"] = {}
        COMPLETE[type](state, obj, given)
    if "metadata" in obj:
        merge_metadata(obj, params)
    return obj


def update(state: State, id: str, params: Params, *, type: str) -> Json:
    obj = state.get(type, id)
    obj.update({name: value for name, value in read(params, _FIELDS).items() if name in obj})
    if "metadata" in obj:
        merge_metadata(obj, params)
    return state.change(type, obj)


def detach(state: State, id: str, *, type: str) -> Json:
    return state.detach(type, id)


def adjust_balance(state: State, customer_id: str, params: Params) -> Json:
    """Stripe tells of the customer's new balance, but not of what changed it."""
    customer = state.get("customer", customer_id)
    given = read(params, {"amount": integer, "currency": text, "description": text}, required=("amount", "currency"))
    balance = customer["balance"] + given["amount"]
    moved = {"customer": customer_id, "amount": given["amount"], "ending_balance": balance}
    obj, _ = make_up(state, "customer_balance_transaction", moved)
    obj.update(currency=given["currency"], description=given.get("description"))
    merge_metadata(obj, params)
    state.create("customer_balance_transaction", obj)
    state.change("customer", {**customer, "balance": balance})
    return obj


def delete(state: State, id: str, *, type: str) -> Json:
    return state.remove(type, id)
