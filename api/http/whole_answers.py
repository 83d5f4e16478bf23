"""Sends the head and the body of an answer together."""

import socket
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from gunicorn import SERVER, util  # type: ignore[import-untyped]

from api.http.ahead_of_flask import Answer

_http_date = lru_cache(1)(util.http_date)


class WholeAnswers(socket.socket):
    """gunicorn sends the head first, which wakes the client once more and costs half a send."""

    # What was found out about the request that is being answered, before gunicorn read it: for its WSGI environment.
    known: Mapping[str, object] = {}

    _held: bytes | None = None

    def take_known(self) -> Mapping[str, object]:
        """It may hold all that was read for the request, which ends with it, while the connection goes on."""
        known, self.known = self.known, {}
        return known

    def hold_next(self) -> None:
        """The next bytes wait for those after them, or for `send_held`."""
        self._held = b""

    def sendall(self, data: Any, flags: int = 0) -> None:
        if self._held is None:
            super().sendall(data, flags)
        elif not self._held:
            self._held = bytes(data)
        else:
            whole, self._held = self._held + data, None
            super().sendall(whole, flags)

    def send_held(self) -> None:
        held, self._held = self._held, None
        if held:
            super().sendall(held)


def as_sent(answer: Answer) -> bytes:
    """Head and body as gunicorn writes them, on a connection that stays open.

    Raises ValueError for a header that would be two or is not Latin-1.
    """
    headers = {"Server": SERVER, "Date": _http_date(int(time.time())), "Connection": "keep-alive"} | answer.headers
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    head = "\r\n".join(lines)
    if head.count("\n") >= len(lines):
        raise ValueError("a header contains a line break")
    return head.encode("latin-1") + answer.body
