"""Security headers: our pages load only from this server and run no inline script; rq-dashboard's run in a sandbox."""

from flask import Flask, Response, request

from api.http.context import current_context
from api.operate import operators

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
    headers = headers_of_every_answer(current_context().settings.public_url)
    if is_foreign:
        headers["Content-Security-Policy"] = operators.policy()
    if "Content-Security-Policy" in response.headers:  # our error page for an rq-dashboard address has set its own
        del headers["Content-Security-Policy"]
    if request.endpoint in ("static", "rq_dashboard.static"):
        del headers["Cache-Control"]
    response.headers.update(headers)
    return response


def headers_of_every_answer(public_url: str) -> dict[str, str]:
    headers = {
        "Content-Security-Policy": OUR_PAGES,
        "X-Content-Type-Options": "nosniff",
        # With no-referrer, browsers would send `Origin: null` from our own forms.
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    return headers | ({"Strict-Transport-Security": _HTTPS_ONLY} if public_url.startswith("https://") else {})
