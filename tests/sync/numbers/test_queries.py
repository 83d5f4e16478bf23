"""The queries of docs/numbers.md run as they stand there, and say what computing with the raw objects says."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from scripts.sandbox.account import Account
from scripts.sandbox.seeding import Recipe
from sync.object_types import DEFAULT_TYPES
from tests.factories import DAY, Json
from tests.sync.conftest import Team
from tests.sync.numbers import computed
from tests.sync.numbers.conftest import Business, put, read

PAGE = (Path(__file__).parents[3] / "docs" / "numbers.md").read_text()
# By the sentence above each.
QUERIES = dict(re.findall(r"^([^\n]+):\n\n```sql\n(.*?)```$", PAGE, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture
def mirror(team: Team, business: Business) -> Team:
    for name in DEFAULT_TYPES:
        put(team, name, business[name])
    return team


def answer(mirror: Team, sentence: str) -> list[tuple[Any, ...]]:
    return read(mirror, QUERIES[sentence])


def counting(business: Business) -> list[Json]:
    return [
        each
        for each in business["subscription"]
        if each["status"] in ("active", "past_due") and not each["pause_collection"]
    ]


def rounded(amounts: dict[Any, Fraction]) -> dict[Any, float]:
    return {key: pytest.approx(float(amount), abs=0.5001) for key, amount in amounts.items()}


def charged(business: Business) -> Iterable[tuple[Json, int]]:
    return (
        (each, each["amount_captured"] - each["amount_refunded"])
        for each in business["charge"]
        if computed.is_payment(each)
    )


def test_there_are_twelve_and_each_is_tested_here() -> None:
    assert len(QUERIES) == 12
    assert [sentence for sentence in QUERIES if f'"{sentence}"' not in Path(__file__).read_text()] == []


def test_mrr_by_plan(mirror: Team, business: Business) -> None:
    rows = answer(mirror, "MRR by plan")

    names = {each["id"]: each["name"] for each in business["product"]}
    expected: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for each in counting(business):
        for item in each["items"]["data"]:
            amount = computed.item_amount(item) * computed.how_often(item)
            expected[names[item["price"]["product"]], each["currency"]] += amount
    assert {(plan, currency): float(mrr) for plan, currency, mrr, _ in rows} == rounded(expected)


def test_subscriptions_that_ended(mirror: Team, business: Business) -> None:
    rows = answer(mirror, "Subscriptions that ended in the last 30 days, with the reason and what they brought a month")

    since = time.time() - 30 * DAY
    ended = [each for each in business["subscription"] if each["status"] == "canceled" and each["ended_at"] > since]
    assert {row[0]: float(row[6]) for row in rows} == rounded(
        {each["id"]: computed.monthly(each, int(since)) for each in ended}
    )
    assert {row[0]: row[3] for row in rows} == {each["id"]: each["cancellation_details"]["reason"] for each in ended}


def test_unpaid_invoices_by_age(mirror: Team, business: Business) -> None:
    rows = answer(mirror, "Unpaid invoices by age")

    expected: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for each in business["invoice"]:
        if each["status"] == "open":
            days = (time.time() - each["created"]) / DAY
            age = "0-30 days" if days < 30 else "31-90 days" if days < 90 else "over 90 days"
            expected[each["currency"], age][0] += 1
            expected[each["currency"], age][1] += each["amount_remaining"]
    assert {(currency, age): [count, int(amount)] for currency, age, count, amount in rows} == dict(expected)
    assert rows


def test_customers_without_a_payment(mirror: Team, business: Business) -> None:
    rows = answer(mirror, "Customers with a running subscription and no payment in 60 days")

    paid = {each["customer"] for each, _ in charged(business) if each["created"] > time.time() - 60 * DAY}
    assert {customer for customer, _, _ in rows} == {each["customer"] for each in counting(business)} - paid
    assert rows


def test_net_revenue_by_country(mirror: Team, business: Business) -> None:
    rows = answer(mirror, "Net revenue by country of the customer")

    countries = {each["id"]: (each["address"] or {}).get("country") or "unknown" for each in business["customer"]}
    expected: Counter[tuple[str, str]] = Counter()
    for each, net in charged(business):
        expected[countries[each["customer"]], each["currency"]] += net
    assert {(country, currency): int(net) for country, currency, net in rows} == dict(expected)


def test_revenue_of_the_last_twelve_months(mirror: Team, business: Business) -> None:
    rows = answer(mirror, "Revenue of the last twelve months")

    every = computed.revenue(business["invoice"], business["charge"])
    assert {(month, currency): tuple(amounts) for month, currency, *amounts in rows}.items() <= {
        key: row[3:] for key, row in every.items()
    }.items()
    this = datetime.now(UTC).date().replace(day=1)
    first = this.replace(year=this.year - 1)
    assert {month for month, *_ in rows} == {month for month, _ in every if month > first}
    assert len({month for month, *_ in rows}) in (11, 12)  # this month may have no revenue yet


def test_the_customers_who_paid_most(mirror: Team, business: Business) -> None:
    rows = answer(mirror, "The ten customers who paid most, by currency")

    totals: Counter[tuple[str, str]] = Counter()
    for each, net in charged(business):
        totals[each["currency"], each["customer"]] += net
    for currency in {currency for currency, _ in totals}:
        nets = sorted((net for (of, _), net in totals.items() if of == currency and net > 0), reverse=True)
        assert [net for of, _, _, net in rows if of == currency] == nets[:10]


def test_why_payments_failed(mirror: Team, business: Business) -> None:
    rows = answer(mirror, "Why payments failed in the last 90 days")

    expected: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for each in business["charge"]:
        if each["status"] == "failed" and each["created"] > time.time() - 90 * DAY:
            expected[each["failure_code"] or "unknown", each["currency"]][0] += 1
            expected[each["failure_code"] or "unknown", each["currency"]][1] += each["amount"]
    assert {(code, currency): [count, int(amount)] for code, currency, count, amount in rows} == dict(expected)


def test_subscriptions_that_end_with_their_period(mirror: Team, business: Business) -> None:
    rows = answer(mirror, "Subscriptions that end with their period, and what goes with them")

    ending = [each for each in counting(business) if each["cancel_at_period_end"]]
    assert {row[0]: float(row[4]) for row in rows} == rounded(
        {each["id"]: computed.monthly(each, int(time.time())) for each in ending}
    )


def test_what_each_product_was_invoiced_for(mirror: Team, business: Business) -> None:
    rows = answer(mirror, "What each product was invoiced for, on paid invoices")

    names = {each["id"]: each["name"] for each in business["product"]}
    expected: Counter[tuple[str, str]] = Counter()
    for each in business["invoice"]:
        for line in each["lines"]["data"] if each["status"] == "paid" else ():
            expected[names[line["pricing"]["price_details"]["product"]], line["currency"]] += line["amount"]
    assert {(name, currency): int(amount) for name, currency, amount, _ in rows} == dict(expected)


# Payouts: a team that mirrors them, too ---------------------------------------------------------------------------------


@pytest.fixture
def paid_out(team: Team) -> Account:
    """An account whose charges and refunds are paid out each week, all of it in the team's mirror."""
    recipe = Recipe(scale=0.1, types="all", profile="last-month")
    account = Account("paid-out", recipe, time.time)
    for name in ("payout", "balance_transaction"):
        put(team, name, account.objects(name))
    with team.connection.cursor() as cursor:
        cursor.executemany(
            sql.SQL("INSERT INTO {} VALUES (%s, %s)").format(
                sql.Identifier(team.schema, "payout_balance_transactions")
            ),
            [(payout_id, id) for (_, id), payout_id in groups(account).items()],
        )
    return account


