"""How fast the gateway reads a large mirror, and what a forwarded request costs beyond Stripe's own time."""

import itertools
import random
import selectors
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from api.projects.key_store import KeyStore, Scope
from scripts.benchmark.meter import Meter, Usage
from scripts.benchmark.rig import Rig, Team, secret_key
from scripts.benchmark.state import BenchError
from scripts.benchmark.targets import Target
from scripts.benchmark.teams import percentile
from sync.database.schema import schema_name

CONNECTIONS = 8
LASTS_S = 5.0
WARM_UP_S = 1.0
# A key's limit lets 1,000 requests through at once and then 100 a second, so each connection takes another one in time.
KEYS = 64
REQUESTS_A_KEY = 900
# Of a type's objects, the requests take these in turn.
SAMPLE = 500
TABLES = ("customers", "subscriptions", "invoices", "charges")
READ_P50_S, READ_P99_S = 0.005, 0.025
FORWARDED_S = 0.005
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Reads:
    """One kind of request. `taken_s` are the times from a request's first byte to its answer's last."""

    name: str
    connections: int
    taken_s: list[float]
    usage: Usage

    @property
    def a_second(self) -> float:
        return len(self.taken_s) / self.usage.wall_s

    def at(self, rank: int) -> float:
        return percentile(self.taken_s, rank)


def measure(rig: Rig, team: Team) -> tuple[list[Reads], list[Target]]:
    keys = make_keys(rig, team)
    ids = sample_ids(rig, team)
    one, ten = retrieves(ids), lists(ids)
    found = [
        run(rig, "healthz, for comparison", rig.stack.url, itertools.repeat("/healthz"), keys),
        run(rig, "retrieve, alone", rig.stack.url, one, keys, connections=1),
        run(rig, "retrieve", rig.stack.url, one, keys),
        run(rig, "list of 10", rig.stack.url, ten, keys),
        run(
            rig, "Stripe itself, alone", rig.sandbox.url, one, itertools.repeat(secret_key(team.account)), connections=1
        ),
        run(rig, "forwarded, alone", rig.stack.url, one, keys, "X-BillStack-Fresh: true\r\n", connections=1),
    ]
    return found, targets_of({each.name: each for each in found})


def targets_of(found: Mapping[str, Reads]) -> list[Target]:
    text = f"at {CONNECTIONS} connections p50 at most {READ_P50_S * 1000:g} ms, p99 at most {READ_P99_S * 1000:g} ms"
    targets = []
    for name in ("retrieve", "list of 10"):
        p50, p99 = found[name].at(50), found[name].at(99)
        is_met = p50 <= READ_P50_S and p99 <= READ_P99_S
        targets.append(Target(f"{name} {text}", f"{p50 * 1000:.1f} ms, {p99 * 1000:.1f} ms", is_met))
    more = found["forwarded, alone"].at(50) - found["Stripe itself, alone"].at(50)
    text = f"a forwarded request costs at most {FORWARDED_S * 1000:g} ms beyond Stripe's own time (p50)"
    return [*targets, Target(text, f"{more * 1000:.1f} ms", more <= FORWARDED_S)]


def make_keys(rig: Rig, team: Team) -> Iterator[str]:
    """In turn, for ever: of all runs, so that none begins with one that another has just used up."""
    scopes = [scope.value for scope in Scope]
    with psycopg.connect(rig.database_url, autocommit=True) as connection:
        store = KeyStore(connection)
        made = [
            store.create_key(team.id, f"bench {number}", project_id=None, scopes=scopes, expires_at=None)[1]
            for number in range(KEYS)
        ]
    return itertools.cycle(made)


def sample_ids(rig: Rig, team: Team) -> dict[str, list[str]]:
    with psycopg.connect(rig.database_url) as connection:
        statement = sql.SQL("SELECT id FROM {} WHERE deleted_at IS NULL ORDER BY md5(id) LIMIT {}")
        return {
            table: [
                object_id
                for (object_id,) in connection.execute(
                    statement.format(sql.Identifier(schema_name(team.id), table), SAMPLE)
                )
            ]
            for table in TABLES
        }


