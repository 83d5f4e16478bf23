"""The views of numbers say what computing with the raw objects says, for a sandbox's business and for made-up ones."""

import dataclasses
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from psycopg import sql

from api.numbers.store import NumbersStore
from tests.factories import CREATED, DAY, NOW, Json, charge, customer, invoice, listed, price, subscription
from tests.sync.conftest import Team, empty_team
from tests.sync.numbers import computed
from tests.sync.numbers.conftest import Business, put, read

AHEAD, BEHIND = 4_000_000_000, NOW - DAY


def test_mrr_of_the_sandboxs_business(team: Team, business: Business) -> None:
    put(team, "subscription", business["subscription"])

    found = dict(read(team, "SELECT currency, mrr FROM mrr WHERE active_subscriptions > 0"))

    assert found == {
        currency: round(amount) for currency, amount in computed.mrr(business["subscription"], NOW).items()
    }
    assert {"eur", "usd"} <= found.keys()


def test_subscriptions_are_counted_by_what_they_count_as(team: Team, business: Business) -> None:
    put(team, "subscription", business["subscription"])

    counts = read(
        team,
        "SELECT sum(active_subscriptions), sum(trialing_subscriptions), sum(paused_subscriptions), sum(unknown_items) FROM mrr",
    )

    statuses = Counter(each["status"] for each in business["subscription"] if not each["pause_collection"])
    stopped = sum(
        bool(each["pause_collection"]) for each in business["subscription"] if each["status"] in ("active", "past_due")
    )
    active = statuses["active"] + statuses["past_due"]
    assert counts == [(active, statuses["trialing"], statuses["paused"] + stopped, 0)]


def test_each_item_and_line_is_a_row(team: Team, business: Business) -> None:
    put(team, "subscription", business["subscription"])
    put(team, "invoice", business["invoice"])

    items = read(team, "SELECT id, subscription, price, quantity, unit_amount FROM subscription_items")
    lines = read(team, "SELECT id, invoice, price, product, amount, currency, subscription FROM invoice_lines")

    assert sorted(items) == sorted(
        (item["id"], each["id"], item["price"]["id"], item["quantity"], item["price"]["unit_amount"])
        for each in business["subscription"]
        for item in each["items"]["data"]
    )
    assert sorted(lines, key=str) == sorted(
        (
            (
                line["id"],
                each["id"],
                *(line["pricing"]["price_details"][key] for key in ("price", "product")),
                *(line[key] for key in ("amount", "currency", "subscription")),
            )
            for each in business["invoice"]
            for line in each["lines"]["data"]
        ),
        key=str,
    )


def test_revenue_by_month(team: Team, business: Business) -> None:
    put(team, "invoice", business["invoice"])
    put(team, "charge", business["charge"])

    rows = read(
        team, "SELECT month, currency, paid_invoices, invoiced, charges, charged, refunded, net FROM revenue_by_month"
    )

    assert {tuple(row[:2]): tuple(row[2:]) for row in rows} == computed.revenue(business["invoice"], business["charge"])


def test_what_each_customer_has_paid_and_owes(team: Team, business: Business) -> None:
    for name in ("customer", "invoice", "charge"):
        put(team, name, business[name])

    rows = read(
        team,
        "SELECT customer, currency, charged, refunded, payments, failed_payments, open_amount FROM customer_totals"
        " WHERE charged > 0 OR failed_payments > 0 OR open_invoices > 0 OR refunded > 0 OR payments > 0",
    )

    expected: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 5)
    for each in business["charge"]:
        if computed.is_payment(each):
            for place, amount in enumerate((each["amount_captured"], each["amount_refunded"], 1)):
                expected[each["customer"], each["currency"]][place] += amount
        if each["status"] == "failed":
            expected[each["customer"], each["currency"]][3] += 1
    for each in business["invoice"]:
        if each["status"] == "open":
            expected[each["customer"], each["currency"]][4] += each["amount_remaining"]
    assert {tuple(row[:2]): list(row[2:]) for row in rows} == dict(expected)
    customers = read(team, "SELECT count(DISTINCT customer) FROM customer_totals")
    assert customers == [(len(business["customer"]),)]


CURRENCIES = ("usd", "eur", "jpy")
currencies = st.sampled_from(CURRENCIES)
decimals = st.decimals(0, 90_000, places=3).map(str)
coupons = st.fixed_dictionaries(
    {"duration": st.sampled_from(["forever", "repeating", "once"])}
) | st.fixed_dictionaries({"duration": st.just("forever")})


