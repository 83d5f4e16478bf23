"""The Stripe connection page of a team: connect, sync, watch, and keep the mirror correct afterwards."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, request

from api.account.backfills import backfill_history
from api.account.mirror_choice import object_types_shown
from api.account.mirror_shown import drifted
from api.account.status import read_status
from api.dashboard import key_permissions
from api.dashboard.activity_chart import read_chart
from api.dashboard.mirror_card import mirror_card, type_state
from api.dashboard.pages import show_page
from api.http.access import Access, allow
from api.http.context import current_context
from api.webhooks.setup import webhook_url
from sync.event_types import listened_types
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES
from sync.stripe.sdk import API_VERSION

blueprint = Blueprint("stripe_page", __name__)

_HISTORY = 20


@blueprint.get("/teams/<team_id>/stripe")
@allow(Access.READ_TEAM)
def show(team_id: str) -> str:
    context = current_context()
    status = read_status(context, team_id)
    mirrored = status["mirror"] or DEFAULT_TYPES
    return show_page(
        "stripe.html",
        team_id,
        status=status,
        types=OBJECT_TYPES,
        object_types=object_types_shown(context, team_id, status),
        phase=_phase(status),
        is_finishing=_is_finishing(status),
        today=datetime.now(UTC).date(),
        mirror=mirror_card(status),
        type_state=type_state,
        history=[_summed(each) for each in backfill_history(context, team_id, _HISTORY)],
        chart=read_chart(team_id, request.args.get("activity")),
        reconcile=_reconcile_shown(status["lastReconcile"]),
        webhook_url=webhook_url(context, team_id),
        api_version=status["apiVersion"] or API_VERSION,
        event_types=listened_types(mirrored),
        needed_permissions=key_permissions.needed(mirrored),
        optional_permissions=key_permissions.optional(),
        key_link=key_permissions.link(mirrored),
    )


def _is_finishing(status: dict[str, Any]) -> bool:
    """All lists are read, and the finish checks what changed meanwhile (live.js has the same rule)."""
    types = status["result"].values()
    return status["syncStatus"] == "syncing" and all(
        each["status"] == "error" or each["progress"] >= 1 for each in types
    )


def _phase(status: dict[str, Any]) -> str:
    """Changes when something begins or ends. live.js, which has the same rule, then loads the page again."""
    run, reconcile = status["lastRun"] or {}, status["lastReconcile"] or {}
    ended = (run.get("id", ""), run.get("status", ""), reconcile.get("id", ""), reconcile.get("status", ""))
    complete = sum(each["complete"] for each in status["mirror"].values())
    flags = (status["connected"], status["keyValid"], status["lastEventAt"] is not None)
    webhook = status["webhook"] or {}
    events = (webhook.get("state", ""), webhook.get("endpointId") or "")
    return " ".join(
        [status["syncStatus"], *ended, str(complete), *("yes" if flag else "no" for flag in flags), *events]
    )


def _summed(backfill: dict[str, Any]) -> dict[str, Any]:
    return backfill | {"synced": sum(each["synced"] for each in backfill["result"].values())}


def _reconcile_shown(reconcile: dict[str, Any] | None) -> dict[str, Any] | None:
    """The comparison with totals over all types: compared and differing objects."""
    if reconcile is None:
        return None
    found = reconcile["result"].values()
    drifts = sum(drifted(each) for each in found)
    compared = sum(each["compared"] for each in found)
    return reconcile | {"compared": compared, "drifted": drifts}
