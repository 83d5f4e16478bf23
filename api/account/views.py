"""The Stripe account behind a team: connect, status, backfills."""

from typing import Any

from flask import Response

from api.account import schemas
from api.account.backfills import backfill_history, cancel_backfill, start_backfill
from api.account.connecting import connect, disconnect
from api.account.status import read_status
from api.http.access import Access, require_owner
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.request_log import request_id
from api.people.attempts import CONNECTS_OF_TEAM, Attempts
from api.webhooks.setup import api_version
from sync.object_types import DEFAULT_TYPES

blueprint = Blueprint(
    "stripe",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/stripe",
    description="The Stripe account behind a team, and its mirror.",
)

_READ, _CHANGE = Access.READ_TEAM, Access.CHANGE_TEAM


@blueprint.endpoint("POST", "/connect", _CHANGE, body=schemas.Connect, answers={200: schemas.ConnectedAnswer})
def connect_stripe(team_id: str, *, body: dict[str, str]) -> dict[str, Any]:
    """Connect the team to its Stripe account

    Stripe checks the key, and BillStack stores it encrypted. Connecting again replaces the keys. A key for another
    account, or for the account's other mode, is refused. Another `apiVersion` begins a backfill, because rows keep the
    shapes of the version in which they were read. A team has 20 attempts in five minutes; after that the answer
    is 429.
    """
    context = current_context()
    with context.pool.connection() as connection:  # before the check: attempts at once must not all see a low count
        Attempts(connection).spend(CONNECTS_OF_TEAM, team_id, "this team has tried too many keys: wait a few minutes")
    connect(
        context,
        team_id,
        secret_key=body["secretKey"],
        publishable_key=body.get("publishableKey"),
        webhook_secret=body.get("webhookSecret"),
        api_version=body.get("apiVersion"),
    )
    status = read_status(context, team_id)
    return {"success": True, "webhookUrl": _webhook_url(team_id), "syncStatus": status["syncStatus"]}


@blueprint.endpoint("DELETE", "/connect", _CHANGE, query=schemas.Disconnect, answers={204: "Disconnected"})
def disconnect_stripe(team_id: str, *, query: dict[str, bool]) -> Response:
    """Disconnect the team from Stripe

    Forgets the keys and stops a running backfill. The mirrored data stays unless it is purged.
    """
    if query["purge"]:
        require_owner()
    disconnect(current_context(), team_id, purge=query["purge"])
    return Response(status=204)


@blueprint.endpoint("GET", "/status", _READ, answers={200: schemas.StatusAnswer})
def show_status(team_id: str) -> dict[str, Any]:
    """Show what is mirrored and how far a running backfill is"""
    return read_status(current_context(), team_id)


@blueprint.endpoint("GET", "/webhook-url", _READ, answers={200: schemas.WebhookUrlAnswer})
def show_webhook_url(team_id: str) -> dict[str, str]:
    """Show where Stripe should send this team's events"""
    events = ", ".join(f"{name}.*" for name in DEFAULT_TYPES)
    version = api_version(current_context(), team_id)
    return {
        "webhookUrl": _webhook_url(team_id),
        "instructions": (
            f"In Stripe's dashboard, add an event destination with this URL, API version {version} and the events {events}."
            " Then connect again with its signing secret as webhookSecret."
        ),
    }


@blueprint.endpoint(
    "POST",
    "/backfill",
    _CHANGE,
    body=schemas.StartBackfill,
    answers={202: schemas.StartedAnswer, 200: schemas.StartedAnswer},
)
def start(team_id: str, *, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Start a backfill

    Without `objects` it covers all types that the team mirrors; a type that is named is mirrored from then on. Without
    `createdAfter` it begins at the account's first object. 200 if the same backfill is already running.
    """
    started = start_backfill(current_context(), team_id, body["objects"], body["createdAfter"], request_id())
    answer = {
        "success": True,
        "message": "Backfill already running" if started.already_running else "Backfill started",
        "syncStatus": "syncing",
        "backfillId": started.id,
        "result": started.result,
    }
    return answer, 200 if started.already_running else 202


@blueprint.endpoint("POST", "/backfill/cancel", _CHANGE, answers={202: schemas.CanceledAnswer})
def cancel(team_id: str) -> tuple[dict[str, Any], int]:
    """Stop the running backfill for good

    Mirrored data stays.
    """
    backfill_id = cancel_backfill(current_context(), team_id)
    message = "Backfill canceled" if backfill_id else "No backfill was running"
    return {"success": True, "message": message, "backfillId": backfill_id}, 202


@blueprint.endpoint("GET", "/backfills", _READ, query=schemas.History, answers={200: schemas.HistoryAnswer})
def list_backfills(team_id: str, *, query: dict[str, int]) -> dict[str, Any]:
    """Past backfills, newest first"""
    return {"backfills": backfill_history(current_context(), team_id, query["limit"])}


def _webhook_url(team_id: str) -> str:
    return f"{current_context().settings.public_url}/api/webhooks/stripe/{team_id}"