@st.composite
def discounts(draw: st.DrawFn) -> Json | str:
    if draw(st.integers(0, 4)) == 0:
        return "di_named_by_its_id"
    off = draw(st.sampled_from(["percent_off", "amount_off"]))
    amount = draw(st.sampled_from([5, 12.5, 33.33, 100]) if off == "percent_off" else st.integers(1, 20_000))
    coupon = {"percent_off": None, "amount_off": None, "currency": draw(currencies), **draw(coupons), off: amount}
    if off == "amount_off" and draw(st.booleans()):
        coupon["currency_options"] = {draw(currencies): {"amount_off": draw(st.integers(1, 20_000))}}
    return {"id": "di_1", "end": draw(st.sampled_from([None, AHEAD, BEHIND])), "source": {"coupon": coupon}}


@st.composite
def tiers(draw: st.DrawFn) -> list[Json]:
    tops = sorted(draw(st.sets(st.integers(1, 40), max_size=3)))
    return [
        {"up_to": top, "unit_amount_decimal": draw(decimals), "flat_amount": draw(st.integers(0, 5000))}
        for top in (*tops, None)
    ]


@st.composite
def prices(draw: st.DrawFn, id: str, currency: str) -> Json:
    """In that currency, in another one with it among its options, or without."""
    every = draw(st.sampled_from(["day", "week", "month", "year"]))
    recurring = {"interval": every, "interval_count": draw(st.integers(1, 6)), "usage_type": "licensed"}
    kind = draw(st.sampled_from(["plain", "plain", "tiered", "package", "metered"]))
    each = price(id, recurring=recurring, billing_scheme="per_unit", unit_amount=None)
    each["currency"] = draw(st.sampled_from([currency, *CURRENCIES]))

    def costs() -> Json:
        if kind == "tiered":
            return {"unit_amount_decimal": None, "tiers": draw(tiers())}
        return {"unit_amount_decimal": draw(decimals)}

    each |= costs()
    if draw(st.booleans()):
        each["currency_options"] = {other: costs() for other in {each["currency"], draw(currencies)}}
        each["currency_options"][each["currency"]] = {key: each[key] for key in costs()}
    if kind == "tiered":
        each |= {"billing_scheme": "tiered", "tiers_mode": draw(st.sampled_from(["volume", "graduated"]))}
    if kind == "package":
        each["transform_quantity"] = {
            "divide_by": draw(st.integers(1, 9)),
            "round": draw(st.sampled_from(["up", "down"])),
        }
    if kind == "metered":
        recurring["usage_type"] = "metered"
    return each


def as_embedded(price: Json) -> Json:
    """As Stripe shows a price in a subscription."""
    return {key: value for key, value in price.items() if key not in ("tiers", "currency_options")}


@st.composite
def items(draw: st.DrawFn, id: str, currency: str) -> tuple[Json, Json]:
    """And its price as it is in the mirror, if it is there. One of both has the whole price, or none."""
    each = draw(prices(f"price_{id}", currency))
    place = draw(st.sampled_from(["mirror", "mirror", "item", "nowhere"]))
    is_metered = each["recurring"]["usage_type"] == "metered"
    item = {
        "id": f"si_{id}",
        "object": "subscription_item",
        "price": each if place == "item" else as_embedded(each),
        "discounts": draw(st.lists(discounts(), max_size=1)),
        **({} if is_metered else {"quantity": draw(st.integers(0, 50))}),
    }
    return item, each if place == "mirror" else as_embedded(each)


# Seconds around the beginnings of months, and around a moment since when something is counted.
SINCE = CREATED + 200 * DAY
moments = st.builds(
    lambda month, seconds: CREATED + month * 30 * DAY + seconds, st.integers(0, 14), st.integers(-3 * DAY, 3 * DAY)
) | st.sampled_from([SINCE - 1, SINCE, SINCE + 1])


@st.composite
def subscriptions(draw: st.DrawFn, number: int) -> tuple[Json, list[Json]]:
    """And the prices of its items."""
    currency = draw(currencies)
    found = [draw(items(f"{number}_{place}", currency)) for place in range(draw(st.integers(1, 3)))]
    status = draw(
        st.sampled_from(["active", "active", "past_due", "trialing", "paused", "canceled", "canceled", "unpaid"])
    )
    each = subscription(
        f"sub_{number}",
        currency=currency,
        customer=f"cus_{draw(st.integers(1, 2))}",
        status=status,
        created=draw(moments),
        trial_end=draw(st.none() | moments | st.just(AHEAD)),
        ended_at=draw(moments) if status == "canceled" else None,
        items=listed(*(item for item, _ in found)),
        discounts=draw(st.lists(discounts(), max_size=2)),
        pause_collection=draw(st.sampled_from([None, None, {"behavior": "void", "resumes_at": None}])),
    )
    return each, [of_item for _, of_item in found]


