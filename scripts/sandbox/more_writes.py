"""Creates, changes and deletes objects of the types beyond the first six.

At Stripe nobody can create or change a dispute, a payout or a balance transaction. Here a caller can, because something
has to cause the events of a business.
"""

from scripts.sandbox.fields import Field, flag, merge_metadata, read, text
from scripts.sandbox.forms import Params
from scripts.sandbox.kinds import KINDS
from scripts.sandbox.more_fields import COMPLETE, FIELDS
from scripts.sandbox.more_objects import Maker
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State
from scripts.sandbox.writes import chosen_id

_FIELDS: dict[str, Field] = {"active": flag, "description": text, "name": text, "status": text}


def create(state: State, params: Params, *, type: str) -> Json:
    """Creates an object with the given fields and makes up all others; of nothing given, everything."""
    obj, children = Maker(state.shelves, state.dice, livemode=state.livemode).make(type, state.now())
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
    return state.create(type, obj, children)


def update(state: State, id: str, params: Params, *, type: str) -> Json:
    obj = state.get(type, id)
    obj.update({name: value for name, value in read(params, _FIELDS).items() if name in obj})
    if "metadata" in obj:
        merge_metadata(obj, params)
    return state.change(type, obj)


def delete(state: State, id: str, *, type: str) -> Json:
    return state.remove(type, id)
