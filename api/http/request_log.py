"""Gives every request an id and one log line. The answer and every log line of the request carry the id."""

import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request

HEADER = "X-Request-Id"
# The ids that proxies send. Anything else could forge or break a log line.
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
# Load balancers ask for these every few seconds.
_QUIET_PATHS = ("/healthz", "/readyz")
_STREAM = "text/event-stream"

_log = structlog.get_logger()


def install(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_end)


def request_id() -> str:
    return str(g.request_id)


def id_of(given: str) -> str:
    """The id that a client or proxy sent, if it is sane. Otherwise a new one."""
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def write_line(method: str, path: str, status: int, began: float) -> None:
    write = _log.debug if path in _QUIET_PATHS else _log.info
    write("request.answered", method=method, path=path, status=status, duration_ms=_ms_since(began))


def _begin() -> None:
    g.request_id = id_of(request.headers.get(HEADER, ""))
    g.began = time.perf_counter()
    # A server thread handles many requests in the same context.
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _end(response: Response) -> Response:
    response.headers[HEADER] = g.request_id
    if response.mimetype == _STREAM and response.is_streamed:
        facts = {"path": request.path, "began": g.began}
        response.call_on_close(lambda: _end_stream(**facts))
        return response
    write_line(request.method, request.path, response.status_code, g.began)
    return response


def _end_stream(path: str, began: float) -> None:
    """Not named as a request: how long a page stayed open says nothing about how fast we answer."""
    _log.info("stream.ended", path=path, duration_ms=_ms_since(began))


def _ms_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
