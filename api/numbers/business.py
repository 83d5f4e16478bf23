"""What the overview says of a team's business, in all of its currencies."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from api.numbers.kept import Numbers, Wanted, read_numbers
from api.numbers.store import InCurrency, NumbersStore
from workers.context import Context

MONTHS = 12
FAILED_DAYS = 30
# A page is shown with old numbers, whatever their age, and fetches the new ones by itself. It waits only for the first.
_PATIENCE_S = 1.5


@dataclass(frozen=True, slots=True)
class Business:
    """`net_revenue` by currency and month (ISO 8601), in the currency's smallest unit. `failed_payments` are of all."""

    months: list[date]
    currencies: list[InCurrency]
    net_revenue: Mapping[str, Mapping[str, int]]
    failed_payments: int
    as_of: str | None
    are_old: bool


def read_business(context: Context, team_id: str, mirror: Mapping[str, Any]) -> Business | None:
    """`mirror` is the status' part of this name. None if the numbers are being computed for the first time."""
    months = months_until(datetime.now(UTC).date(), MONTHS)
    wanted = Wanted(
        team_id,
        f"business {months[-1]:%Y-%m}",
        lambda connection: compute(connection, team_id, months),
    )
    numbers = read_numbers(context, wanted, mirror, oldest_s=float("inf"), patience_s=_PATIENCE_S)
    return _as_business(numbers, months) if numbers else None


def compute(connection: psycopg.Connection[Any], team_id: str, months: list[date]) -> dict[str, Any]:
    store = NumbersStore(connection, team_id)
    this_month = datetime.combine(months[-1], datetime.min.time(), UTC)
    failed_since = datetime.now(UTC) - timedelta(days=FAILED_DAYS)
    return {
        "currencies": [dataclasses.asdict(each) for each in store.currencies(this_month, months[0])],
        "netRevenue": store.revenue(months[0]),
        "failedPayments": store.failed_payments(failed_since),
    }


def _as_business(numbers: Numbers, months: list[date]) -> Business:
    found = numbers.found
    currencies = [InCurrency(**each) for each in found["currencies"]]
    return Business(months, currencies, found["netRevenue"], found["failedPayments"], numbers.as_of, numbers.are_old)


def most_used(currencies: list[InCurrency]) -> InCurrency | None:
    """The currency of most subscriptions: amounts of several currencies do not compare."""
    return max(currencies, key=lambda each: (each.active_subscriptions, each.mrr), default=None)


def months_until(today: date, count: int) -> list[date]:
    """The first days of the last months, the current one last."""
    whole = today.year * 12 + today.month - 1
    return [date(each // 12, each % 12 + 1, 1) for each in range(whole - count + 1, whole + 1)]
