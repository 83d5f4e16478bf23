"""Addresses whose last part is an id that a person chose at Stripe: `/`, `%`, `+`, spaces and dots are part of such ids.

A WSGI server decodes the path, so an escaped slash looks like any other. Here `%2F`, `%25` and `%2B` stay escaped until a
route is found. The converter of that route decodes them.
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
# The target of a request may be a whole URL.
_ORIGIN = re.compile("https?://[^/?]*", re.IGNORECASE)
# Browsers resolve `.` and `..` in a path, also escaped ones. A tilde hides them; an id that looks hidden gets one more.
_DOTS = re.compile(r"~*\.{1,2}")
_HIDDEN_DOTS = re.compile(r"~+\.{1,2}")


class IdConverter(UnicodeConverter):
    """`<id:object_id>` in a route of the dashboard."""

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
    """What a program may mean by an id in a path: most of Stripe's libraries send a space as `+`, others mean a plus."""
    return list(dict.fromkeys((unquote_plus(part), unquote(part))))


def address_of(request: Request) -> str:
    """Path and query of a request, as a link to the same page."""
    path = quote(request.path, safe="/%:@!$&'()*+,;=~")
    query = request.query_string.decode("latin-1")
    return f"{path}?{query}" if query else path


def _partly_decoded(environ: "WSGIEnvironment") -> str:
    """A new PATH_INFO. A server that does not pass the path on as it came cannot tell an escaped slash from another."""
    decoded: str = environ.get("PATH_INFO", "")
    target: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    raw = _ORIGIN.sub("", target, count=1).partition("?")[0]
    if unquote(raw, "latin-1") != decoded:
        return decoded.replace("%", "%25")
    return _DECODED_HERE.sub(lambda escape: unquote(escape[0], "latin-1"), raw)
