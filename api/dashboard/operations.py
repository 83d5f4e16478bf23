"""The operators' page: waiting work, workers, and the use of each Stripe budget."""

from flask import Blueprint

from api.dashboard.pages import show_page
from api.http.access import Access, allow, caller
from api.http.context import current_context
from api.people import People
from sync.events.ledger import backlog
from workers.queues import ALL_QUEUES
from workers.redis.budgets import read_budgets
from workers.registry import known_workers
from workers.rq_internals import queue_depth
from workers.stripe_account import shared_limiter

blueprint = Blueprint("operations", __name__)

_SHOWN = 200


@blueprint.get("/operators")
@allow(Access.OPERATE)
def show() -> str:
    context = current_context()
    with context.pool.connection() as connection:
        pending, oldest_s = backlog(connection)
        accounts = People(connection).list_accounts(caller().id)
    return show_page(
        "operators.html",
        pending=pending,
        oldest_s=oldest_s,
        queues=[queue_depth(name, context.redis) for name in ALL_QUEUES],
        workers=known_workers(context.redis)[:_SHOWN],
        budgets=read_budgets(context.redis, shared_limiter(context))[:_SHOWN],
        names=_names(accounts),
    )


def _names(accounts: list[tuple[str, bool, str]]) -> dict[tuple[str, bool], str]:
    """The teams behind an account, but only those that the caller belongs to. Other teams' names are private."""
    found: dict[tuple[str, bool], list[str]] = {}
    for account_id, livemode, name in accounts:
        found.setdefault((account_id, livemode), []).append(name)
    return {account: ", ".join(names) for account, names in found.items()}
