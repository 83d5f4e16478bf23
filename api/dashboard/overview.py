"""The first page of a team: how its mirror is, and how its business does."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Any

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from api.account.status import read_status
from api.dashboard.formats import money, number
from api.dashboard.mirror_card import mirror_card
from api.dashboard.pages import show_page
from api.dashboard.plots import Plot, Value, plot
from api.http.access import Access, allow
from api.http.context import current_context
from api.numbers.analytics import right_as_of
from api.numbers.store import InCurrency, NumbersStore

blueprint = Blueprint("overview", __name__)

_MONTHS = 12
_FAILED_DAYS = 30


@dataclass(frozen=True, slots=True)
class Business:
    """In one currency; `failed_payments` is of all."""

    currencies: list[str]
    numbers: InCurrency | None
    failed_payments: int
    plots: list[Plot]


@blueprint.get("/teams/<team_id>/overview")
@allow(Access.READ_TEAM)
def show(team_id: str) -> str | Response:
    """A team without a mirror has nothing to look at: its first page is where it connects."""
    status = read_status(current_context(), team_id)
    if not status["schemaExists"]:
        return redirect(url_for("dashboard.stripe_page.show", team_id=team_id))
    return show_page(
        "overview.html",
        team_id,
        status=status,
        mirror=mirror_card(status),
        compared_at=compared_at(status["mirror"]),
        right_as_of=right_as_of(status["mirror"]),
        business=_read_business(team_id, request.args.get("currency")),
        failed_days=_FAILED_DAYS,
    )


def _read_business(team_id: str, wanted: str | None) -> Business:
    now = datetime.now(UTC)
    months = months_until(now.date(), _MONTHS)
    with current_context().pool.connection() as connection:
        store = NumbersStore(connection, team_id)
        currencies = store.currencies(datetime.combine(months[-1], datetime.min.time(), UTC))
        chosen = next((each for each in currencies if each.currency == wanted), most_used(currencies))
        failed = store.failed_payments(now - timedelta(days=_FAILED_DAYS))
        plots = _read_plots(store, chosen.currency, months) if chosen else []
    return Business([each.currency for each in currencies], chosen, failed, plots)


def _read_plots(store: NumbersStore, currency: str, months: list[date]) -> list[Plot]:
    revenue, moves = store.revenue(currency, months[0]), store.moves(currency, months[0])
    net = [revenue[month].net if month in revenue else 0 for month in months]
    running = list(accumulate(moves.get(month, 0) for month in months))
    return [
        plot(
            "revenue",
            "Net revenue by month",
            [
                Value(f"{month:%b %Y}", amount, money(amount, currency))
                for month, amount in zip(months, net, strict=True)
            ],
        ),
        plot(
            "subscriptions",
            "Active subscriptions at the end of the month",
            [Value(f"{month:%b %Y}", count, number(count)) for month, count in zip(months, running, strict=True)],
        ),
    ]


def most_used(currencies: list[InCurrency]) -> InCurrency | None:
    """The currency of most subscriptions: amounts of several currencies do not compare."""
    return max(currencies, key=lambda each: (each.active_subscriptions, each.mrr), default=None)


def months_until(today: date, count: int) -> list[date]:
    """The first days of the last months, the current one last."""
    whole = today.year * 12 + today.month - 1
    return [date(each // 12, each % 12 + 1, 1) for each in range(whole - count + 1, whole + 1)]


def compared_at(mirror: Mapping[str, Any]) -> str | None:
    """When every type was compared with Stripe at least once since; None while one never was."""
    moments = [each["comparedAt"] for each in mirror.values()]
    return min(moments) if moments and all(moments) else None
