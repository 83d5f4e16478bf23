"""The typed columns read Stripe's old and new shapes; what has another type or does not fit is NULL and never raises."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from psycopg import sql
from psycopg.rows import dict_row

from sync.mirror.store import MirrorStore
from sync.object_types import BY_STRIPE_OBJECT, OBJECT_TYPES
from tests.factories import CREATED, DAY, FACTORIES, NOW, Json, encoded, listed, price, subscription_item

OWN_COLUMNS = {"id", "raw", "as_of", "as_of_until", "deleted_at", "synced_at"}
# Every JSON type, and of each what is hard to read.
ODD_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    2**31,
    2**63 - 1,
    2**63,
    10**400,
    -(10**400),
    1e308,
    253402300800,
    "",
    "text",
    "1e5",
    "9" * 500,
    "1767225600",
    [],
    [[1]],
    {},
    {"id": "x"},
    {"id": 5},
    {"data": "none"},
    {"data": [None]},
    {"data": [{"price": 7, "quantity": "many"}]},
]


def columns_of(store: MirrorStore, about: Json) -> Json:
    """Mirrors the object and reads its generated columns."""
    object_type = BY_STRIPE_OBJECT[about["object"]]
    store.apply_event(object_type, about["id"], encoded(about), created=NOW, checked_until=None)
    with store.connection.cursor(row_factory=dict_row) as cursor:
        table = sql.Identifier(store.schema, object_type.table)
        row = cursor.execute(sql.SQL("SELECT * FROM {} WHERE id = %s").format(table), (about["id"],)).fetchone()
    assert row, "the object was refused"
    return {name: value for name, value in row.items() if name not in OWN_COLUMNS}


def at(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


@pytest.mark.parametrize("name", OBJECT_TYPES)
def test_no_value_of_any_field_raises(store: MirrorStore, name: str) -> None:
    for number, odd in enumerate(ODD_VALUES):
        about = dict.fromkeys(FACTORIES[name](), odd) | {
            "object": OBJECT_TYPES[name].stripe_object,
            "id": f"odd_{number}",
        }

        columns_of(store, about)


# Those that say when they were made.
DATED = [name for name, each in OBJECT_TYPES.items() if each.created_field in FACTORIES[name]()]


@pytest.mark.parametrize("name", DATED)
@pytest.mark.parametrize("odd", [-1, 253402300800, 10**400, "1767225600", True, [], {}, None])
def test_a_time_that_is_none_is_null(store: MirrorStore, name: str, odd: Any) -> None:
    assert columns_of(store, FACTORIES[name](created=odd))["created"] is None


@pytest.mark.parametrize("name", DATED)
def test_the_last_second_of_the_year_9999_is_still_a_time(store: MirrorStore, name: str) -> None:
    assert columns_of(store, FACTORIES[name](created=253402300799))["created"].year == 9999


@pytest.mark.parametrize("odd", [2**63, -(2**63) - 1, 10**400, "4900", None, True, {}])
def test_an_amount_that_does_not_fit_is_null(store: MirrorStore, odd: Any) -> None:
    assert columns_of(store, FACTORIES["charge"](amount=odd))["amount"] is None


@pytest.mark.parametrize("amount", [2**31, 2**63 - 1, -(2**63), 0])
def test_amounts_beyond_32_bits_are_kept(store: MirrorStore, amount: int) -> None:
    assert columns_of(store, FACTORIES["charge"](amount=amount))["amount"] == amount


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("0.0005", Decimal("0.0005")),
        (12, Decimal(12)),
        ("-3", Decimal(-3)),
        ("1e5", None),
        ("NaN", None),
        ("Infinity", None),
        ("9" * 100, None),
        (" 1", None),
        (True, None),
    ],
)
def test_a_decimal_is_a_plain_number_or_its_text(store: MirrorStore, sent: Any, read: Decimal | None) -> None:
    assert columns_of(store, price(unit_amount_decimal=sent))["unit_amount_decimal"] == read


def test_a_reference_is_an_id_or_the_expanded_object(store: MirrorStore) -> None:
    by_id = columns_of(store, FACTORIES["charge"]("ch_1", customer="cus_1"))
    expanded = columns_of(store, FACTORIES["charge"]("ch_2", customer={"id": "cus_1", "object": "customer"}))
    neither = columns_of(store, FACTORIES["charge"]("ch_3", customer=["cus_1"]))

    assert (by_id["customer"], expanded["customer"], neither["customer"]) == ("cus_1", "cus_1", None)


def test_metadata_is_an_object_or_null(store: MirrorStore) -> None:
    assert columns_of(store, FACTORIES["customer"]("cus_1", metadata={"a": "b"}))["metadata"] == {"a": "b"}
    assert columns_of(store, FACTORIES["customer"]("cus_2", metadata="a"))["metadata"] is None


def test_a_customers_columns(store: MirrorStore) -> None:
    about = FACTORIES["customer"](
        email="Ada@Example.com",
        name="Zoë 🚀",
        phone="+1",
        description="d",
        currency="jpy",
        balance=-5 * 10**9,
        delinquent=False,
    )

    assert columns_of(store, about) == {
        "created": at(CREATED),
        "email": "Ada@Example.com",
        "name": "Zoë 🚀",
        "phone": "+1",
        "description": "d",
        "currency": "jpy",
        "balance": -5 * 10**9,
        "delinquent": False,
        "metadata": {},
    }


def test_a_products_columns(store: MirrorStore) -> None:
    found = columns_of(store, FACTORIES["product"](updated=NOW, active=False, default_price={"id": "price_1"}))

    assert (found["updated"], found["active"], found["default_price"]) == (at(NOW), False, "price_1")


def test_a_prices_columns(store: MirrorStore) -> None:
    found = columns_of(store, price(unit_amount=None, unit_amount_decimal="0.5", lookup_key="k", nickname="n"))

    assert (found["unit_amount"], found["unit_amount_decimal"]) == (None, Decimal("0.5"))
    assert (found["product"], found["recurring_interval"], found["recurring_interval_count"]) == ("prod_1", "month", 1)
    assert (found["lookup_key"], found["nickname"], found["type"]) == ("k", "n", "recurring")
    assert columns_of(store, price("price_2", recurring=None))["recurring_interval"] is None


def test_a_subscriptions_period_sits_on_its_items_since_basil_and_on_itself_before(store: MirrorStore) -> None:
    make = FACTORIES["subscription"]
    period = {"current_period_start": CREATED, "current_period_end": CREATED + 30 * DAY}
    old_item = {"id": "si_1", "object": "subscription_item", "price": price(), "quantity": 1}

    since = columns_of(store, make("sub_1"))
    before = columns_of(store, make("sub_2", items=listed(old_item), **period))

    for found in (since, before):
        assert found["current_period_start"] == at(CREATED)
        assert found["current_period_end"] == at(CREATED + 30 * DAY)


def test_a_subscriptions_first_item_gives_price_product_and_quantity(store: MirrorStore) -> None:
    items = listed(
        subscription_item("si_1", price=price("price_a", product="prod_a"), quantity=3),
        subscription_item("si_2", price=price("price_b")),
    )

    found = columns_of(store, FACTORIES["subscription"](items=items, latest_invoice={"id": "in_1"}))
    without = columns_of(store, FACTORIES["subscription"]("sub_2", items=listed()))

    assert (found["price"], found["product"], found["quantity"]) == ("price_a", "prod_a", 3)
    assert found["latest_invoice"] == "in_1"
    assert (without["price"], without["quantity"], without["current_period_end"]) == (None, None, None)


def test_an_invoices_subscription_sits_under_parent_since_basil_and_on_itself_before(store: MirrorStore) -> None:
    make = FACTORIES["invoice"]

    since = columns_of(store, make("in_1"))
    before = columns_of(store, make("in_2", parent=None, subscription="sub_1"))
    expanded = columns_of(store, make("in_3", parent=None, subscription={"id": "sub_1", "object": "subscription"}))
    single = columns_of(store, make("in_4", parent=None))

    assert [found["subscription"] for found in (since, before, expanded, single)] == ["sub_1", "sub_1", "sub_1", None]


def test_an_invoices_time_of_payment(store: MirrorStore) -> None:
    found = columns_of(store, FACTORIES["invoice"](status_transitions={"paid_at": NOW}, total=2**40))

    assert (found["paid_at"], found["total"]) == (at(NOW), 2**40)


def test_a_charges_invoice_is_read_where_an_older_version_still_names_it(store: MirrorStore) -> None:
    before = columns_of(store, FACTORIES["charge"]("ch_1", invoice="in_1"))
    since = columns_of(store, FACTORIES["charge"]("ch_2", payment_intent="pi_1"))

    assert (before["invoice"], since["invoice"], since["payment_intent"]) == ("in_1", None, "pi_1")


@pytest.mark.parametrize("fraction", [10.5, -0.25, 1e-9, 1099511627776.5])
def test_a_fraction_in_a_whole_number_is_null_and_never_rounded(store: MirrorStore, fraction: float) -> None:
    """Amounts, counts, quantities and times alike: every column that holds whole numbers or seconds."""
    whole = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
    types = " AND data_type IN ('bigint', 'timestamp with time zone', 'boolean')"
    for name, object_type in OBJECT_TYPES.items():
        about = fractions_everywhere(FACTORIES[name](), fraction) | {"id": "x_1", "object": object_type.stripe_object}
        columns = store.connection.execute(whole + types, (store.schema, object_type.table)).fetchall()

        found = columns_of(store, about)

        for (column,) in columns:
            is_made_up = column == "created" and name not in DATED
            assert column in OWN_COLUMNS or is_made_up or found[column] is None, column


def fractions_everywhere(value: Any, fraction: float) -> Any:
    """The object with the fraction in place of each number and boolean, and in every field that a column may read."""
    if isinstance(value, dict):
        return {key: fractions_everywhere(each, fraction) for key, each in value.items()}
    if isinstance(value, list):
        return [fractions_everywhere(each, fraction) for each in value]
    return fraction if isinstance(value, int) or value is None else value


PLAN = {"id": "gold", "object": "plan", "product": "prod_gold", "currency": "usd", "amount": 900}
BARE = {"id": "sub_1", "object": "subscription", "created": CREATED, "status": "active", "customer": "cus_1"}


@pytest.mark.parametrize(
    "shape",
    [
        {"items": listed({"id": "si_1", "quantity": 3, "plan": PLAN})},
        {"items": listed({"id": "si_1", "quantity": 3, "price": None, "plan": PLAN})},
        {"items": listed({"id": "si_1", "quantity": 3, "plan": PLAN}), "plan": None, "quantity": None},
        {"plan": PLAN, "quantity": 3},
        {"plan": PLAN, "quantity": 3, "items": listed()},
        {"items": listed({"id": "si_1", "quantity": 3, "price": {**PLAN, "object": "price", "unit_amount": 900}})},
    ],
)
def test_a_plan_stands_where_there_is_no_price(store: MirrorStore, shape: Json) -> None:
    found = columns_of(store, BARE | shape)

    assert (found["price"], found["product"], found["currency"]) == ("gold", "prod_gold", "usd")
    assert (found["quantity"], found["unit_amount"]) == (3, 900)


def test_a_period_that_is_null_on_the_item_is_read_from_the_subscription(store: MirrorStore) -> None:
    item = {"id": "si_1", "current_period_start": None, "current_period_end": None}

    found = columns_of(store, BARE | {"items": listed(item), "current_period_start": 5, "current_period_end": 6})

    assert (found["current_period_start"], found["current_period_end"]) == (at(5), at(6))


def test_an_invoices_parent_without_a_subscription_leaves_the_old_field_to_say(store: MirrorStore) -> None:
    parent = {"subscription_details": {"subscription": None}}

    assert columns_of(store, FACTORIES["invoice"](parent=parent, subscription="sub_9"))["subscription"] == "sub_9"


def test_a_charges_email_is_the_receipts_or_else_the_payers(store: MirrorStore) -> None:
    payer = {"billing_details": {"email": "payer@example.com"}}

    both = columns_of(store, FACTORIES["charge"]("ch_1", receipt_email="receipt@example.com", **payer))
    one = columns_of(store, FACTORIES["charge"]("ch_2", receipt_email=None, **payer))
    none = columns_of(store, FACTORIES["charge"]("ch_3"))

    assert [found["receipt_email"] for found in (both, one, none)] == ["receipt@example.com", "payer@example.com", None]


def test_an_expanded_reference_without_an_id_that_is_a_text_is_null(store: MirrorStore) -> None:
    assert columns_of(store, FACTORIES["charge"](customer={"id": 5}))["customer"] is None