def groups(account: Account) -> dict[tuple[str, str], str]:
    return account.state.shelves["balance_transaction"].group_of


def test_what_each_payout_is_made_of(team: Team, paid_out: Account) -> None:
    rows = answer(
        team,
        "What each payout of the last 90 days is made of (for a team that mirrors payouts and balance transactions)",
    )

    expected: dict[str, Counter[str]] = defaultdict(Counter)
    for (_, id), payout_id in groups(paid_out).items():
        moved = paid_out.state.get("balance_transaction", id)
        if moved["type"] != "payout":
            expected[payout_id][moved["type"]] += moved["amount"]
            expected[payout_id]["fee"] -= moved["fee"]
    assert {row[0]: (row[4], row[5], row[6], row[7]) for row in rows} == {
        id: (sums["charge"], sums["refund"], 0, sums["fee"]) for id, sums in expected.items()
    }
    assert all(row[3] == sum(row[4:]) for row in rows), "it adds up to what was paid out"
    assert {row[0]: (row[2], row[3]) for row in rows} == {
        each["id"]: (each["currency"], each["amount"]) for each in paid_out.objects("payout") if each["automatic"]
    }
    assert any(row[5] for row in rows), "some have refunds"


def test_which_payout_each_charge_and_refund_is_in(team: Team, paid_out: Account) -> None:
    rows = answer(team, "Which payout each charge and refund of the last 90 days is in")

    moved = [each for each in paid_out.objects("balance_transaction") if each["type"] != "payout"]
    payout_of = groups(paid_out)
    assert {(row[0], row[1]): row[2:7] for row in rows} == {
        (each["source"], each["type"]): (
            each["currency"],
            each["amount"],
            each["fee"],
            each["net"],
            payout_of.get(("payout", each["id"])),
        )
        for each in moved
    }
    assert len(rows) == len(moved)
    assert None in {row[6] for row in rows}, "what came in last is not paid out yet"
