"""What a caller may say of a new object of these types, and what follows from it."""

from collections.abc import Callable, Mapping
from typing import Any

from scripts.sandbox.answers import Refused
from scripts.sandbox.fields import Field, fields_of, flag, integer, one_of, text
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import State


def _number(value: Any, param: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Refused(f"Invalid decimal: {value}", param=param) from None


FIELDS: Mapping[str, Mapping[str, Field]] = {
    "coupon": {
        "amount_off": integer,
        "currency": text,
        "duration": one_of("forever", "once", "repeating"),
        "duration_in_months": integer,
        "max_redemptions": integer,
        "percent_off": _number,
        "redeem_by": integer,
    },
    "promotion_code": {
        "code": text,
        "coupon": text,
        "customer": text,
        "expires_at": integer,
        "max_redemptions": integer,
        "promotion": fields_of,
    },
    "tax_rate": {
        "country": text,
        "display_name": text,
        "inclusive": flag,
        "jurisdiction": text,
        "percentage": _number,
        "state": text,
        "tax_type": text,
    },
    "invoiceitem": {
        "amount": integer,
        "currency": text,
        "customer": text,
        "discountable": flag,
        "invoice": text,
        "pricing": fields_of,
        "quantity": integer,
    },
    "payment_method": {"customer": text},
    "tax_id": {"customer": text, "value": text},
}


def _coupon(state: State, coupon: Json, given: Json) -> None:
    if ("percent_off" in given) == ("amount_off" in given):
        raise Refused("Must provide percent_off or amount_off.", code="parameter_missing")
    duration = given.get("duration", "once")
    coupon.update(
        amount_off=given.get("amount_off"),
        percent_off=given.get("percent_off"),
        currency=given["currency"] if "amount_off" in given else None,
        duration=duration,
        duration_in_months=given.get("duration_in_months") if duration == "repeating" else None,
        name=given.get("name"),
        times_redeemed=0,
    )


def _promotion_code(state: State, code: Json, given: Json) -> None:
    coupon = given.get("coupon") or (given.get("promotion") or {}).get("coupon")
    if coupon is None:
        raise Refused("Missing required param: promotion.", code="parameter_missing", param="promotion")
    state.named("coupon", coupon, "promotion[coupon]")
    if given.get("customer"):
        state.named("customer", given["customer"], "customer")
    code.update(
        active=True,
        customer=given.get("customer"),
        promotion={"coupon": coupon, "type": "coupon"},
        times_redeemed=0,
    )


def _tax_rate(state: State, rate: Json, given: Json) -> None:
    rate.update(active=True, effective_percentage=rate["percentage"])


def _invoiceitem(state: State, item: Json, given: Json) -> None:
    if "customer" not in given:
        raise Refused("Missing required param: customer.", code="parameter_missing", param="customer")
    state.named("customer", given["customer"], "customer")
    price_id = (given.get("pricing") or {}).get("price")
    item.update(description=given.get("description"), invoice=given.get("invoice"), pricing=None)
    if price_id:
        price = state.named("price", price_id, "pricing[price]")
        details = {"price": price["id"], "product": price["product"]}
        amount = str(price["unit_amount"])
        item["pricing"] = {"price_details": details, "type": "price_details", "unit_amount_decimal": amount}
        item.update(amount=price["unit_amount"] * item["quantity"], currency=price["currency"])


def _of_customer(state: State, obj: Json, given: Json) -> None:
    """At Stripe a payment method is attached in a second step."""
    if given.get("customer"):
        state.named("customer", given["customer"], "customer")


COMPLETE: Mapping[str, Callable[[State, Json, Json], None]] = {
    "coupon": _coupon,
    "promotion_code": _promotion_code,
    "tax_rate": _tax_rate,
    "invoiceitem": _invoiceitem,
    "payment_method": _of_customer,
    "tax_id": _of_customer,
}
