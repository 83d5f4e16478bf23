"""Refuses requests that another site made a signed-in browser send (contract section 2)."""

from urllib.parse import urlsplit

from flask import Flask, request

from api.http.context import current_context
from api.people.sessions import presented_token
from sync.errors import Forbidden

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def install(app: Flask) -> None:
    app.before_request(_refuse_cross_site)


def _refuse_cross_site() -> None:
    if request.method in _SAFE_METHODS or presented_token() is None or request.endpoint is None:
        return
    # JSON is safe too: another site's page needs our permission (CORS) to send it, and we never give it.
    if request.mimetype != "application/json" and not _is_same_origin():
        raise Forbidden(
            "send this from BillStack's own pages, or with Content-Type: application/json", code="cross_site"
        )


def _is_same_origin() -> bool:
    """Browsers set both headers themselves.

    Sec-Fetch-Site is more precise; old browsers and plain http send only Origin.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin", "")
    return origin in (_origin(current_context().settings.public_url), _origin(request.host_url))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
