"""Takes in deliveries ahead of Flask (api/http/ahead_of_flask.py). Only an event that is recorded is answered here."""

import io
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask

from api.http.ahead_of_flask import enter, headers_of
from api.http.context import EXTENSION
from api.http.request_log import write_line
from api.http.seats import IS_REFUSED
from api.webhooks.intake import INTAKE, Intake
from workers.context import Context

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# In the WSGI environment: why the event was not recorded.
UNTAKEN = "billstack.untaken"
_PATH = re.compile(r"/api/webhooks/stripe/(team_[a-z0-9_]{1,64})")
_LENGTH = re.compile(r"[1-9][0-9]{0,9}")
_RECEIVED = b'{"received":true}\n'


def install(app: Flask) -> None:
    """Before the middleware that corrects addresses, so that it works inside of it."""
    app.wsgi_app = LeanDeliveries(app, app.wsgi_app)  # type: ignore[method-assign]


class LeanDeliveries:
    def __init__(self, flask: Flask, app: "WSGIApplication") -> None:
        self._flask = flask
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = _PATH.fullmatch(environ["PATH_INFO"])
        if path is None or not self._is_plain(environ):
            return self._app(environ, start_response)
        began = time.perf_counter()
        request_id = enter(environ)
        length = int(environ["CONTENT_LENGTH"])
        body = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        if len(body) < length:  # the client hung up
            return self._app(environ, start_response)
        intake: Intake = self._flask.extensions[INTAKE]
        try:
            intake.take(path[1], body, environ.get("HTTP_STRIPE_SIGNATURE"), now=time.time(), request_id=request_id)
        except Exception as exc:  # Flask raises it
            environ[UNTAKEN] = exc
            return self._app(environ, start_response)
        context: Context = self._flask.extensions[EXTENSION]
        headers = headers_of(_RECEIVED, request_id, context.settings.public_url)
        start_response("200 OK", list(headers.items()))
        write_line("POST", environ["PATH_INFO"], 200, began)
        return [_RECEIVED]

    def _is_plain(self, environ: "WSGIEnvironment") -> bool:
        """As Stripe sends it. What a browser sends has to pass Flask's hooks."""
        length = environ.get("CONTENT_LENGTH", "")
        return (
            environ["REQUEST_METHOD"] == "POST"
            and _LENGTH.fullmatch(length) is not None
            and int(length) <= self._flask.config["MAX_CONTENT_LENGTH"]
            and "HTTP_TRANSFER_ENCODING" not in environ
            and "HTTP_COOKIE" not in environ
            and not IS_REFUSED.get()
        )
