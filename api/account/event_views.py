"""What keeps a mirror right after its backfill: the webhook endpoint at Stripe, and the comparison with Stripe."""

from typing import Any

from api.account import schemas
from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.request_log import request_id
from api.webhooks.setup import set_up_webhook, webhook_url
from sync.stripe.sdk import API_VERSION
from workers.jobs.reconcile import start_reconcile

blueprint = Blueprint(
    "stripe_events",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/stripe",
    description="What keeps a mirror right after its backfill.",
)


@blueprint.endpoint("POST", "/webhook", Access.CHANGE_TEAM, answers={200: schemas.WebhookAnswer})
def set_up(team_id: str) -> dict[str, Any]:
    """Let Stripe deliver this team's events

    Makes the webhook endpoint at Stripe with exactly the events that are needed, or repairs the one made before. An
    endpoint that a person made, and its pasted secret, stay as they are.
    """
    context = current_context()
    done = set_up_webhook(context, team_id)
    return {
        "success": True,
        "message": {"created": "Webhook created", "repaired": "Webhook repaired", "kept": "Webhook is as it should be"}[
            done.action
        ],
        "webhookUrl": webhook_url(context, team_id),
        "endpointId": done.endpoint_id,
        "apiVersion": API_VERSION,
    }


@blueprint.endpoint(
    "POST",
    "/reconcile",
    Access.CHANGE_TEAM,
    answers={202: schemas.ReconcilingAnswer, 200: schemas.ReconcilingAnswer},
)
def reconcile(team_id: str) -> tuple[dict[str, Any], int]:
    """Compare every object of the mirror with Stripe

    What drifted is repaired; what that was stands in the status under `lastReconcile`. 200 when one runs already.
    """
    reconcile_id, already_running = start_reconcile(current_context(), team_id, request_id())
    message = "Reconcile already running" if already_running else "Reconcile started"
    return {"success": True, "message": message, "reconcileId": reconcile_id}, 200 if already_running else 202
