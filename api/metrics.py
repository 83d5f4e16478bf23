"""`/metrics`, for Prometheus."""

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.access import Access
from api.context import current_context
from api.endpoints import Blueprint
from workers.metrics import exposition

blueprint = Blueprint("metrics", __name__, description="For operators.")


@blueprint.endpoint("GET", "/metrics", Access.ANYONE, answers={200: "Prometheus' text format"})
def show_metrics() -> Response:
    """Events, requests to Stripe, waits

    Of all teams together; nothing here names one.
    """
    return Response(exposition(current_context()), content_type=CONTENT_TYPE_LATEST)
