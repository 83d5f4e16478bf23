"""rq-dashboard at /rq, behind an operator's session. It has no sign-in of its own."""

import rq_dashboard  # type: ignore[import-untyped]
from flask import Flask, request
from rq_dashboard.web import setup_rq_connection  # type: ignore[import-untyped]
from werkzeug.exceptions import MethodNotAllowed

from api.access import Access, allow_foreign

_NAME = "rq_dashboard"


def install(app: Flask, redis_url: str) -> None:
    app.config["RQ_DASHBOARD_REDIS_URL"] = redis_url
    setup_rq_connection(app)
    app.register_blueprint(rq_dashboard.blueprint, url_prefix="/rq")
    allow_foreign(app, f"{_NAME}.", Access.OPERATE)
    app.before_request(_refuse_get_that_changes)


def _refuse_get_that_changes() -> None:
    """Requeueing also answers to GET there, which a link on any site could make an operator's browser send."""
    if request.endpoint == f"{_NAME}.requeue_all" and request.method != "POST":
        raise MethodNotAllowed(valid_methods=["POST"])
