"""Stripe objects and events as tests need them: small, in today's shape, any field as the test says."""

import itertools
from typing import Any

import msgspec

from sync.stripe.sdk import API_VERSION

Json = dict[str, Any]

# A second on Stripe's clock, and the day on which most of what factories make was created.
NOW = 1_767_225_600  # 2026-01-01
DAY = 86_400
CREATED = NOW - 30 * DAY

ACCOUNT_ID = "acct_1Test"

_numbers = itertools.count(1)


def customer(id: str = "cus_1", **fields: Any) -> Json:
    return {"id": id, "object": "customer", "created": CREATED, "email": "ada@example.com", "metadata": {}, **fields}


def product(id: str = "prod_1", **fields: Any) -> Json:
    return {"id": id, "object": "product", "created": CREATED, "active": True, "name": "Team", "metadata": {}, **fields}


def price(id: str = "price_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "price",
        "created": CREATED,
        "active": True,
        "currency": "usd",
        "product": "prod_1",
        "type": "recurring",
        "unit_amount": 4900,
        "unit_amount_decimal": "4900",
        "recurring": {"interval": "month", "interval_count": 1},
        "metadata": {},
        **fields,
    }


def subscription(id: str = "sub_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "subscription",
        "created": CREATED,
        "customer": "cus_1",
        "status": "active",
        "currency": "usd",
        "items": listed(subscription_item()),
        "metadata": {},
        **fields,
    }


def subscription_item(id: str = "si_1", **fields: Any) -> Json:
    period = {"current_period_start": CREATED, "current_period_end": CREATED + 30 * DAY}
    return {"id": id, "object": "subscription_item", "price": price(), "quantity": 1, **period, **fields}


def invoice(id: str = "in_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "invoice",
        "created": CREATED,
        "customer": "cus_1",
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
        "status": "paid",
        "currency": "usd",
        "total": 4900,
        "lines": listed(invoice_line()),
        "metadata": {},
        **fields,
    }


def invoice_line(id: str = "il_1", price_id: str = "price_1", **fields: Any) -> Json:
    pricing = {"type": "price_details", "price_details": {"price": price_id, "product": "prod_1"}}
    return {"id": id, "object": "line_item", "amount": 4900, "currency": "usd", "pricing": pricing, **fields}


def charge(id: str = "ch_1", **fields: Any) -> Json:
    return {
        "id": id,
        "object": "charge",
        "created": CREATED,
        "customer": "cus_1",
        "amount": 4900,
        "currency": "usd",
        "status": "succeeded",
        "paid": True,
        "metadata": {},
        **fields,
    }


FACTORIES = {
    "customer": customer,
    "product": product,
    "price": price,
    "subscription": subscription,
    "invoice": invoice,
    "charge": charge,
}


def listed(*objects: Json, has_more: bool = False) -> Json:
    """A list as Stripe embeds it or answers with it."""
    return {"object": "list", "data": list(objects), "has_more": has_more}


def event(about: Json, type: str | None = None, *, created: int = NOW, **fields: Any) -> Json:
    """By default `<type>.updated`, with an id of its own."""
    return {
        "id": f"evt_{next(_numbers)}",
        "object": "event",
        "type": type or f"{about['object']}.updated",
        "created": created,
        "livemode": False,
        "api_version": API_VERSION,
        "data": {"object": about},
        **fields,
    }


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)
