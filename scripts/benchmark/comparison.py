"""BillStack compared with a peer: the same account, latency, limits and Postgres server, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.benchmark.checks import Checks
from scripts.benchmark.meter import Meter, Usage
from scripts.benchmark.peer import Peer
from scripts.benchmark.rig import PROCFILE_PARTS, Rig
from scripts.benchmark.sides import BillStack, Place, Side
from scripts.benchmark.table import megabytes, of_bytes, seconds, table
from scripts.benchmark.targets import per_100k
from sync.database.schema import schema_name
from sync.object_types import DEFAULT_TYPES, in_order


@dataclass(frozen=True, slots=True)
class Column:
    """One program's speed and cost. `objects` is how many its mirror has at the end."""

    name: str
    problem: str | None
    objects: int
    requests: int
    limited: int
    program_cpu_s: float
    program_mb: float  # its largest process
    usage: Usage

    def cells(self) -> list[str]:
        usage = self.usage
        return [
            "aborted" if self.problem else "well",
            seconds(usage.wall_s),
            f"{self.objects:,}",
            f"{self.objects / usage.wall_s:,.0f}",
            f"{self.requests:,}",
            f"{self.limited:,}",
            f"{per_100k(self.program_cpu_s, self.objects):.2f} s" if self.objects else "-",
            f"{per_100k(usage.cpu_s['Postgres'], self.objects):.2f} s" if self.objects else "-",
            of_bytes(usage.wal_bytes),
            megabytes(self.program_mb),
        ]


ROW_NAMES = (
    *(
        "ended",
        "wall",
        "objects in its mirror",
        "objects/s",
        "requests",
        "answered 429",
        "CPU of the program / 100,000",
    ),
    *("CPU of Postgres / 100,000", "WAL", "largest process"),
)


def of_billstack(rig: Rig, account: str) -> Column:
    """Includes all of its processes, also the web's."""
    team = rig.connect(account)
    run = rig.backfill(team)
    usage = run.usage
    return Column(
        name=BillStack.name,
        problem=None,
        objects=objects_in(Place(rig.database_url, schema_name(team.id))),
        requests=run.requests,
        limited=run.limited,
        program_cpu_s=sum(usage.cpu_s[part] for part in PROCFILE_PARTS),
        program_mb=max(usage.peak_mb.values()),
        usage=usage,
    )


def of_peer(rig: Rig, account: str, peer: Peer, name: str) -> Column:
    peer.prepare(account)
    rig.sandbox.call("PUT", "latency", ms=rig.conditions.latency_ms)
    rig.refresh_limits(account)
    meter = Meter(rig.database_url, {part: rig.roots[part] for part in ("Postgres", "sandbox")})
    meter.start()
    attempt = peer.mirror(account)
    meter.stop_clock()
    usage = meter.stop()
    stats = rig.sandbox.stats(account=account)
    return Column(
        name=name,
        problem=attempt.problem,
        objects=objects_in(peer.place(account)),
        requests=stats["requests"],
        limited=sum(answers.get("429", 0) for answers in stats["endpoints"].values()),
        program_cpu_s=peer.cost.cpu_s,
        program_mb=peer.cost.peak_mb,
        usage=usage,
    )


def objects_in(place: Place) -> int:
    return sum(len(place.live_ids(each)) for each in in_order(DEFAULT_TYPES))


def speed_table(columns: Sequence[Column]) -> list[str]:
    cells = [column.cells() for column in columns]
    return table(
        ["speed and cost", *(column.name for column in columns)],
        [list(row) for row in zip(ROW_NAMES, *cells, strict=True)],
    )


def checks_of(rig: Rig, *peers: Peer) -> tuple[dict[str, dict[str, str]], list[str]]:
    """The results by program and check, and the output of programs that ended early."""
    sides: list[Side] = [BillStack(rig), *peers]
    checks = [Checks(rig, side) for side in sides]
    found = {side.name: each.run() for side, each in zip(sides, checks, strict=True)}
    return found, [note for each in checks for note in each.notes]


def checks_table(found: dict[str, dict[str, str]]) -> list[str]:
    names = list(found)
    rows = [[check, *(found[name][check] for name in names)] for check in found[names[0]]]
    return table(["measured on small accounts of their own", *names], rows)
