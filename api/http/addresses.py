"""Routes whose last part is a Stripe id that a person chose. Such ids may contain `/`, `%`, `+`, spaces and dots.

A WSGI server decodes the path, so an escaped slash looks like any other. This middleware keeps `%2F`, `%25` and `%2B`
escaped until Flask has found a route. The route's converter then decodes them.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, unquote_plus

from flask import Flask, Request
from werkzeug.routing import UnicodeConverter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_DECODED_HERE = re.compile("%(?!2F|25|2B)[0-9A-F]{2}", re.IGNORECASE)
# A request's target may be a whole URL.
_ORIGIN = re.compile("https?://[^/?]*", re.IGNORECASE)
# Browsers resolve `.` and `..` in a path, even escaped. A tilde hides them. An id that looks hidden gets one more
# tilde.
_DOTS = re.compile(r"~*\.{1,2}")
_HIDDEN_DOTS = re.compile(r"~+\.{1,2}")


class IdConverter(UnicodeConverter):
    """`<id:object_id>` in a dashboard route."""

    def to_python(self, value: str) -> str:
        found = unquote(value)
        return found[1:] if _HIDDEN_DOTS.fullmatch(found) else found

    def to_url(self, value: str) -> str:
        return quote(f"~{value}" if _DOTS.fullmatch(value) else value, safe="")


class _KeepEscapes:
    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ["PATH_INFO"] = _partly_decoded(environ)
        return self._app(environ, start_response)


def install(app: Flask) -> None:
    app.url_map.converters["id"] = IdConverter
    app.wsgi_app = _KeepEscapes(app.wsgi_app)  # type: ignore[method-assign]


def possible_ids(part: str) -> list[str]:
    """The ids that a `+` in a path may mean.

    Most of Stripe's libraries send a space as `+`; other clients mean a plus.
    """
    return list(dict.fromkeys((unquote_plus(part), unquote(part))))


def address_of(request: Request) -> str:
    """The request's path and query, as a link to the same page."""
    path = quote(request.path, safe="/%:@!$&'()*+,;=~")
    query = request.query_string.decode("latin-1")
    return f"{path}?{query}" if query else path


def _partly_decoded(environ: "WSGIEnvironment") -> str:
    """The new PATH_INFO.

    If the server does not pass on the raw path, an escaped slash cannot be told from a real one.
    """
    decoded: str = environ.get("PATH_INFO", "")
    target: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    raw = _ORIGIN.sub("", target, count=1).partition("?")[0]
    if unquote(raw, "latin-1") != decoded:
        return decoded.replace("%", "%25")
    return _DECODED_HERE.sub(lambda escape: unquote(escape[0], "latin-1"), raw)