def retrieves(ids: Mapping[str, Sequence[str]]) -> Iterator[str]:
    dice = random.Random(1)
    while True:
        table = dice.choice(TABLES)
        yield f"/v1/{table}/{dice.choice(ids[table])}"


def lists(ids: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The newest, those of a customer, and further pages."""
    dice = random.Random(2)
    while True:
        table = dice.choice(TABLES)
        of_customer = f"&customer={dice.choice(ids['customers'])}" if table != "customers" else ""
        of_all = "&status=all" if table == "subscriptions" else ""
        yield f"/v1/{table}?limit=10{of_all}{dice.choice(('', of_customer, f'&starting_after={dice.choice(ids[table])}'))}"


def _some_of_each(keys: Iterator[str]) -> Iterator[str]:
    return itertools.chain.from_iterable(itertools.repeat(key, REQUESTS_A_KEY) for key in keys)


# A small client: urllib3 would take more time than the server. -----------------------------------------------------------


@dataclass(slots=True)
class _Caller:
    """A connection that sends its next request when the answer to the last one is there."""

    socket: socket.socket
    keys: Iterator[str]
    began: float = 0.0
    received: bytes = b""

    def send(self, path: str, headers: str) -> None:
        self.received, self.began = b"", time.perf_counter()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {next(self.keys)}\r\n{headers}\r\n".encode()
        )

    def is_answered(self) -> bool:
        """Raises BenchError for any other status than 200."""
        self.received += self.socket.recv(1 << 16)
        head, end, body = self.received.partition(_HEAD_END)
        if not end:
            if not self.received:
                raise BenchError("the server hung up")
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"answered {self.received[:500].decode(errors='replace')}")
        lowered = head.lower()
        length = lowered.partition(_LENGTH)[2].partition(b"\r\n")[0]
        return len(body) >= int(length)


def run(
    rig: Rig,
    name: str,
    url: str,
    paths: Iterator[str],
    keys: Iterator[str],
    headers: str = "",
    *,
    connections: int = CONNECTIONS,
) -> Reads:
    call(url, paths, keys, headers, connections=connections, lasts_s=WARM_UP_S)
    meter = Meter(rig.database_url, rig.roots)
    meter.start()
    taken_s = call(url, paths, keys, headers, connections=connections, lasts_s=LASTS_S)
    meter.stop_clock()
    return Reads(name, connections, taken_s, meter.stop())


def call(
    url: str, paths: Iterator[str], keys: Iterator[str], headers: str, *, connections: int, lasts_s: float
) -> list[float]:
    address = urlsplit(url)
    assert address.hostname
    taken_s = []
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            opened = socket.create_connection((address.hostname, address.port), timeout=30)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            caller = _Caller(opened, _some_of_each(keys))
            selector.register(opened, selectors.EVENT_READ, caller)
            caller.send(next(paths), headers)
        ends_at = time.perf_counter() + lasts_s
        while waiting := len(selector.get_map()):
            ready = selector.select(30)
            if not ready:
                raise BenchError(f"{waiting} requests were not answered")
            for each, _ in ready:
                caller = each.data
                if not caller.is_answered():
                    continue
                now = time.perf_counter()
                taken_s.append(now - caller.began)
                if now < ends_at:
                    caller.send(next(paths), headers)
                else:
                    selector.unregister(caller.socket)
                    caller.socket.close()
    return taken_s


def rows(found: Sequence[Reads]) -> list[list[str]]:
    """For a table: times, and the processor time of each part in milliseconds a request."""
    return [
        [
            each.name,
            str(each.connections),
            f"{each.at(50) * 1000:.1f} ms",
            f"{each.at(99) * 1000:.1f} ms",
            f"{each.a_second:,.0f}",
            *(f"{each.usage.cpu_s[part] * 1000 / len(each.taken_s):.2f}" for part in ("web", "Postgres", "Valkey")),
        ]
        for each in found
    ]


HEADS = ("", "connections", "p50", "p99", "requests/s", "CPU ms: web", "Postgres", "Valkey")
