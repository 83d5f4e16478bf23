"""Serves a sandbox over HTTP."""

import asyncio
import itertools
from email.utils import formatdate

from scripts.sandbox.answers import Answer, Refused
from scripts.sandbox.forms import parse
from scripts.sandbox.http import Connection, Request
from scripts.sandbox.sandbox import Sandbox
from scripts.sandbox.shapes import API_VERSION


class Server:
    """Answers over loopback; one event loop, no threads, so every request sees one consistent account."""

    def __init__(self, sandbox: Sandbox, latency_s: float = 0.0) -> None:
        self.sandbox = sandbox
        self.latency_s = latency_s
        self._request_ids = itertools.count(1)
        self._date = (0, "")

    async def start(self, port: int = 0) -> str:
        """Listens, and returns the address."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(self.respond), "127.0.0.1", port, backlog=512)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def respond(self, request: Request, connection: Connection) -> None:
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        answer = self._answer(request)
        connection.send(answer.status, self._headers(request, answer), answer.body)

    def _answer(self, request: Request) -> Answer:
        try:
            params = parse(request.query)
            if request.body:
                params.update(parse(request.body.decode()))
        except Refused as refused:
            return refused.answer()
        return self.sandbox.handle(request.method, request.path, params, request.headers)

    def _headers(self, request: Request, answer: Answer) -> list[tuple[str, str]]:
        headers = [
            ("Server", "nginx"),
            ("Date", self._date_now()),
            ("Content-Type", "application/json"),
            ("Connection", "keep-alive"),
            ("Request-Id", f"req_{next(self._request_ids):014}"),
            ("Stripe-Version", request.headers.get("stripe-version", API_VERSION)),
        ]
        if "idempotency-key" in request.headers:
            headers.append(("Idempotency-Key", request.headers["idempotency-key"]))
        headers.extend(answer.headers.items())
        return headers

    def _date_now(self) -> str:
        """The account's clock in whole seconds, formatted once a second."""
        now = int(self.sandbox.clock())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True))
        return self._date[1]
