"""Security headers: our pages load only from this server and run no inline script; rq-dashboard's run in a sandbox."""

from flask import Flask, Response, request

from api.operate import operators
from api.people.cookies import is_https

OUR_PAGES = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


# A year. Subdomains are left out: they may belong to somebody else.
_HTTPS_ONLY = "max-age=31536000"


def install(app: Flask) -> None:
    app.after_request(_add)


def _add(response: Response) -> Response:
    is_foreign = request.blueprint == "rq_dashboard"
    # Our error page for an rq-dashboard address has already set its own policy.
    response.headers.setdefault("Content-Security-Policy", operators.policy() if is_foreign else OUR_PAGES)
    response.headers["X-Content-Type-Options"] = "nosniff"
    if is_https():
        response.headers["Strict-Transport-Security"] = _HTTPS_ONLY
    # With no-referrer, browsers would send `Origin: null` from our own forms.
    response.headers["Referrer-Policy"] = "same-origin"
    if request.endpoint not in ("static", "rq_dashboard.static"):
        response.headers["Cache-Control"] = "no-store"
    return response
