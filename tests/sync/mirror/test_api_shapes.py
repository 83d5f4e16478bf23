"""Objects in API shapes of 2017 to 2026: `raw` stays as sent, and each typed column says what the JSON says.

What the JSON says is read here once more, in Python and by other means than schema.sql.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from psycopg import sql
from psycopg.rows import dict_row

from sync.mirror.store import MirrorStore
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES
from tests import factories
from tests.factories import CREATED, DAY, NOW, Json, encoded, listed
from tests.sync.events.test_event_samples import SAMPLES

LATER = CREATED + 30 * DAY
PLAN = {
    "id": "gold",
    "object": "plan",
    "amount": 900,
    "currency": "eur",
    "interval": "month",
    "interval_count": 1,
    "name": "Gold",
}
OLD_CUSTOMER = {
    "id": "cus_1",
    "object": "customer",
    "account_balance": -500,
    "created": CREATED,
    "currency": "eur",
    "default_source": None,
    "delinquent": False,
    "description": "Ada",
    "discount": None,
    "email": "ada@example.com",
    "metadata": {"a": "b"},
    "sources": listed(),
    "subscriptions": listed(),
}
OLD_SUBSCRIPTION = {
    "id": "sub_1",
    "object": "subscription",
    "billing": "charge_automatically",
    "cancel_at_period_end": True,
    "canceled_at": NOW,
    "created": CREATED,
    "current_period_end": LATER,
    "current_period_start": CREATED,
    "customer": "cus_1",
    "ended_at": None,
    "metadata": {},
    "plan": PLAN,
    "quantity": 3,
    "start": CREATED,
    "status": "active",
    "tax_percent": None,
    "trial_end": None,
}
OLD_INVOICE = {
    "id": "in_1",
    "object": "invoice",
    "amount_due": 900,
    "attempted": True,
    "charge": "ch_1",
    "closed": True,
    "currency": "eur",
    "customer": "cus_1",
    "date": CREATED,
    "due_date": None,
    "forgiven": False,
    "metadata": {},
    "next_payment_attempt": None,
    "number": "A1-0001",
    "paid": True,
    "period_end": CREATED,
    "period_start": CREATED - 30 * DAY,
    "subscription": "sub_1",
    "subtotal": 900,
    "total": 900,
}
OLD_CHARGE = {
    "id": "ch_1",
    "object": "charge",
    "amount": 900,
    "amount_refunded": 0,
    "captured": True,
    "created": CREATED,
    "currency": "eur",
    "customer": "cus_1",
    "description": None,
    "dispute": None,
    "failure_code": None,
    "failure_message": None,
    "invoice": "in_1",
    "metadata": {},
    "paid": True,
    "receipt_email": None,
    "refunded": False,
    "refunds": listed(),
    "source": {"id": "card_1", "object": "card", "name": "ada@example.com"},
    "status": "succeeded",
}


def without(about: Json, *names: str, **fields: Any) -> Json:
    return {name: value for name, value in about.items() if name not in names} | fields


# From the version of the API that it is named after until the next one of its type.
SHAPES: dict[str, tuple[Json, Json]] = {
    "customer 2017": (OLD_CUSTOMER, {"balance": -500, "name": None}),
    "customer 2019-10-17": (without(OLD_CUSTOMER, "account_balance", balance=7, name="Ada"), {"balance": 7}),
    "customer of the year both were sent": (OLD_CUSTOMER | {"balance": 0}, {"balance": 0}),
    "subscription 2017": (
        OLD_SUBSCRIPTION | {"items": listed({"id": "si_1", "plan": PLAN, "quantity": 3})},
        {"price": "gold", "unit_amount": 900, "currency": "eur", "quantity": 3, "product": None},
    ),
    "subscription 2018-02-05": (
        OLD_SUBSCRIPTION | {"items": listed({"id": "si_1", "plan": without(PLAN, "name", product="prod_1")})},
        {"price": "gold", "product": "prod_1", "quantity": 3},
    ),
    "subscription 2020-08-27": (
        without(OLD_SUBSCRIPTION, "plan", items=listed({"id": "si_1", "price": factories.price(), "quantity": 2})),
        {"price": "price_1", "quantity": 2, "current_period_end": datetime.fromtimestamp(LATER, UTC)},
    ),
    "subscription 2025-03-31": (
        without(OLD_SUBSCRIPTION, "plan", "current_period_end", items=listed(factories.subscription_item())),
        {"current_period_end": datetime.fromtimestamp(LATER, UTC)},
    ),
    "invoice 2017": (
        OLD_INVOICE,
        {"created": datetime.fromtimestamp(CREATED, UTC), "status": "paid", "subscription": "sub_1", "paid_at": None},
    ),
    "invoice 2017, forgiven": (OLD_INVOICE | {"paid": False, "forgiven": True}, {"status": "uncollectible"}),
    "invoice 2017, given up": (OLD_INVOICE | {"paid": False}, {"status": None}),
    "invoice 2017, unpaid": (OLD_INVOICE | {"paid": False, "closed": False}, {"status": None}),
    "invoice 2018-11-08": (
        without(OLD_INVOICE, "closed", "forgiven", status="void", auto_advance=False, paid=False),
        {"status": "void", "created": datetime.fromtimestamp(CREATED, UTC)},
    ),
    "invoice 2019-03-14": (
        without(OLD_INVOICE, "date", created=LATER, status="paid", status_transitions={"paid_at": NOW}),
        {"created": datetime.fromtimestamp(LATER, UTC), "paid_at": datetime.fromtimestamp(NOW, UTC)},
    ),
    "invoice 2025-03-31": (factories.invoice(amount_paid=4900), {"subscription": "sub_1", "amount_paid": 4900}),
    "charge 2017": (OLD_CHARGE, {"disputed": False, "invoice": "in_1", "payment_intent": None}),
    "charge 2017, disputed": (OLD_CHARGE | {"dispute": "dp_1"}, {"disputed": True}),
    "charge 2017, dispute expanded": (OLD_CHARGE | {"dispute": {"id": "dp_1"}}, {"disputed": True}),
    "charge 2020": (without(OLD_CHARGE, "dispute", disputed=True, amount_captured=900), {"disputed": True}),
    "charge 2020, won": (OLD_CHARGE | {"dispute": "dp_1", "disputed": False}, {"disputed": False}),
    "charge 2025-03-31": (
        without(OLD_CHARGE, "invoice", "refunds", payment_intent="pi_1", billing_details={"email": "b@example.com"}),
        {"invoice": None, "payment_intent": "pi_1", "receipt_email": "b@example.com"},
    ),
    "product 2017": (
        {"id": "prod_1", "object": "product", "active": True, "attributes": ["size"], "created": CREATED, "name": "T"}
        | {"skus": listed(), "updated": NOW, "shippable": True, "metadata": {}, "description": None},
        {"updated": datetime.fromtimestamp(NOW, UTC), "default_price": None},
    ),
    "price 2020": (without(factories.price(), "unit_amount_decimal"), {"unit_amount_decimal": None}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_keeps_its_json_and_gives_its_columns(store: MirrorStore, name: str) -> None:
    about, expected = SHAPES[name]

    found = mirrored(store, about)

    assert found["raw"] == about
    assert {column: found[column] for column in expected} == expected
    assert columns(found) == said_by(about)


@pytest.mark.parametrize(
    "about",
    [about for _, _, about in SAMPLES if about.get("object") in DEFAULT_TYPES and "id" in about]
    + [factories.FACTORIES[name]() for name in DEFAULT_TYPES],
    ids=lambda about: f"{about['object']}",
)
def test_every_sample_that_the_tests_know_gives_its_columns(store: MirrorStore, about: Json) -> None:
    found = mirrored(store, about)

    assert found["raw"] == about
    assert columns(found) == said_by(about)


def mirrored(store: MirrorStore, about: Json) -> Json:
    object_type = OBJECT_TYPES[about["object"]]
    store.apply_event(object_type, about["id"], encoded(about), created=NOW, checked_until=None)
    with store.connection.cursor(row_factory=dict_row) as cursor:
        table = sql.Identifier(store.schema, object_type.table)
        row = cursor.execute(sql.SQL("SELECT * FROM {} WHERE id = %s").format(table), (about["id"],)).fetchone()
    assert row
    return row


def columns(row: Json) -> Json:
    own = ("id", "raw", "as_of", "as_of_until", "deleted_at", "synced_at")
    return {name: value for name, value in row.items() if name not in own}


# What the JSON says -----------------------------------------------------------------------------------------------------


def at(about: Json, path: str) -> Any:
    value: Any = about
    for step in path.split("."):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def time_of(value: Any) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(value, UTC)


def id_of(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else value


def first(*paths: str, made: Callable[[Any], Any] = lambda value: value) -> Callable[[Json], Any]:
    def read(about: Json) -> Any:
        found = next((value for path in paths if (value := at(about, path)) is not None), None)
        return None if found is None else made(found)

    return read


def status_of_invoice(about: Json) -> str | None:
    if about.get("status"):
        return str(about["status"])
    return "paid" if about.get("paid") else "uncollectible" if about.get("forgiven") else None


def is_disputed(about: Json) -> bool | None:
    if about.get("disputed") is not None:
        return bool(about["disputed"])
    return about["dispute"] is not None if "dispute" in about else None


PRICE = ("items.data.0.price", "items.data.0.plan", "plan")
CREATED_AT, METADATA = first("created", made=time_of), first("metadata")
READERS: dict[str, dict[str, Callable[[Json], Any]]] = {
    "customer": {
        **{name: first(name) for name in ("email", "name", "phone", "description", "currency", "delinquent")},
        "balance": first("balance", "account_balance"),
    },
    "product": {
        **{name: first(name) for name in ("active", "name", "description")},
        "updated": first("updated", made=time_of),
        "default_price": first("default_price", made=id_of),
    },
    "price": {
        **{name: first(name) for name in ("active", "type", "currency", "unit_amount", "nickname", "lookup_key")},
        "product": first("product", made=id_of),
        "unit_amount_decimal": first("unit_amount_decimal", made=Decimal),
        "recurring_interval": first("recurring.interval"),
        "recurring_interval_count": first("recurring.interval_count"),
    },
    "subscription": {
        **{name: first(name) for name in ("status", "cancel_at_period_end")},
        **{name: first(name, made=time_of) for name in ("cancel_at", "canceled_at", "ended_at", "trial_end")},
        **{name: first(name, made=id_of) for name in ("customer", "latest_invoice")},
        "currency": lambda about: first("currency")(about) or first("currency")(first(*PRICE)(about) or {}),
        "price": first(*PRICE, made=id_of),
        "product": lambda about: first("product", made=id_of)(first(*PRICE)(about) or {}),
        "unit_amount": lambda about: first("unit_amount", "amount")(first(*PRICE)(about) or {}),
        "quantity": first("items.data.0.quantity", "quantity"),
        "current_period_start": first("items.data.0.current_period_start", "current_period_start", made=time_of),
        "current_period_end": first("items.data.0.current_period_end", "current_period_end", made=time_of),
    },
    "invoice": {
        **{name: first(name) for name in ("customer_email", "number", "currency", "subtotal", "total", "amount_due")},
        **{name: first(name) for name in ("amount_paid", "amount_remaining", "billing_reason")},
        **{name: first(name, made=time_of) for name in ("period_start", "period_end", "due_date")},
        "created": first("created", "date", made=time_of),
        "customer": first("customer", made=id_of),
        "subscription": first("parent.subscription_details.subscription", "subscription", made=id_of),
        "status": status_of_invoice,
        "paid_at": first("status_transitions.paid_at", made=time_of),
    },
    "charge": {
        **{name: first(name) for name in ("status", "currency", "amount", "amount_captured", "amount_refunded")},
        **{name: first(name) for name in ("paid", "refunded", "failure_code", "failure_message", "description")},
        **{name: first(name, made=id_of) for name in ("customer", "invoice", "payment_intent")},
        "receipt_email": first("receipt_email", "billing_details.email"),
        "disputed": is_disputed,
    },
}


def said_by(about: Json) -> Json:
    readers = {"created": CREATED_AT, "metadata": METADATA} | READERS[about["object"]]
    return {column: read(about) for column, read in readers.items()}
