"""Answers reads of the mirror at /v1 ahead of Flask (api/http/ahead_of_flask.py).

What goes on to Flask takes along the key that was checked, and why the mirror does not answer. So nothing is asked twice.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import structlog
from flask import Flask

from api.gateway.mirror_answers import Made
from api.gateway.reading import asked_of, mirror_headers, read_mirror, use_of
from api.gateway.store import Beside
from api.http.access import presented_key
from api.http.ahead_of_flask import AHEAD, Answer, enter, headers_of
from api.http.compression import gzipped
from api.http.context import EXTENSION
from api.http.rate_limits import API_KEY_REQUESTS, take
from api.http.request_log import write_line
from api.http.seats import IS_REFUSED, TEAM
from api.http.whole_answers import WholeAnswers
from api.projects.key_access import CHECKED_KEY, CheckedKey, check_key, find_key, limit_headers, limited
from api.projects.key_store import OF_OWN_KEY, PresentedKey, digest_of, key_among, look_up_of
from workers.context import Context
from workers.pool import PoolTimeout

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# In the WSGI environment: why the mirror gave no answer.
UNREAD = "billstack.unread"
# Keys of which a process remembers what they show. They are few and small.
_MOST_KNOWN = 1000
_PATH = re.compile(r"/v1(?:/[^/\0]+)+")


def install(app: Flask) -> None:
    """Before the middleware that corrects addresses, so that it works inside of it."""
    reads = LeanReads(app, app.wsgi_app)
    app.wsgi_app = reads  # type: ignore[method-assign]
    app.extensions[AHEAD] = reads.answer


class LeanReads:
    def __init__(self, flask: Flask, app: "WSGIApplication") -> None:
        self._flask = flask
        self._app = app
        self._known: dict[bytes, PresentedKey] = {}  # by digest: what BillStack's own keys named the last time

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        client = environ.get("gunicorn.socket")
        if isinstance(client, WholeAnswers):
            environ.update(client.take_known())
        answer = None if CHECKED_KEY in environ else self.answer(environ)
        if answer is None:
            return self._app(environ, start_response)
        if isinstance(client, WholeAnswers):
            client.hold_next()
        start_response("200 OK", list(answer.headers.items()))
        return [answer.body]

    def answer(self, environ: "WSGIEnvironment") -> Answer | None:
        """None: Flask answers, for which the environment tells what is known by now."""
        raw_key = presented_key(environ.get("HTTP_AUTHORIZATION"), of_gateway=True) if _is_read(environ) else None
        if raw_key is None:
            return None
        began = time.perf_counter()
        request_id = enter(environ)
        context: Context = self._flask.extensions[EXTENSION]
        digest = digest_of(raw_key)
        known = self._known.get(digest)
        checked, made = (
            _check_and_read(context, raw_key, environ)
            if known is None
            else _read_and_check(context, raw_key, environ, known, digest)
        )
        self._keep(digest, checked)
        if made is None:
            environ[CHECKED_KEY] = checked
            return None
        answer = _answer(context, checked, made, environ, request_id)
        write_line("GET", environ["PATH_INFO"], 200, began)
        if checked.key is not None:
            use_of(self._flask).count(checked.key.team_id, "mirror", time.perf_counter() - began)
        return answer

    def _keep(self, digest: bytes, checked: CheckedKey) -> None:
        key = checked.key
        if key is None or checked.refusal is not None or key.scopes is OF_OWN_KEY:
            self._known.pop(digest, None)
        elif key is not self._known.get(digest):
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[digest] = replace(key, is_use_due=False)


def _check_and_read(context: Context, raw_key: str, environ: "WSGIEnvironment") -> tuple[CheckedKey, Made | None]:
    checked = _checked(lambda: check_key(context, raw_key))
    return checked, None if checked.refusal else _made(context, checked.key, environ)


def _read_and_check(
    context: Context, raw_key: str, environ: "WSGIEnvironment", known: PresentedKey, digest: bytes
) -> tuple[CheckedKey, Made | None]:
    """One round trip reads what the key named the last time, and the key itself, which decides whether that is used."""
    taken = take(context.redis, API_KEY_REQUESTS, known.id)
    is_allowed = taken is None or taken.is_allowed
    beside = Beside(look_up_of(raw_key))
    made = _made(context, known, environ, beside) if is_allowed else None
    if beside.rows is not None and key_among(beside.rows, digest) == known:
        return CheckedKey(known, taken), made
    TEAM.set(None)  # a key is looked up for nobody yet, and waits for no seat
    if isinstance(unread := environ.get(UNREAD), PoolTimeout):  # its look-up would wait as long again
        return CheckedKey(refusal=unread), None
    checked = _checked(lambda: limited(find_key(context, raw_key), taken))
    if checked.refusal is None and checked.key is not None and replace(checked.key, is_use_due=False) == known:
        return checked, made
    environ.pop(UNREAD, None)
    structlog.contextvars.unbind_contextvars("team", "api_key")
    return checked, None


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


def _checked(check: Callable[[], CheckedKey]) -> CheckedKey:
    try:
        return check()
    except Exception as exc:  # Flask raises it
        return CheckedKey(refusal=exc)


def _made(
    context: Context, key: PresentedKey | None, environ: "WSGIEnvironment", beside: Beside | None = None
) -> Made | None:
    if key is None or key.project_id is not None:
        return None
    structlog.contextvars.bind_contextvars(team=key.team_id, api_key=key.id)
    TEAM.set(key.team_id)
    pairs = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True, errors="werkzeug.url_quote")
    try:
        asked = asked_of(
            "GET", environ["PATH_INFO"], pairs, lambda name: environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        )
        return read_mirror(context, key.team_id, key.scopes, asked, beside)
    except Exception as exc:  # Flask raises it, or asks Stripe
        environ[UNREAD] = exc
        return None


def _answer(context: Context, checked: CheckedKey, made: Made, environ: "WSGIEnvironment", request_id: str) -> Answer:
    zipped = gzipped(made.body, environ.get("HTTP_ACCEPT_ENCODING", ""))
    body = made.body if zipped is None else zipped
    headers = headers_of(body, request_id, context.settings.public_url) | mirror_headers(made, request_id)
    headers |= limit_headers(checked.taken) | ({} if zipped is None else {"Content-Encoding": "gzip"})
    return Answer(headers, body)