businesses = st.integers(1, 4).flatmap(lambda count: st.tuples(*(subscriptions(number) for number in range(count))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(business=businesses, discount=st.none() | discounts().filter(lambda each: not isinstance(each, str)))
def test_mrr_of_any_business(team: Team, business: tuple[tuple[Json, list[Json]], ...], discount: Json | None) -> None:
    empty_team(team)
    every, customers = [each for each, _ in business], {"cus_1": customer("cus_1", discount=discount)}
    priced = {each["id"]: each for _, of_items in business for each in of_items}
    put(team, "subscription", every)
    put(team, "customer", customers.values())
    put(team, "price", priced.values())

    rows = read(team, "SELECT subscription, sum(amount) FROM subscription_mrr GROUP BY subscription")
    total = dict(read(team, "SELECT currency, mrr FROM mrr WHERE active_subscriptions > 0"))

    assert {id: float(amount or 0) for id, amount in rows} == pytest.approx(
        {each["id"]: float(computed.monthly(each, NOW, priced, customers)) for each in every}, rel=1e-9
    )
    wanted = computed.mrr(every, NOW, priced, customers)
    assert {currency: total.get(currency, 0) for currency in wanted} == rounded(wanted)


def rounded(amounts: Mapping[str, Fraction]) -> dict[str, float]:
    return {currency: pytest.approx(float(amount), abs=0.5001) for currency, amount in amounts.items()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(business=businesses)
def test_what_began_and_ended_in_any_business(team: Team, business: tuple[tuple[Json, list[Json]], ...]) -> None:
    """As the overview and the analytics tell it."""
    empty_team(team)
    every = [each for each, _ in business]
    put(team, "subscription", every)
    first = date.fromtimestamp(CREATED + 90 * DAY).replace(day=1)

    found = NumbersStore(team.connection, team.id).currencies(datetime.fromtimestamp(SINCE, UTC), first)

    wanted = computed.months(every, int(time.time()), SINCE, first)
    names = [each.name for each in dataclasses.fields(computed.Months)]
    assert {row.currency: {name: getattr(row, name) for name in names} for row in found} == {
        currency: {name: as_shown(getattr(row, name)) for name in names} for currency, row in wanted.items()
    }


def as_shown(value: object) -> object:
    return pytest.approx(float(value), abs=0.5001) if isinstance(value, Fraction) else value


@st.composite
def charges(draw: st.DrawFn, number: int) -> Json:
    amount, is_captured = draw(st.integers(1, 10**12)), draw(st.booleans())
    captured = draw(st.integers(1, amount)) if is_captured else 0
    return charge(
        f"ch_{number}",
        amount=amount,
        currency=draw(currencies),
        created=draw(moments),
        status=draw(st.sampled_from(["succeeded", "succeeded", "failed", "pending"])),
        captured=is_captured,
        amount_captured=captured,
        amount_refunded=draw(st.integers(0, captured)),
    )


@st.composite
def invoices(draw: st.DrawFn, number: int) -> Json:
    return invoice(
        f"in_{number}",
        currency=draw(currencies),
        created=draw(moments),
        status=draw(st.sampled_from(["paid", "paid", "open", "draft", "void", "uncollectible"])),
        amount_paid=draw(st.integers(0, 10**12)),
        status_transitions={"paid_at": draw(moments)},
    )


def some(of: Callable[[int], st.SearchStrategy[Json]]) -> st.SearchStrategy[tuple[Json, ...]]:
    return st.integers(0, 6).flatmap(lambda count: st.tuples(*(of(number) for number in range(count))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(invoiced=some(invoices), charged=some(charges))
def test_revenue_of_any_business(team: Team, invoiced: tuple[Json, ...], charged: tuple[Json, ...]) -> None:
    empty_team(team)
    put(team, "invoice", invoiced)
    put(team, "charge", charged)

    rows = read(
        team, "SELECT month, currency, paid_invoices, invoiced, charges, charged, refunded, net FROM revenue_by_month"
    )

    assert {tuple(row[:2]): tuple(row[2:]) for row in rows} == computed.revenue(invoiced, charged)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "past_due"}, "past_due"),
        ({"status": "trialing"}, "trialing"),
        ({"status": "paused"}, "paused"),
        ({"pause_collection": {"behavior": "void"}}, "paused"),
        ({"status": "canceled"}, "canceled"),
        ({"status": "unpaid"}, "unpaid"),
        ({"currency": "eur"}, "amount_unknown"),
        ({"items": listed({"id": "si_1", "quantity": 1, "price": price(billing_scheme="tiered")})}, "tiers_unknown"),
        (
            {"items": listed({"id": "si_1", "price": price(recurring={"interval": "month", "usage_type": "metered"})})},
            "metered",
        ),
        ({"items": listed({"id": "si_1", "quantity": 1, "price": price(recurring=None)})}, "not_recurring"),
    ],
)
def test_an_item_says_why_it_counts_or_not(team: Team, changes: Json, why: str) -> None:
    put(team, "subscription", [subscription(**changes)])

    assert read(team, "SELECT why, counts FROM subscription_mrr") == [(why, why == "past_due")]


def test_objects_of_old_api_versions_are_read_too(team: Team) -> None:
    plan = {
        "id": "gold",
        "amount": 1200,
        "currency": "usd",
        "interval": "year",
        "interval_count": 1,
        "product": "prod_1",
    }
    coupon = {"percent_off": 50, "duration": "forever"}
    with_items = subscription("sub_1", items=listed({"id": "si_1", "plan": plan, "quantity": 2}))
    without = subscription("sub_2", plan=plan, quantity=1, discount={"coupon": coupon, "end": None})
    del without["items"], without["currency"]
    put(team, "subscription", [with_items, without])

    rows = read(team, "SELECT subscription, item, price, amount::float FROM subscription_mrr ORDER BY subscription")

    assert rows == [("sub_1", "si_1", "gold", 200), ("sub_2", None, "gold", 50)]


def test_a_price_in_several_currencies_counts_in_the_subscriptions(team: Team) -> None:
    several = price(currency_options={"eur": {"unit_amount": 4500, "unit_amount_decimal": "4500"}})
    put(
        team,
        "subscription",
        [subscription(currency="eur", items=listed({"id": "si_1", "price": several, "quantity": 2}))],
    )

    assert read(team, "SELECT currency, mrr FROM mrr") == [("eur", 9000)]


def test_a_customers_discount_is_for_subscriptions_without_one_of_their_own(team: Team) -> None:
    off = {"id": "di_1", "end": None, "source": {"coupon": {"percent_off": 50, "duration": "forever"}}}
    own = {"id": "di_2", "end": None, "source": {"coupon": {"percent_off": 10, "duration": "forever"}}}
    put(team, "customer", [customer(discount=off)])
    put(team, "subscription", [subscription("sub_1"), subscription("sub_2", discounts=[own])])

    rows = read(team, "SELECT subscription, amount::float FROM subscription_mrr ORDER BY subscription")

    assert rows == [("sub_1", 2450), ("sub_2", 4410)]


def test_a_discount_named_by_its_id_alone_is_told(team: Team) -> None:
    put(team, "subscription", [subscription(discounts=["di_1"])])

    assert read(team, "SELECT mrr, subscriptions_with_unknown_discounts FROM mrr") == [(4900, 1)]


def test_what_was_deleted_counts_nowhere(team: Team) -> None:
    put(team, "customer", [customer()])
    put(team, "invoice", [invoice(status="paid", amount_paid=500)])
    team.connection.execute(
        sql.SQL("UPDATE {} SET deleted_at = now()").format(sql.Identifier(team.schema, "customers"))
    )
    team.connection.execute(sql.SQL("UPDATE {} SET deleted_at = now()").format(sql.Identifier(team.schema, "invoices")))

    for view in ("customer_totals", "revenue_by_month", "invoice_lines"):
        assert read(team, f"TABLE {view}") == []


def test_a_charge_that_was_only_authorized_is_no_revenue(team: Team) -> None:
    put(team, "charge", [charge("ch_1", status="succeeded", captured=False, amount_captured=0, created=CREATED)])

    assert read(team, "SELECT 1 FROM revenue_by_month") == []


@pytest.mark.parametrize(
    "raw", [{}, {"items": None}, {"items": {"data": [None, 1, {"price": 3}]}}, {"items": {"data": {}}}]
)
def test_odd_json_breaks_no_view(team: Team, raw: Json) -> None:
    for name in ("customer", "subscription", "invoice", "charge"):
        put(team, name, [{"id": "odd_1", **raw, "lines": raw.get("items"), "discounts": 3, "created": "x"}])

    for view in (
        "subscription_items",
        "invoice_lines",
        "subscription_mrr",
        "mrr",
        "revenue_by_month",
        "customer_totals",
    ):
        read(team, f"TABLE {view}")
