"""Answers reads of the mirror at /v1 ahead of Flask, whose hooks and objects took half of such a request's time.

Here only an answer from the mirror is made. Everything else goes on to Flask, with what is known by then: the key that was
checked, and why the mirror does not answer. So nothing is asked twice, and every refusal is made in one place.
"""

import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import structlog
from flask import Flask

from api.gateway.reading import asked_of, mirror_headers, read_mirror, use_of
from api.http.access import presented_key
from api.http.compression import VARY, gzipped
from api.http.context import EXTENSION
from api.http.headers import headers_of_every_answer
from api.http.request_log import HEADER, id_of, write_line
from api.http.seats import IS_REFUSED, TEAM
from api.projects.key_access import CHECKED_KEY, CheckedKey, check_key, limit_headers
from workers.context import Context

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# In the WSGI environment: why the mirror gave no answer.
UNREAD = "billstack.unread"
_PATH = re.compile(r"/v1(?:/[^/\0]+)+")


def install(app: Flask) -> None:
    """Before the middleware that corrects addresses, so that it works inside of it."""
    app.wsgi_app = LeanReads(app, app.wsgi_app)  # type: ignore[method-assign]


class LeanReads:
    def __init__(self, flask: Flask, app: "WSGIApplication") -> None:
        self._flask = flask
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        raw_key = presented_key(environ.get("HTTP_AUTHORIZATION"), of_gateway=True) if _is_read(environ) else None
        if raw_key is None:
            return self._app(environ, start_response)
        began = time.perf_counter()
        TEAM.set(None)  # the thread still holds the previous request's team
        request_id = environ["HTTP_X_REQUEST_ID"] = id_of(environ.get("HTTP_X_REQUEST_ID", ""))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        context: Context = self._flask.extensions[EXTENSION]
        checked = environ[CHECKED_KEY] = _checked(context, raw_key)
        answer = _answer(context, checked, environ, request_id)
        if answer is None:
            return self._app(environ, start_response)
        body, headers = answer
        start_response("200 OK", list(headers.items()))
        write_line("GET", environ["PATH_INFO"], 200, began)
        if checked.key is not None:
            use_of(self._flask).count(checked.key.team_id, "mirror", time.perf_counter() - began)
        return [body]


def _is_read(environ: "WSGIEnvironment") -> bool:
    return (
        environ["REQUEST_METHOD"] == "GET"
        and _PATH.fullmatch(environ["PATH_INFO"]) is not None
        and environ["PATH_INFO"].isascii()
        and environ.get("QUERY_STRING", "").isascii()
        and environ.get("CONTENT_LENGTH", "") in ("", "0")
        and "HTTP_TRANSFER_ENCODING" not in environ
        and not IS_REFUSED.get()
    )


def _checked(context: Context, raw_key: str) -> CheckedKey:
    try:
        return check_key(context, raw_key)
    except Exception as exc:  # Flask raises it
        return CheckedKey(refusal=exc)


def _answer(
    context: Context, checked: CheckedKey, environ: "WSGIEnvironment", request_id: str
) -> tuple[bytes, dict[str, str]] | None:
    key = checked.key
    if key is None or checked.refusal is not None or key.project_id is not None:
        return None
    structlog.contextvars.bind_contextvars(team=key.team_id, api_key=key.id)
    TEAM.set(key.team_id)
    pairs = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True, errors="werkzeug.url_quote")
    try:
        asked = asked_of(
            "GET", environ["PATH_INFO"], pairs, lambda name: environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        )
        made = read_mirror(context, key.team_id, key.scopes, asked)
    except Exception as exc:  # Flask raises it, or asks Stripe
        environ[UNREAD] = exc
        return None
    zipped = gzipped(made.body, environ.get("HTTP_ACCEPT_ENCODING", ""))
    body = made.body if zipped is None else zipped
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **mirror_headers(made, request_id)}
    headers |= limit_headers(checked.taken) | headers_of_every_answer(context.settings.public_url)
    headers |= {HEADER: request_id, "Vary": VARY} | ({} if zipped is None else {"Content-Encoding": "gzip"})
    return body, headers
