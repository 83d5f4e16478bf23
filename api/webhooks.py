"""Where Stripe delivers a team's events."""

import time

import psycopg
import structlog
from flask import Response, jsonify, request
from marshmallow import fields

from api.access import Access
from api.context import current_context
from api.endpoints import Blueprint
from api.errors import RETRY_AFTER_S, error_answer
from api.fields import Body
from api.request_log import request_id
from workers.intake import take_event

blueprint = Blueprint("webhooks", __name__, url_prefix="/api/webhooks", description="Called by Stripe.")

_log = structlog.get_logger()


class ReceivedAnswer(Body):
    received = fields.Boolean(required=True)


@blueprint.endpoint(
    "POST",
    "/stripe/<team_id>",
    Access.ANYONE,
    answers={200: ReceivedAnswer, 400: "Not signed by Stripe, or no event", 503: "Not recorded: deliver it again"},
)
def receive(team_id: str) -> Response:
    """Deliver an event

    Answered as soon as the event is durably recorded; it is applied right after. A repetition does nothing again.
    """
    signature = request.headers.get("Stripe-Signature")
    try:
        take_event(current_context(), team_id, request.get_data(), signature, now=time.time(), request_id=request_id())
    except psycopg.Error as exc:
        _log.warning("event.not_recorded", team=team_id, reason=str(exc))
        sentence = "the event could not be recorded: deliver it again"
        return error_answer(503, "not_recorded", sentence, retry_after_s=RETRY_AFTER_S)
    return jsonify({"received": True})
