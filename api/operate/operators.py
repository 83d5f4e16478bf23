"""Serves rq-dashboard at /rq to operators: read-only, and in a sandbox that cannot use their session.

Its pages are not ours and print what jobs contain. So the scripts of a page need a nonce, and everything they print is
escaped (api/operate/rq_templates.py). The page runs in an origin of its own: its scripts have no cookie, cannot read
our pages, and can fetch nothing but the data of /rq, with a ticket that is valid only for that
(api/operate/rq_view.py).
"""

import re
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

import rq_dashboard  # type: ignore[import-untyped]
import rq_dashboard.web  # type: ignore[import-untyped]
import structlog
from flask import Flask, Response, g, request
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq.exceptions import NoSuchJobError
from rq.serializers import JSONSerializer
from werkzeug.exceptions import HTTPException

from api.http.access import Access, allow_foreign
from api.http.context import EXTENSION, current_context
from api.operate.rq_templates import SafeTemplates, nonce
from api.operate.rq_view import HEADER, is_data, make_ticket
from api.people.sessions import session_sha256
from sync.errors import BillStackError, NotFound

_NAME = "rq_dashboard"
# The views that change something. All others only read.
_CHANGES = ("delete_job_view", "requeue_job_view", "requeue_all", "empty_queue", "compact_queue")
_REGISTRIES = "queued|scheduled|deferred|started|finished|failed|canceled"
# What an address may contain. Checked before rq-dashboard's templates and Redis see it.
_VALID = {
    "instance_number": re.compile("0"),
    "queue_name": re.compile(r"[A-Za-z0-9_.:-]{1,100}"),
    "registry_name": re.compile(_REGISTRIES),
    "order": re.compile("asc|dsc"),
    "per_page": re.compile("[1-9][0-9]?|1[0-9][0-9]|200"),
    "page": re.compile("[1-9][0-9]{0,5}"),
    "job_id": re.compile("[A-Za-z0-9_-]{1,200}"),
}
# Errors with a message of their own. Any other error comes from data that rq-dashboard cannot show.
_KNOWN = (BillStackError, HTTPException, NoSuchJobError, RedisConnectionError, RedisTimeoutError)

_log = structlog.get_logger()


def install(app: Flask) -> None:
    _tame(rq_dashboard.blueprint)
    app.config["RQ_DASHBOARD_REDIS_URL"] = (
        "BillStack",
    )  # its menu of servers shows this; the real address has a password
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    app.redis_conn = app.extensions[EXTENSION].redis  # type: ignore[attr-defined]  # where rq-dashboard looks for it
    app.register_blueprint(rq_dashboard.blueprint, url_prefix="/rq")
    allow_foreign(app, f"{_NAME}.", Access.OPERATE)
    for name in _CHANGES:
        allow_foreign(app, f"{_NAME}.{name}", Access.NOBODY)
    allow_foreign(app, f"{_NAME}.static", Access.ANYONE)  # its static files: a sandboxed page sends no cookie for them
    for endpoint, view in app.view_functions.items():
        if endpoint.startswith(f"{_NAME}.") and not endpoint.endswith(".static"):
            app.view_functions[endpoint] = _careful(view)
    app.jinja_env.globals |= {"rq_nonce": nonce, "rq_headers": _headers}
    app.before_request(_prepare)
    app.after_request(_open_to_the_sandbox)


def _tame(blueprint: Any) -> None:
    """Once per process: rq-dashboard's blueprint is a global that all applications share."""
    rq_dashboard.web.config.serializer = JSONSerializer
    # It opens another Redis connection for every request and shares it with all threads.
    blueprint.before_request_funcs.clear()
    if not isinstance(blueprint.jinja_loader, SafeTemplates):
        blueprint.jinja_loader = SafeTemplates(blueprint.jinja_loader)


def policy() -> str:
    """The Content-Security-Policy for answers of /rq."""
    return (
        "sandbox allow-scripts; default-src 'none'; "
        # underscore compiles its templates with Function()
        f"script-src 'nonce-{g.get('rq_nonce', '')}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        f"img-src data:; connect-src {request.host_url}rq/0/data/; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def _prepare() -> None:
    if request.blueprint != _NAME:
        return
    g.rq_nonce = secrets.token_urlsafe(16)
    for name, value in (request.view_args or {}).items():
        if name in _VALID and value is not None and not _VALID[name].fullmatch(str(value)):
            raise NotFound("there is nothing at this address")


def _careful(view: Callable[..., Any]) -> Callable[..., Any]:
    def show(**values: Any) -> Any:
        try:
            return view(**values)
        except _KNOWN:
            raise
        except Exception as exc:
            _log.warning("rq_dashboard.failed", error=type(exc).__name__)
            raise NotFound("rq-dashboard cannot show this: RQ did not write it") from exc

    shown = partial(show)
    shown.__dict__ |= view.__dict__  # its access declaration
    return shown


def _headers() -> dict[str, str]:
    """The headers that a page's scripts send with each request for data."""
    sha256 = session_sha256()
    return {HEADER: make_ticket(sha256, current_context().settings.secret_keys)} if sha256 else {}


def _open_to_the_sandbox(response: Response) -> Response:
    """A sandboxed page has the origin `null` and no cookie. Without a ticket it can read nothing here."""
    if is_data() and request.headers.get("Origin") == "null":
        response.headers["Access-Control-Allow-Origin"] = "null"
        response.headers["Access-Control-Allow-Headers"] = f"{HEADER}, X-Requested-With"
        response.headers["Vary"] = "Origin"
    return response
