"""A client's socket that can send the head and the body of an answer together."""

import socket
from collections.abc import Mapping
from typing import Any


class WholeAnswers(socket.socket):
    """gunicorn sends the head first, which wakes the client once more and costs half a send."""

    # What was found out about the request that is being answered, before gunicorn read it: for its WSGI environment.
    known: Mapping[str, object] = {}

    _held: bytes | None = None

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
