"""`/v1/plans`: recurring prices in their older shape. Each has the same id as its price.

Undocumented, and so here: a list without `active` has inactive plans too, and no list has inline ones.
"""

from typing import Any

from scripts.sandbox import shapes
from scripts.sandbox.answers import Answer, Refused, decode, no_such, ok
from scripts.sandbox.expanding import expanded
from scripts.sandbox.fields import Field, fields_of, flag, integer, merge_metadata, objects, one_of, read, text
from scripts.sandbox.forms import Params
from scripts.sandbox.kinds import PRICE
from scripts.sandbox.listing import FLAGS, list_objects, refuse_unknown
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State
from scripts.sandbox.writes import chosen_id, create_product

_LISTED_BY = frozenset(("active", "created", "product", "limit", "starting_after", "ending_before", "expand"))
_UPDATE: dict[str, Field] = {"active": flag, "nickname": text}
_PLAN: dict[str, Field] = {
    **_UPDATE,
    "amount": integer,
    "billing_scheme": one_of("per_unit", "tiered"),
    "currency": text,
    "id": text,
    "interval": one_of("day", "week", "month", "year"),
    "interval_count": integer,
    "tiers": objects,
    "tiers_mode": one_of("graduated", "volume"),
    "transform_usage": fields_of,
    "trial_period_days": integer,
    "usage_type": one_of("licensed", "metered"),
}


def list_plans(state: State, _: str, params: Params) -> Answer:
    refuse_unknown(params, _LISTED_BY)
    filters: dict[str, Any] = {"active": list(FLAGS)} | {name: params[name] for name in params if name != "expand"}
    try:
        page = list_objects(state.shelves["price"], filters | {"type": "recurring"}, url="/v1/plans")
    except Refused as refused:
        refused.error["message"] = refused.error["message"].replace("No such price", "No such plan")
        raise
    body = decode(page.body)
    paths = [path.removeprefix("data.") for path in params.get("expand", ())]
    return ok(body | {"data": [_shown(state, price, paths) for price in body["data"]]})


def retrieve_plan(state: State, id: str, params: Params) -> Answer:
    refuse_unknown(params, frozenset(("expand",)))
    return ok(_shown(state, _price_of(state, id), list(params.get("expand", ()))))


def create_plan(state: State, params: Params) -> Json:
    given = read({name: value for name, value in params.items() if name not in ("product", "metadata")}, _PLAN)
    for name in ("currency", "interval", "product"):
        if name not in params:
            raise Refused(f"Missing required param: {name}.", code="parameter_missing", param=name)
    product = params["product"]
    product_id = create_product(state, product)["id"] if isinstance(product, dict) else product
    state.named("product", product_id, "product")
    id = chosen_id(state, PRICE, given)
    price = shapes.price(id, state.now(), state.livemode, product_id, given["currency"].lower(), given.get("amount"))
    every = shapes.recurring(given["interval"], given.get("interval_count", 1))
    every |= {name: given[name] for name in ("trial_period_days", "usage_type") if name in given}
    price |= {"type": "recurring", "recurring": every}
    price |= {name: given[name] for name in (*_UPDATE, "billing_scheme", "tiers_mode") if name in given}
    if rule := given.get("transform_usage"):
        price["transform_quantity"] = {"divide_by": int(rule["divide_by"]), "round": rule["round"]}
    merge_metadata(price, params)
    state.create("price", {**price, **shapes.hidden_of_price(price, given)})
    return shapes.plan(price)


def update_plan(state: State, id: str, params: Params) -> Json:
    price = _price_of(state, id)
    price.update(read({name: value for name, value in params.items() if name != "metadata"}, _UPDATE))
    merge_metadata(price, params)
    return shapes.plan(state.change("price", price))


def delete_plan(state: State, id: str) -> Json:
    _price_of(state, id)
    return state.remove("price", id) | {"object": "plan"}


def _price_of(state: State, id: str) -> Json:
    record = state.shelves["price"].get(id)
    price: Json = decode(record.body) if record else {}
    if not price.get("recurring"):
        raise no_such("plan", id)
    return price


def _shown(state: State, price: Json, paths: list[str]) -> Json:
    plan = shapes.plan(price)
    for path in paths:
        if path == "tiers" and price["billing_scheme"] == "tiered":
            whole = decode(expanded(state, ok(price), ["tiers"]).body)
            plan["tiers"] = whole["tiers"]
        elif path != "tiers":
            plan = decode(expanded(state, ok(plan), [path]).body)
    return plan
