"""The object types that have lists. Each type's row says where it lives and how its list can be filtered."""

from collections.abc import Callable, Mapping
from typing import Any

from scripts.sandbox.rows import Facet, Filter, Kind
from scripts.sandbox.shapes import Json
from scripts.sandbox.types.registry import FURTHER_COUNTS, FURTHER_KINDS

__all__ = ["FURTHER_COUNTS", "FURTHER_KINDS", "Filter", "Kind"]


def _flag(name: str) -> Callable[[Json], Facet]:
    return lambda obj: "true" if obj[name] else "false"


def _text(name: str) -> Callable[[Json], Facet]:
    return lambda obj: obj[name]


def _subscription_of_invoice(invoice: Json) -> Facet:
    parent: dict[str, Any] = invoice["parent"] or {}
    details = parent.get("subscription_details") or {}
    return details.get("subscription")


def _prices_of_subscription(subscription: Json) -> Facet:
    return tuple((item.get("price") or item["plan"])["id"] for item in subscription["items"]["data"])


def _currency_options(price: Json) -> Json:
    """Every price has its own currency among them."""
    fields = ("custom_unit_amount", "tax_behavior", "unit_amount", "unit_amount_decimal")
    return {"currency_options": {price["currency"]: {name: price.get(name) for name in fields}}}


SUBSCRIPTION_STATUSES = (
    "active",
    "canceled",
    "incomplete",
    "incomplete_expired",
    "past_due",
    "paused",
    "trialing",
    "unpaid",
)
INVOICE_STATUSES = ("draft", "open", "paid", "uncollectible", "void")
_COLLECTION = ("charge_automatically", "send_invoice")

CUSTOMER = Kind(
    "customer",
    "customers",
    "cus_",
    14,
    "customer",
    facets={"email": _text("email")},
    indexed=("email",),
    filters={"email": Filter("email")},
    unsupported=("test_clock",),
    event_prefix="customer",
)
PRODUCT = Kind(
    "product",
    "products",
    "prod_",
    14,
    "product",
    facets={
        "active": _flag("active"),
        "id": _text("id"),
        "type": _text("type"),
        "url": _text("url"),
        "shippable": _flag("shippable"),
    },
    filters={
        "active": Filter("active", ("true", "false")),
        "type": Filter("type", ("good", "service")),
        "url": Filter("url"),
        "shippable": Filter("shippable", ("true", "false")),
        "ids": Filter("id"),
    },
    event_prefix="product",
)
PRICE = Kind(
    "price",
    "prices",
    "price_1",
    22,
    "plan",  # the dashboard says prices, but the permission is still named after plans
    facets={
        "active": _flag("active"),
        "product": _text("product"),
        "type": _text("type"),
        "currency": _text("currency"),
        "lookup_key": _text("lookup_key"),
    },
    indexed=("product",),
    filters={
        # "Returns a list of your active prices, excluding inline prices" (stripe-facts.md, section 2).
        "active": Filter("active", ("true", "false"), default=frozenset(("true",))),
        "product": Filter("product"),
        "type": Filter("type", ("one_time", "recurring")),
        "currency": Filter("currency"),
        "lookup_keys": Filter("lookup_key"),
    },
    unsupported=("recurring",),
    hides=("tiers", "currency_options"),
    hidden=_currency_options,
    event_prefix="price",
)
SUBSCRIPTION = Kind(
    "subscription",
    "subscriptions",
    "sub_1",
    22,
    "subscription",
    facets={
        "customer": _text("customer"),
        "status": _text("status"),
        "price": _prices_of_subscription,
        "collection_method": _text("collection_method"),
    },
    indexed=("customer",),
    filters={
        "customer": Filter("customer"),
        # Lists contain canceled ones only on request (stripe-facts.md, section 2).
        "status": Filter(
            "status",
            (*SUBSCRIPTION_STATUSES, "all", "ended"),
            {"all": None, "ended": frozenset(("canceled", "incomplete_expired"))},
            default=frozenset(SUBSCRIPTION_STATUSES) - {"canceled"},
        ),
        "price": Filter("price"),
        "plan": Filter("price"),
        "collection_method": Filter("collection_method", _COLLECTION),
    },
    unsupported=("automatic_tax", "current_period_end", "current_period_start", "customer_account", "test_clock"),
    children="items",
    event_prefix="customer.subscription",
)
INVOICE = Kind(
    "invoice",
    "invoices",
    "in_1",
    22,
    "invoice",
    facets={
        "customer": _text("customer"),
        "subscription": _subscription_of_invoice,
        "status": _text("status"),
        "collection_method": _text("collection_method"),
    },
    indexed=("customer", "subscription"),
    filters={
        "customer": Filter("customer"),
        "subscription": Filter("subscription"),
        "status": Filter("status", INVOICE_STATUSES),
        "collection_method": Filter("collection_method", _COLLECTION),
    },
    unsupported=("customer_account", "due_date"),
    children="lines",
    event_prefix="invoice",
)
CHARGE = Kind(
    "charge",
    "charges",
    "ch_3",
    22,
    "charge",
    facets={
        "customer": _text("customer"),
        "payment_intent": _text("payment_intent"),
        "transfer_group": _text("transfer_group"),
    },
    indexed=("customer", "payment_intent"),
    filters={
        "customer": Filter("customer"),
        "payment_intent": Filter("payment_intent"),
        "transfer_group": Filter("transfer_group"),
    },
    event_prefix="charge",
)

EVENT = Kind(
    "event",
    "events",
    "evt_1",
    22,
    "event",
    facets={"type": _text("type"), "delivered": lambda event: "false" if event["pending_webhooks"] else "true"},
    # Events that are pending or have failed for good count as undelivered (stripe-facts.md, section 6).
    filters={
        "type": Filter("type"),
        "types": Filter("type"),
        "delivery_success": Filter("delivered", ("true", "false")),
    },
)
WEBHOOK_ENDPOINT = Kind("webhook_endpoint", "webhook_endpoints", "we_1", 22, "webhook")

FIRST_KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (CUSTOMER, PRODUCT, PRICE, SUBSCRIPTION, INVOICE, CHARGE)
}
KINDS: Mapping[str, Kind] = {**FIRST_KINDS, **FURTHER_KINDS}

# The contents of one account at scale 1.
DEFAULT_COUNTS: Mapping[str, int] = {
    "customer": 1250,
    "product": 15,
    "price": 42,
    "subscription": 890,
    "invoice": 3200,
    "charge": 4100,
}
