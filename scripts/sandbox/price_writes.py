"""Creates and updates prices within Stripe's rules: per unit or with tiers, in one currency or several."""

from scripts.sandbox import shapes
from scripts.sandbox.answers import Refused
from scripts.sandbox.fields import Field, fields_of, flag, integer, merge_metadata, objects, one_of, read, text
from scripts.sandbox.forms import Params, whole_number
from scripts.sandbox.kinds import PRICE
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State
from scripts.sandbox.writes import create_product

_PRICE_UPDATE: dict[str, Field] = {
    "active": flag,
    "lookup_key": text,
    "nickname": text,
    "tax_behavior": one_of("exclusive", "inclusive", "unspecified"),
}
_PRICE: dict[str, Field] = {
    **_PRICE_UPDATE,
    "billing_scheme": one_of("per_unit", "tiered"),
    "currency": text,
    "currency_options": fields_of,
    "product": text,
    "product_data": fields_of,
    "recurring": fields_of,
    "tiers": objects,
    "tiers_mode": one_of("graduated", "volume"),
    "unit_amount": integer,
}


def create_price(state: State, params: Params, *, listed: bool = True) -> Json:
    """`listed` is false for an inline price, which only its own subscription or invoice names."""
    given = read(params, _PRICE, required=("currency",))
    needed = "tiers" if given.get("billing_scheme") == "tiered" else "unit_amount"
    if needed not in given:
        raise Refused(f"Missing required param: {needed}.", code="parameter_missing", param=needed)
    product_id = _product_of_price(state, given)
    currency = given["currency"].lower()
    price = shapes.price(
        state.new_id(PRICE), state.now(), state.livemode, product_id, currency, given.get("unit_amount")
    )
    every = given.get("recurring")
    if every is not None:
        _check_interval(every)
        price["recurring"] = shapes.recurring(
            every["interval"], whole_number(every.get("interval_count") or 1, "recurring[interval_count]")
        )
        price["type"] = "recurring"
    shown = (*_PRICE_UPDATE, "billing_scheme", "tiers_mode")
    price.update({name: value for name, value in given.items() if name in shown})
    merge_metadata(price, params)
    state.create("price", {**price, **shapes.hidden_of_price(price, given)}, listed=listed)
    return price


def _product_of_price(state: State, given: Json) -> str:
    if "product" in given:
        return str(state.named("product", given["product"], "product")["id"])
    if "product_data" not in given:
        raise Refused("Missing required param: product.", code="parameter_missing", param="product")
    return str(create_product(state, given["product_data"])["id"])


def _check_interval(every: Json) -> None:
    allowed = ("day", "week", "month", "year")
    if every.get("interval") not in allowed:
        raise Refused(f"Invalid recurring[interval]: must be one of {', '.join(allowed)}", param="recurring[interval]")


def update_price(state: State, id: str, params: Params) -> Json:
    price = state.get("price", id)
    price.update(read(params, _PRICE_UPDATE))
    merge_metadata(price, params)
    return state.change("price", price)
