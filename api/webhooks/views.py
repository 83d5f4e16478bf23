"""The address where Stripe delivers a team's events."""

import time

import psycopg
import structlog
from flask import Response, current_app, jsonify, request
from flask.sansio.blueprints import BlueprintSetupState
from marshmallow import fields

from api.http.access import Access
from api.http.context import EXTENSION
from api.http.endpoints import Blueprint
from api.http.errors import RETRY_AFTER_S, error_answer
from api.http.fields import Body
from api.http.request_log import request_id
from api.webhooks.intake import INTAKE, Intake
from api.webhooks.lean_deliveries import UNTAKEN
from sync.error_text import loggable_reason

blueprint = Blueprint("webhooks", __name__, url_prefix="/api/webhooks", description="Called by Stripe.")

_log = structlog.get_logger()


@blueprint.record  # type: ignore[untyped-decorator]  # flask-smorest has no type hints
def _install(state: BlueprintSetupState) -> None:
    state.app.extensions[INTAKE] = Intake(state.app.extensions[EXTENSION])


class ReceivedAnswer(Body):
    received = fields.Boolean(required=True)


@blueprint.endpoint(
    "POST",
    "/stripe/<team_id>",
    Access.ANYONE,
    answers={200: ReceivedAnswer, 400: "Not signed by Stripe, or not an event", 503: "Not recorded: send it again"},
)
def receive(team_id: str) -> Response:
    """Deliver an event

    Answered as soon as the event is durably recorded. It is applied right afterwards. A repeated delivery changes
    nothing.
    """
    intake: Intake = current_app.extensions[INTAKE]
    signature = request.headers.get("Stripe-Signature")
    try:
        if (untaken := request.environ.get(UNTAKEN)) is not None:
            raise untaken
        intake.take(team_id, request.get_data(), signature, now=time.time(), request_id=request_id())
    except psycopg.Error as exc:
        _log.warning("event.not_recorded", team=team_id, reason=loggable_reason(exc))
        sentence = "the event could not be recorded: send it again"
        return error_answer(503, "not_recorded", sentence, retry_after_s=RETRY_AFTER_S)
    return jsonify({"received": True})
