"""BillStack's speed targets, checked against the measurements."""

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.benchmark.lists import Survey, least_seconds
from scripts.benchmark.rig import Conditions, Run
from sync.object_types import DEFAULT_TYPES, in_order

# The targets apply from this size on. With smaller accounts, the start and the finish outweigh the lists.
JUDGED_FROM_SCALE = 10.0
WALL_RATIO = 1.15
LEAST_OBJECTS_PER_S = 8_000
PYTHON_CPU_S_PER_100K = 3.0
WORKER_MB = 150.0
LIMITED_SHARE = 0.01
WASTE_SHARE, WASTE_REQUESTS = 1.10, 20
AGAIN_WAL_SHARE = 0.01
FLAT_MEMORY = 1.10
PYTHON_PARTS = ("worker", "events", "scheduler")


@dataclass(frozen=True, slots=True)
class Target:
    """`met` is None if the target is not judged; `measured` then says why."""

    text: str
    measured: str
    met: bool | None

    @property
    def verdict(self) -> str:
        return {True: "ok", False: "MISSED", None: "-"}[self.met]


def of_run(conditions: Conditions, survey: Survey, run: Run, differences: Sequence[str]) -> list[Target]:
    """The targets of one measured backfill."""
    return [
        of_speed(conditions, survey, run),
        of_python_cpu(conditions, run),
        *of_memory_and_requests(survey, run),
        Target(
            "mirror equals the sandbox, object for object and field for field",
            "; ".join(differences) or f"{survey.total:,} objects equal",
            not differences,
        ),
    ]


def of_speed(conditions: Conditions, survey: Survey, run: Run) -> Target:
    if conditions.rates.account_rps is None:
        rate = run.objects_per_s
        text = f"without limits at least {LEAST_OBJECTS_PER_S:,} objects/s"
        return judged(conditions, text, f"{rate:,.0f}", rate >= LEAST_OBJECTS_PER_S)
    least = least_seconds((each.endpoint for each in survey.requests), conditions.rates, conditions.latency_s)
    ratio = run.usage.wall_s / least
    text = f"wall at most {WALL_RATIO:g} x what the rates permit ({least:.1f} s)"
    return judged(conditions, text, f"{ratio:.2f} x", ratio <= WALL_RATIO)


def of_python_cpu(conditions: Conditions, run: Run) -> Target:
    python = per_100k(sum(run.usage.cpu_s[part] for part in PYTHON_PARTS), run.objects)
    text = f"Python (workers, scheduler) at most {PYTHON_CPU_S_PER_100K:g} CPU s per 100,000 objects"
    return judged(conditions, text, f"{python:.2f} s", python <= PYTHON_CPU_S_PER_100K)


def of_memory_and_requests(survey: Survey, run: Run) -> list[Target]:
    largest = max(run.usage.peak_mb[part] for part in PYTHON_PARTS)
    share = run.limited / run.requests
    wasteful = [name for name, least, asked in lists_asked(survey, run) if asked > allowed_requests(least)]
    return [
        Target(f"each worker process at most {WORKER_MB:g} MB", f"{largest:.0f} MB", largest <= WORKER_MB),
        Target(f"at most {LIMITED_SHARE:.0%} of the requests answered 429", f"{share:.2%}", share <= LIMITED_SHARE),
        Target(
            f"list requests of a type at most {WASTE_SHARE:.2f} x the least + {WASTE_REQUESTS}",
            ", ".join(wasteful) or "all",
            not wasteful,
        ),
    ]


def of_second_run(first: Run, second: Run, rewritten: int) -> list[Target]:
    """The targets of a second backfill of an unchanged account."""
    wal_share = second.usage.wal_bytes / first.usage.wal_bytes
    ratio = second.usage.wall_s / first.usage.wall_s
    return [
        Target("an unchanged account again: no row rewritten", f"{rewritten:,} rewritten", rewritten == 0),
        Target(f"... at most {AGAIN_WAL_SHARE:.0%} of the first WAL", f"{wal_share:.1%}", wal_share <= AGAIN_WAL_SHARE),
        Target("... faster than the first", f"{ratio:.2f} x", ratio < 1),
    ]


def of_growth(small: Run, large: Run) -> Target:
    """The target for memory with a small and a large account."""
    ratio = worker_mb(large) / worker_mb(small)
    measured = f"{worker_mb(small):.0f} MB, {worker_mb(large):.0f} MB"
    return Target("a worker process' peak does not grow with the account", measured, ratio <= FLAT_MEMORY)


def judged(conditions: Conditions, text: str, measured: str, met: bool) -> Target:
    if conditions.scale >= JUDGED_FROM_SCALE:
        return Target(text, measured, met)
    return Target(text, f"{measured} (judged from scale {JUDGED_FROM_SCALE:g} on)", None)


def allowed_requests(least: int) -> float:
    return WASTE_SHARE * least + WASTE_REQUESTS


def lists_asked(survey: Survey, run: Run) -> list[tuple[str, int, int]]:
    """Type, pages at least, list requests made."""
    least = survey.pages()
    return [
        (each.name, least[f"GET {each.path}"], sum(run.traffic.get(f"GET {each.path}", {}).values()))
        for each in in_order(DEFAULT_TYPES)
    ]


def worker_mb(run: Run) -> float:
    return run.usage.peak_mb["worker"]


def per_100k(value: float, objects: int) -> float:
    return value * 100_000 / objects
