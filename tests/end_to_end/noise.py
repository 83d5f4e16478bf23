"""A tenant that does its worst, in a process of its own: it writes to no other team and breaks no promise of the contract."""

import asyncio
import contextlib
import itertools
import multiprocessing
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg

from scripts.sandbox.courier import signature
from tests.factories import customer, encoded, event

EVENTS_PER_S, SENDERS = 500, 32
READERS = 60  # of one key, as in the attack that once took every connection
STREAMS = 24  # as many as one session may hold
BACKFILL_EVERY_S = 2.0

JSON = "application/json"
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tenant:
    """All that a team's owner has."""

    url: str
    team_id: str
    cookie: str
    api_key: str
    webhook_secret: str
    reader_url: str


@contextmanager
def noise_of(tenant: Tenant, *, lasts_s: float) -> Iterator[dict[str, int]]:
    """Runs meanwhile; afterwards the dictionary holds how many answers of each kind and status the tenant got."""
    spawn = multiprocessing.get_context("spawn")
    begun, met = spawn.Event(), spawn.SimpleQueue()
    process = spawn.Process(target=_make, args=(tenant, lasts_s, begun, met), daemon=True)
    process.start()
    assert begun.wait(30)
    found: dict[str, int] = {}
    yield found
    process.join(lasts_s + 60)
    assert process.exitcode == 0
    found.update(met.get())


def _make(tenant: Tenant, lasts_s: float, begun: Any, met: Any) -> None:
    with psycopg.connect(tenant.reader_url) as reader:
        _hold_locks(reader, tenant.team_id)
        begun.set()
        answers = asyncio.run(_Noise(tenant, time.monotonic() + lasts_s).make())
    met.put(dict(answers))


def _hold_locks(reader: psycopg.Connection, team_id: str) -> None:
    """All that its role may take: advisory locks, and the weakest lock on what it may read."""
    reader.execute("SET transaction_read_only = off")
    for number in range(32):
        reader.execute("SELECT pg_advisory_xact_lock(hashtext(%s), %s)", (f"stripe_{team_id}", number))
    reader.execute(f'LOCK TABLE "stripe_{team_id}".customers, "stripe_{team_id}".charges IN ACCESS SHARE MODE')


class _Noise:
    def __init__(self, tenant: Tenant, ends_at: float) -> None:
        self._tenant, self._ends_at = tenant, ends_at
        self._team = f"/api/billstack/teams/{tenant.team_id}"
        self._answers: Counter[str] = Counter()
        self._due: asyncio.Queue[bytes] = asyncio.Queue(maxsize=EVENTS_PER_S)

    async def make(self) -> Counter[str]:
        work = [self._tell(), self._start_backfills()]
        work += [self._deliver() for _ in range(SENDERS)]
        work += [self._read(number) for number in range(READERS)]
        work += [self._watch() for _ in range(STREAMS)]
        tasks = [asyncio.create_task(each) for each in work]
        await asyncio.sleep(self._ends_at - time.monotonic())
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                self._answers[f"ended by {ended!r}"] += 1
        return self._answers

    async def _tell(self) -> None:
        """Makes events; those that find a full queue are dropped, as the web is behind by a second."""
        began = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number / EVENTS_PER_S - time.monotonic()))
            with contextlib.suppress(asyncio.QueueFull):
                self._due.put_nowait(encoded(event(customer(f"cus_{number % 5_000}"), id=f"evt_{time.time_ns()}")))

    async def _deliver(self) -> None:
        path, connection = f"/api/webhooks/stripe/{self._tenant.team_id}", Connection(self._tenant.url)
        while True:
            body = await self._due.get()
            signed = {"Stripe-Signature": signature(body, self._tenant.webhook_secret, int(time.time()))}
            self._answers[f"event {await connection.ask('POST', path, signed, body)}"] += 1

    async def _read(self, number: int) -> None:
        """Again and again, whatever is answered."""
        slow = ("charges?limit=100", "charges?limit=100&customer=cus_nobody", "invoices?limit=100&status=open")
        path, connection = f"{self._team}/mirror/v1/{slow[number % len(slow)]}", Connection(self._tenant.url)
        while True:
            status = await connection.ask("GET", path, {"Authorization": f"Bearer {self._tenant.api_key}"})
            self._answers[f"read {status}"] += 1

    async def _start_backfills(self) -> None:
        headers, connection = {"Cookie": self._tenant.cookie, "Content-Type": JSON}, Connection(self._tenant.url)
        for path in itertools.cycle(("/stripe/backfill", "/stripe/backfill/cancel")):
            self._answers[f"backfill {await connection.ask('POST', self._team + path, headers, b'{}')}"] += 1
            await asyncio.sleep(BACKFILL_EVERY_S)

    async def _watch(self) -> None:
        path, connection = f"{self._team}/stripe/status/stream", Connection(self._tenant.url)
        while True:
            self._answers[f"stream {await connection.listen(path, {'Cookie': self._tenant.cookie})}"] += 1
            await asyncio.sleep(1)


class Connection:
    """One of HTTP/1.1 that is kept, with one request at a time."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> str:
        """The status of the answer."""
        reader, head = await self._send(method, path, headers, body)
        await reader.readexactly(int(_LENGTH.search(head)[1]))  # type: ignore[index]  # all of these answers have one
        if b"\r\nConnection: close\r\n" in head:
            self._streams = None
        return head[9:12].decode()

    async def listen(self, path: str, headers: Mapping[str, str]) -> str:
        """Reads until the other side ends it."""
        reader, head = await self._send("GET", path, headers, b"")
        while await reader.read(65_536):
            pass
        self._streams = None
        return head[9:12].decode()

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[asyncio.StreamReader, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._address.hostname, self._address.port)
        reader, writer = self._streams
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._address.netloc}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        return reader, await reader.readuntil(b"\r\n\r\n")
