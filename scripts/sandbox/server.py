"""Serves a sandbox over HTTP, with optional latency and faults."""

import asyncio
import itertools
from dataclasses import dataclass
from email.utils import formatdate
from random import Random
from weakref import WeakSet

from scripts.sandbox import forms, routes
from scripts.sandbox.account import Broken
from scripts.sandbox.answers import Answer, Refused
from scripts.sandbox.control import Control
from scripts.sandbox.courier import Courier
from scripts.sandbox.faults import Fault, FaultPlan
from scripts.sandbox.http import Connection, Headers, Request
from scripts.sandbox.sandbox import Sandbox, Tenant
from scripts.sandbox.shapes import API_VERSION

_BAD_GATEWAY = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body></body>\r\n</html>\r\n"
_LOCKED = Refused(
    "This object cannot be accessed right now because another API request or Stripe process is currently accessing "
    "it. If you see this error intermittently, retry the request.",
    status=429,
    code="lock_timeout",
).answer()
_BROKEN: dict[str, Broken] = {"500": "before", "500-after": "after"}
_SLOW_PARTS = 10


@dataclass(slots=True)
class Latency:
    """How long an answer takes: a median, and the sigma of a lognormal around it (0: always the same)."""

    seconds: float = 0.0
    sigma: float = 0.0


class Server:
    """Answers over loopback. One event loop and no threads, so every request sees one consistent account."""

    def __init__(self, sandbox: Sandbox, *, latency: Latency | None = None, faults: FaultPlan | None = None) -> None:
        self.sandbox = sandbox
        self.latency = latency or Latency()
        self.faults = faults or FaultPlan()
        self.courier = Courier(sandbox)
        self._control = Control(self)
        self._random = Random(1)
        self._keys_in_use: set[tuple[str, str]] = set()
        self._refused_ids = itertools.count(1)
        self._date = (0, "")
        self._connections: WeakSet[Connection] = WeakSet()
        self._listener: asyncio.Server | None = None

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> str:
        """Starts listening and returns the address."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connection, host, port, backlog=512)
        self.courier.start()
        return f"http://{host}:{self._listener.sockets[0].getsockname()[1]}"

    def _connection(self) -> Connection:
        connection = Connection(self._respond)
        self._connections.add(connection)
        return connection

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.close()
        self.courier.stop()

    async def _respond(self, request: Request, connection: Connection) -> None:
        if request.path.startswith("/sandbox/"):
            await self._control.respond(request, connection)
            return
        try:
            tenant = self.sandbox.open(request.headers)
        except Refused as refused:
            self._send(request, connection, refused.answer())
            return
        await self._respond_as(tenant, request, connection)

    async def _respond_as(self, tenant: Tenant, request: Request, connection: Connection) -> None:
        traffic, endpoint = tenant.traffic, "unknown address"
        try:
            operation, _ = routes.find(request.method, request.path)
            endpoint = operation.name
            self.sandbox.admit(tenant, operation, request.headers)
        except Refused as refused:
            traffic.answered(endpoint, refused.status)
            self._send(request, connection, refused.answer())
            return
        fault = self.faults.strike(request.method, request.path)
        traffic.enter()
        try:
            answer = await self._work(tenant, request, fault)
        finally:
            traffic.leave()
        traffic.answered(endpoint, answer.status)
        if fault is None:
            self._send(request, connection, answer)
        else:
            traffic.struck(fault.kind)
            await self._spoil(fault, request, connection, answer)

    async def _work(self, tenant: Tenant, request: Request, fault: Fault | None) -> Answer:
        """Takes its time and performs the request at one moment of it, as Stripe may at any."""
        wait = self._wait()
        before = wait * self._random.random()
        key = (tenant.account.state.name, request.headers.get("idempotency-key", ""))
        if request.method == "POST" and key[1] and key in self._keys_in_use:
            return _key_in_use(key[1])
        self._keys_in_use.add(key)
        try:
            if before:
                await asyncio.sleep(before)
            answer = self._do(tenant, request, fault)
            if wait:
                await asyncio.sleep(wait - before)
        finally:
            self._keys_in_use.discard(key)
        return answer

    def _wait(self) -> float:
        spread = self._random.lognormvariate(0, self.latency.sigma) if self.latency.sigma else 1.0
        return self.latency.seconds * spread

    def _do(self, tenant: Tenant, request: Request, fault: Fault | None) -> Answer:
        kind = fault.kind if fault else ""
        if kind in ("502", "reset"):
            return Answer(502, _BAD_GATEWAY)
        if kind == "429":
            return _LOCKED
        try:
            params = forms.parse(request.query)
            if request.body:
                params |= forms.parse(request.body.decode())
        except (Refused, UnicodeDecodeError) as error:
            return error.answer() if isinstance(error, Refused) else Refused("Invalid request.").answer()
        return tenant.account.handle(request.method, request.path, params, request.headers, _BROKEN.get(kind))

    async def _spoil(self, fault: Fault, request: Request, connection: Connection, answer: Answer) -> None:
        """Sends the answer as the fault requires, or does not send it."""
        if fault.kind in ("reset", "reset-after"):
            connection.reset()
        elif fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
            self._send(request, connection, answer)
        elif fault.kind == "truncated":
            length = ("Content-Length", str(len(answer.body)))
            connection.send_head(answer.status, [*self._headers(request, answer), length])
            connection.send_part(answer.body[: len(answer.body) // 2])
            connection.close()
        elif fault.kind == "garbage":
            self._send(request, connection, Answer(200, answer.body[: len(answer.body) // 2], answer.headers))
        elif fault.kind == "slow":
            await self._dribble(fault.seconds, request, connection, answer)
        else:
            self._send(request, connection, answer)

    async def _dribble(self, seconds: float, request: Request, connection: Connection, answer: Answer) -> None:
        length = ("Content-Length", str(len(answer.body)))
        connection.send_head(answer.status, [*self._headers(request, answer), length])
        size = -(-len(answer.body) // _SLOW_PARTS)
        for at in range(0, len(answer.body), size):
            await asyncio.sleep(seconds / _SLOW_PARTS)
            connection.send_part(answer.body[at : at + size])

    def _send(self, request: Request, connection: Connection, answer: Answer) -> None:
        connection.send(answer.status, self._headers(request, answer), answer.body)

    def _headers(self, request: Request, answer: Answer) -> Headers:
        html = answer.body is _BAD_GATEWAY
        headers = [
            ("Server", "nginx"),
            ("Date", self._date_now()),
            ("Content-Type", "text/html" if html else "application/json"),
            ("Connection", "keep-alive"),
        ]
        if not html:
            headers.append(("Stripe-Version", request.headers.get("stripe-version", API_VERSION)))
        if "idempotency-key" in request.headers:
            headers.append(("Idempotency-Key", request.headers["idempotency-key"]))
        if "Request-Id" not in answer.headers:
            headers.append(("Request-Id", f"req_{next(self._refused_ids):014}r"))
        headers.extend(answer.headers.items())
        return headers

    def _date_now(self) -> str:
        """The accounts' clock in whole seconds, formatted once a second."""
        now = int(self.sandbox.clock())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True))
        return self._date[1]


def _key_in_use(key: str) -> Answer:
    return Refused(
        "There is currently another in-progress request using this Idempotent Key (that probably means you submitted "
        f"twice, and the other request is still going through): {key}. Please try again later.",
        status=409,
        code="idempotency_key_in_use",
        type="idempotency_error",
    ).answer()
