"""Security headers: our pages load from us alone; only rq-dashboard, not written by us, is allowed more."""

from flask import Flask, Response, request

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Its scripts stand in the page, and underscore compiles its templates with Function().
_OPERATORS_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def install(app: Flask) -> None:
    app.after_request(_add)


def _add(response: Response) -> Response:
    operators = request.blueprint == "rq_dashboard"
    response.headers["Content-Security-Policy"] = _OPERATORS_POLICY if operators else _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Not no-referrer: with it, browsers send `Origin: null` from our own forms.
    response.headers["Referrer-Policy"] = "same-origin"
    if request.endpoint not in ("static", "rq_dashboard.static"):
        response.headers["Cache-Control"] = "no-store"
    return response
