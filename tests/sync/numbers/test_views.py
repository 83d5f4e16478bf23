"""The views of numbers say what reckoning with the raw objects says, for a sandbox's business and for made-up ones."""

from collections import Counter, defaultdict

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from psycopg import sql

from tests.factories import CREATED, DAY, NOW, Json, charge, customer, invoice, listed, price, subscription
from tests.sync.conftest import Team, empty_team
from tests.sync.numbers import reckoned
from tests.sync.numbers.conftest import Business, put, read

AHEAD, BEHIND = 4_000_000_000, NOW - DAY


def test_mrr_of_the_sandboxs_business(team: Team, business: Business) -> None:
    put(team, "subscription", business["subscription"])

    found = dict(read(team, "SELECT currency, mrr FROM mrr WHERE active_subscriptions > 0"))

    assert found == {
        currency: round(amount) for currency, amount in reckoned.mrr(business["subscription"], NOW).items()
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

    assert {tuple(row[:2]): tuple(row[2:]) for row in rows} == reckoned.revenue(business["invoice"], business["charge"])


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
        if reckoned.is_payment(each):
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
    coupon = {"percent_off": None, "amount_off": None, "currency": "usd", **draw(coupons), off: amount}
    return {"id": "di_1", "end": draw(st.sampled_from([None, AHEAD, BEHIND])), "source": {"coupon": coupon}}


@st.composite
def tiers(draw: st.DrawFn) -> list[Json]:
    tops = sorted(draw(st.sets(st.integers(1, 40), max_size=3)))
    return [
        {"up_to": top, "unit_amount_decimal": draw(decimals), "flat_amount": draw(st.integers(0, 5000))}
        for top in (*tops, None)
    ]


@st.composite
def items(draw: st.DrawFn, number: int) -> Json:
    every = draw(st.sampled_from(["day", "week", "month", "year"]))
    recurring = {"interval": every, "interval_count": draw(st.integers(1, 6)), "usage_type": "licensed"}
    kind = draw(st.sampled_from(["plain", "plain", "tiered", "package", "metered", "tiers hidden"]))
    each = price(unit_amount_decimal=draw(decimals), unit_amount=None, recurring=recurring, billing_scheme="per_unit")
    if kind in ("tiered", "tiers hidden"):
        each |= {"billing_scheme": "tiered", "tiers_mode": draw(st.sampled_from(["volume", "graduated"]))}
        each |= {"unit_amount_decimal": None}
    if kind == "tiered":
        each["tiers"] = draw(tiers())
    if kind == "package":
        each["transform_quantity"] = {
            "divide_by": draw(st.integers(1, 9)),
            "round": draw(st.sampled_from(["up", "down"])),
        }
    if kind == "metered":
        recurring["usage_type"] = "metered"
    quantity = {} if kind == "metered" else {"quantity": draw(st.integers(0, 50))}
    found = draw(st.lists(discounts(), max_size=1))
    return {"id": f"si_{number}", "object": "subscription_item", "price": each, "discounts": found, **quantity}


@st.composite
def subscriptions(draw: st.DrawFn, number: int) -> Json:
    count = draw(st.integers(1, 3))
    return subscription(
        f"sub_{number}",
        status=draw(st.sampled_from(["active", "active", "past_due", "trialing", "paused", "canceled", "unpaid"])),
        items=listed(*(draw(items(place)) for place in range(count))),
        discounts=draw(st.lists(discounts(), max_size=2)),
        pause_collection=draw(st.sampled_from([None, None, {"behavior": "void", "resumes_at": None}])),
    )


businesses = st.integers(1, 4).flatmap(lambda count: st.tuples(*(subscriptions(number) for number in range(count))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(business=businesses)
def test_mrr_of_any_business(team: Team, business: tuple[Json, ...]) -> None:
    empty_team(team)
    put(team, "subscription", business)

    rows = read(team, "SELECT subscription, sum(amount) FROM subscription_mrr GROUP BY subscription")
    total = dict(read(team, "SELECT currency, mrr FROM mrr WHERE active_subscriptions > 0"))

    assert {id: float(amount or 0) for id, amount in rows} == pytest.approx(
        {each["id"]: float(reckoned.monthly(each, NOW)) for each in business}, rel=1e-9
    )
    wanted = reckoned.mrr(business, NOW).get("usd", 0)
    assert total.get("usd", 0) == pytest.approx(float(wanted), abs=0.5001)


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
