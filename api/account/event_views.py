"""Sets up the webhook endpoint at Stripe, and compares the mirror with Stripe."""

from typing import Any

from api.account import schemas
from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.request_log import request_id
from api.webhooks.setup import api_version, set_up_webhook, webhook_url
from workers.jobs.reconcile import start_reconcile

blueprint = Blueprint(
    "stripe_events",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/stripe",
    description="Webhook set-up and comparison, which keep a mirror correct after its backfill.",
)


@blueprint.endpoint("POST", "/webhook", Access.CHANGE_TEAM, answers={200: schemas.WebhookAnswer})
def set_up(team_id: str) -> dict[str, Any]:
    """Set up the webhook at Stripe

    Creates an endpoint at Stripe for exactly the events that the mirror needs, or repairs the one that BillStack
    created before. An endpoint that a person created, and its stored secret, stay as they are.
    """
    context = current_context()
    done = set_up_webhook(context, team_id)
    return {
        "success": True,
        "message": {"created": "Webhook created", "repaired": "Webhook repaired", "kept": "Webhook is already set up"}[
            done.action
        ],
        "webhookUrl": webhook_url(context, team_id),
        "endpointId": done.endpoint_id,
        "apiVersion": api_version(context, team_id),
    }


@blueprint.endpoint(
    "POST",
    "/reconcile",
    Access.CHANGE_TEAM,
    answers={202: schemas.ReconcilingAnswer, 200: schemas.ReconcilingAnswer},
)
def reconcile(team_id: str) -> tuple[dict[str, Any], int]:
    """Compare every object of the mirror with Stripe

    Repairs differences and reports them in the status under `lastReconcile`. 200 if a comparison is already running.
    """
    reconcile_id, already_running = start_reconcile(current_context(), team_id, request_id())
    message = "Reconcile already running" if already_running else "Reconcile started"
    return {"success": True, "message": message, "reconcileId": reconcile_id}, 200 if already_running else 202
