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
    """Events, requests to Stripe, waits

    Of all teams together; nothing here names one. With BILLSTACK_METRICS_TOKEN set, only whoever sends it as bearer.
    """
    token = current_context().settings.metrics_token
    if token and not hmac.compare_digest(f"Bearer {token}".encode(), request.headers.get("Authorization", "").encode()):
        raise Unauthorized("send BILLSTACK_METRICS_TOKEN: Authorization: Bearer …")
    return Response(exposition(current_context()), content_type=CONTENT_TYPE_LATEST)
