"""`/metrics`, for Prometheus."""

import hmac

from flask import Response, request
from prometheus_client import CONTENT_TYPE_LATEST

from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from sync.errors import Unauthorized
from workers.redis.metrics import exposition

blueprint = Blueprint("metrics", __name__, description="For operators.")


@blueprint.endpoint("GET", "/metrics", Access.ANYONE, answers={200: "Prometheus' text format"})
def show_metrics() -> Response:
    """Show metrics: events, requests to Stripe, waits

    All teams are counted together, and nothing names a team. If BILLSTACK_METRICS_TOKEN is set, send it as a bearer
    token.
    """
    token = current_context().settings.metrics_token
    if token and not hmac.compare_digest(f"Bearer {token}".encode(), request.headers.get("Authorization", "").encode()):
        raise Unauthorized("send BILLSTACK_METRICS_TOKEN: Authorization: Bearer …")
    return Response(exposition(current_context()), content_type=CONTENT_TYPE_LATEST)
