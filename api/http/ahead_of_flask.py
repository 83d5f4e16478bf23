"""What the two busiest kinds of requests have in common, which are answered ahead of Flask: its hooks and objects take
as long as the rest of such a request.

There, only the usual answer is made. Everything else goes on to Flask with what is known by then, so that every refusal is
made in one place.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import structlog

from api.http.compression import VARY
from api.http.headers import headers_of_every_answer
from api.http.request_log import HEADER, id_of
from api.http.seats import TEAM

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# The extension of the Flask app that makes the usual answer to a plain request. Its WSGI environment has only what
# api/http/plain_request.py puts there. If no answer is made, what was found out is added to it (`known_of`).
AHEAD = "billstack-ahead"
_OURS = "billstack."
_REQUEST_ID = "HTTP_X_REQUEST_ID"


class Answer(NamedTuple):
    """Of status 200."""

    headers: dict[str, str]
    body: bytes


Ahead = Callable[["WSGIEnvironment"], Answer | None]


def enter(environ: "WSGIEnvironment") -> str:
    """Gives the request its id, and forgets what the thread still has of the request before."""
    request_id = environ[_REQUEST_ID] = id_of(environ.get(_REQUEST_ID, ""))
    TEAM.set(None)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


def known_of(environ: "WSGIEnvironment") -> dict[str, object]:
    """What goes on to Flask with a request, beside what the client sent."""
    return {name: environ[name] for name in environ if name.startswith(_OURS) or name == _REQUEST_ID}


def headers_of(body: bytes, request_id: str, public_url: str) -> dict[str, str]:
    """Those of every answer in JSON."""
    return {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers_of_every_answer(public_url),
        HEADER: request_id,
        "Vary": VARY,
    }
