"""The part of HTTP/1.1 that the sandbox needs, on an asyncio protocol.

A request costs a third of what a framework takes.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Request Failed",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
}
_SEND_BUFFER = 1 << 20  # a page of 400 KB is sent with one system call
_NO_LINGER = struct.pack("ii", 1, 0)  # closing sends RST instead of FIN

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]  # names in lower case
    body: bytes


class Connection(asyncio.Protocol):
    """Reads requests and answers them one after the other, as HTTP/1.1 keep-alive requires."""

    def __init__(self, respond: "Respond") -> None:
        self._respond = respond
        self._buffer = b""
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def connection_lost(self, exc: Exception | None) -> None:
        # A request in progress continues: Stripe, too, finishes a write whose client has died.
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while (request := self._next_request()) is not None:
                self._waiting.append(request)
        except ValueError:  # not HTTP
            self.close()
            return
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._answer_waiting())

    async def _answer_waiting(self) -> None:
        while self._waiting and not self._transport.is_closing():
            try:
                await self._respond(self._waiting.popleft(), self)
            except Exception:
                self.close()  # our mistake: the client sees it at once, and the log says where
                raise

    def _next_request(self) -> Request | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        if len(self._buffer) < end + 4 + length:
            return None
        body = self._buffer[end + 4 : end + 4 + length]
        self._buffer = self._buffer[end + 4 + length :]
        method, target, _ = first.split(" ", 2)
        path, _, query = target.partition("?")
        return Request(method, path, query, headers, body)

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        self.send_part(_head(status, [*headers, ("Content-Length", str(len(body)))]))
        self.send_part(body)

    def send_part(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def send_head(self, status: int, headers: Headers) -> None:
        self.send_part(_head(status, headers))

    async def drain(self) -> None:
        """Returns once the client has taken most of what was sent."""
        await self._writable.wait()

    def close(self) -> None:
        self._transport.close()

    def reset(self) -> None:
        """Ends the connection with RST, like a crashed peer."""
        if not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()


def _head(status: int, headers: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers]
    lines.append("\r\n")
    return "".join(lines).encode("latin-1")


Respond = Callable[[Request, Connection], Awaitable[None]]
