"""Assembles the numbers of a team or of one project for the API."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Any

from api.account.status import read_status
from api.numbers.currencies import whole_units
from api.numbers.kept import Wanted, read_numbers
from api.numbers.store import EventCounts, InCurrency, NumbersStore
from sync.errors import Conflict, TooManyRequests
from workers.context import Context

# In the order of a subscription's life.
STATUSES = (
    "active",
    "trialing",
    "past_due",
    "canceled",
    "unpaid",
    "incomplete",
    "paused",
    "incomplete_expired",
)
# Older numbers of a large mirror are computed again while the caller waits, up to this long.
_OLDEST_S = 3600.0
_PATIENCE_S = 20.0
_RETRY_AFTER_S = 10.0


def read_analytics(context: Context, team_id: str, days: int, project_id: str | None = None) -> dict[str, Any]:
    """Raises Conflict for a team without a mirror, TooManyRequests while the first numbers take long."""
    status = read_status(context, team_id)
    if not status["schemaExists"]:
        raise Conflict("this team has no mirror yet: connect it to Stripe first", code="not_connected")
    wanted = Wanted(
        team_id,
        f"analytics {days} {project_id or ''}".strip(),
        lambda connection: compute(NumbersStore(connection, team_id, project_id), datetime.now(UTC), days),
    )
    numbers = read_numbers(context, wanted, status["mirror"], oldest_s=_OLDEST_S, patience_s=_PATIENCE_S)
    if numbers is None:
        raise TooManyRequests("the numbers are being computed: ask again in a moment", retry_after_s=_RETRY_AFTER_S)
    return numbers.found | {"asOf": numbers.as_of}


def compute(store: NumbersStore, now: datetime, days: int) -> dict[str, Any]:
    """All but `asOf`, in the API's shape."""
    since, first = now - timedelta(days=days), now.date() - timedelta(days=days - 1)
    currencies, statuses, events = store.currencies(since, first), store.statuses(), store.events(since)
    growth = customer_growth(store.new_customers(first), first, days)
    main = main_currency(currencies)
    return {
        "currencies": {each.currency: _shown(each) for each in currencies},
        "currency": main.currency if main else None,
        "mrr": whole_units(main.mrr, main.currency) if main else 0,
        "customerCount": growth[-1]["count"],
        "churnRate": churn_rate(currencies),
        "subscriptionBreakdown": {status: statuses.get(status, 0) for status in STATUSES},
        "customerGrowth": growth,
        "webhookStats": _events_shown(events),
    }


def main_currency(currencies: list[InCurrency]) -> InCurrency | None:
    """The currency with the most MRR in whole units."""
    return max(currencies, key=lambda each: (whole_units(each.mrr, each.currency), each.currency), default=None)


def churn_rate(currencies: list[InCurrency]) -> float:
    """The percentage of subscriptions that counted at the start of the period and have ended since."""
    left, stayed = sum(each.left for each in currencies), sum(each.stayed for each in currencies)
    return round(100 * left / (left + stayed), 2) if left else 0.0


def customer_growth(new: Mapping[date, int], first: date, days: int) -> list[dict[str, Any]]:
    """The number of customers at the end of each day. The last day includes those from a clock ahead of ours."""
    dates = [first + timedelta(days=number) for number in range(days)]
    later = sum(count for day, count in new.items() if day > dates[-1])
    totals = list(accumulate(new.get(day, 0) for day in dates))
    totals[-1] += later
    return [{"date": day.isoformat(), "count": count} for day, count in zip(dates, totals, strict=True)]


def _shown(each: InCurrency) -> dict[str, int]:
    return {
        "mrr": each.mrr,
        "activeSubscriptions": each.active_subscriptions,
        "newMrr": each.new_mrr,
        "churnedMrr": each.churned_mrr,
    }


def _events_shown(events: EventCounts) -> dict[str, int]:
    return {"total": events.processed + events.waiting, "processed": events.processed, "failed": events.failed}
