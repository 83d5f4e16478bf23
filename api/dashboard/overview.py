"""The first page of a team: how its mirror is, and how its business does."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate

from flask import Blueprint, current_app, redirect, request, url_for
from werkzeug.wrappers import Response

from api.account.status import read_status
from api.dashboard import health
from api.dashboard.formats import money, number
from api.dashboard.mirror_card import mirror_card
from api.dashboard.pages import show_page
from api.dashboard.plots import Plot, Value, plot
from api.gateway.reading import use_of
from api.http.access import Access, allow
from api.http.context import current_context
from api.numbers.business import FAILED_DAYS, Business, most_used, read_business
from api.numbers.store import InCurrency
from workers.redis.gateway_use import DAYS

blueprint = Blueprint("overview", __name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """The business in one of its currencies; `failed_payments` is of all."""

    currencies: list[str]
    numbers: InCurrency | None
    failed_payments: int
    plots: list[Plot]
    as_of: str | None
    are_old: bool


@blueprint.get("/teams/<team_id>/overview")
@allow(Access.READ_TEAM)
def show(team_id: str) -> str | Response:
    """A team without a mirror has nothing to look at: its first page is where it connects."""
    status = read_status(current_context(), team_id)
    if not status["schemaExists"]:
        return redirect(url_for("dashboard.stripe_page.show", team_id=team_id))
    business = read_business(current_context(), team_id, status["mirror"])
    return show_page(
        "overview.html",
        team_id,
        status=status,
        mirror=mirror_card(status),
        compared_at=health.compared_at(status["mirror"]),
        repaired=health.repaired(status["mirror"]),
        next_comparison=health.next_comparison(status, datetime.now(UTC)),
        problems=health.problems(status),
        use=use_of(current_app).read(team_id),
        use_days=DAYS,
        business=_shown(business, request.args.get("currency")) if business else None,
        failed_days=FAILED_DAYS,
        failed_since=(datetime.now(UTC) - timedelta(days=FAILED_DAYS)).date().isoformat(),
    )


def _shown(business: Business, wanted: str | None) -> Shown:
    currencies = business.currencies
    chosen = next((each for each in currencies if each.currency == wanted), most_used(currencies))
    return Shown(
        [each.currency for each in currencies],
        chosen,
        business.failed_payments,
        _plots(chosen, business.net_revenue.get(chosen.currency, {}), business.months) if chosen else [],
        business.as_of,
        business.are_old,
    )


def _plots(chosen: InCurrency, revenue: Mapping[str, int], months: list[date]) -> list[Plot]:
    net = [revenue.get(month.isoformat(), 0) for month in months]
    running = list(accumulate(chosen.moves.get(month.isoformat(), 0) for month in months))
    return [
        plot(
            "revenue",
            "Net revenue by month",
            [
                Value(f"{month:%b %Y}", amount, money(amount, chosen.currency))
                for month, amount in zip(months, net, strict=True)
            ],
        ),
        plot(
            "subscriptions",
            "Active subscriptions at the end of the month",
            [Value(f"{month:%b %Y}", count, number(count)) for month, count in zip(months, running, strict=True)],
        ),
    ]
