"""Prints the measurements as tables."""

from collections.abc import Sequence

from scripts.benchmark.drain import Drained
from scripts.benchmark.lists import Survey, least_seconds
from scripts.benchmark.meter import OURSELVES, Usage
from scripts.benchmark.rig import PROCFILE_PARTS, Conditions, Run
from scripts.benchmark.table import megabytes, of_bytes, seconds, table
from scripts.benchmark.targets import PYTHON_PARTS, Target, lists_asked, per_100k
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES

HOW_MEASURED = (
    "Measured from POST backfill to the status `ready`: lists, then the finish (what was created or changed meanwhile,",
    "what was deleted). Before that, and not in it: starting the processes, the schema, connecting the team.",
)
HOW_CPU = (
    "Processor time: from /proc, with what the kernel keeps of ended processes (work-horses, Postgres' backends), until",
    "the last job is over. web answers this benchmark's polling too. Memory: the kernel's own peak (VmHWM) of",
    "the largest process of each kind; all together: pages that several share counted once, looked at once a second.",
)


def speed(conditions: Conditions, survey: Survey, run: Run, drained: Drained) -> list[str]:
    """Wall time compared with the bare client's and with what the rates permit."""
    usage = run.usage
    heads = ["", "BillStack", "bare client"]
    rows = [
        ["wall", seconds(usage.wall_s), seconds(drained.wall_s)],
        ["objects/s", f"{run.objects_per_s:,.0f}", f"{survey.total / drained.wall_s:,.0f}"],
        ["requests", f"{run.requests:,}", f"{drained.requests:,}"],
        ["answered 429", f"{run.limited:,}", f"{drained.limited:,}"],
        ["wall / bare client", f"{usage.wall_s / drained.wall_s:.2f} x", ""],
    ]
    if conditions.rates.account_rps:
        least = least_seconds((each.endpoint for each in survey.requests), conditions.rates, conditions.latency_s)
        heads.append("rates permit")
        rows[0].append(seconds(least))
        rows[1].append(f"{survey.total / least:,.0f}")
        rows[2].append(f"{len(survey.requests):,}")
        rows.append(
            ["wall / what the rates permit", f"{usage.wall_s / least:.2f} x", f"{drained.wall_s / least:.2f} x"]
        )
    rows += [
        ["of it: all lists read after", seconds(run.lists_read_s)],
        ["most requests in flight", f"{run.most_in_flight}"],
        ["WAL", of_bytes(usage.wal_bytes)],
        ["received from the sandbox", "", of_bytes(drained.received_bytes)],
    ]
    return table(heads, rows)


def requests(survey: Survey, run: Run) -> list[str]:
    """By type, with nested lists separate."""
    rows = [
        [name, f"{survey.objects[name]:,}", f"{least:,}", f"{asked:,}", f"{asked - least:+,}"]
        for name, least, asked in lists_asked(survey, run)
    ]
    totals = [
        sum(column) for column in zip(*((least, asked) for _, least, asked in lists_asked(survey, run)), strict=True)
    ]
    rows.append(["all lists", f"{survey.total:,}", f"{totals[0]:,}", f"{totals[1]:,}", f"{totals[1] - totals[0]:+,}"])
    least_nested = survey.nested().total()
    nested = sum(sum(run.traffic.get(endpoint, {}).values()) for endpoint in nested_endpoints())
    rows.append(["nested lists", "", f"{least_nested:,}", f"{nested:,}", f"{nested - least_nested:+,}"])
    others = run.requests - totals[1] - nested
    rows.append(["account, events, single objects", "", "", f"{others:,}"])
    return table(["requests", "objects", "at least", "asked", "more"], rows)


def nested_endpoints() -> list[str]:
    types = [OBJECT_TYPES[name] for name in DEFAULT_TYPES]
    return [f"GET {nested.path.format(id=':id')}" for each in types if (nested := each.nested)]


def cost(run: Run) -> list[str]:
    """CPU time and memory by part."""
    usage = run.usage
    rows = []
    python = sum(usage.cpu_s[part] for part in PYTHON_PARTS)
    for name, cpu in (("Python: workers, scheduler", python), *in_order(usage)):
        peak = megabytes(usage.peak_mb[name]) if name in usage.peak_mb else ""
        rows.append([name, f"{cpu:.2f}", f"{per_100k(cpu, run.objects):.2f}", peak])
    rows.append(["other processes of this machine", f"{usage.others_cpu_s:.2f}", "", ""])
    rows.append(["all Python processes together", "", "", megabytes(usage.total_mb)])
    return table(["part", "CPU s", "per 100,000 objects", "peak of one process"], rows)


def in_order(usage: Usage) -> list[tuple[str, float]]:
    first = [f"{part}" for part in PROCFILE_PARTS]
    rest = [name for name in usage.cpu_s if name not in first and name != OURSELVES]
    return [(name, usage.cpu_s[name]) for name in (*first, *rest, OURSELVES)]


def second_run(first: Run, second: Run, rewritten: int) -> list[str]:
    """Compared with the first run, whose rows were vacuumed in between."""
    pairs = [(first, f"{first.objects:,}"), (second, f"{rewritten:,}")]
    columns = [
        [
            seconds(run.usage.wall_s),
            of_bytes(run.usage.wal_bytes),
            f"{run.usage.cpu_s['Postgres']:.2f} s",
            f"{sum(run.usage.cpu_s[part] for part in PYTHON_PARTS):.2f} s",
            f"{run.requests:,}",
            written,
        ]
        for run, written in pairs
    ]
    names = ["wall", "WAL", "CPU of Postgres", "CPU of Python", "requests", "rows written"]
    return table(["", "first", "again, unchanged"], [[*row] for row in zip(names, *columns, strict=True)])


def memory_row(scale: float, run: Run) -> list[str]:
    usage = run.usage
    peaks = [megabytes(mb) for mb in (usage.peak_mb["worker"], usage.peak_mb["web"], usage.total_mb)]
    return [f"{scale:g}", f"{run.objects:,}", seconds(usage.wall_s), *peaks]


def load(usage: Usage) -> str:
    before, after = usage.load_average
    share = usage.others_cpu_s / usage.wall_s
    return f"load average {before:.2f} before, {after:.2f} after; other processes took {share:.2f} cores on average"


def targets(found: Sequence[Target]) -> list[str]:
    width = max(len(target.text) for target in found)
    return [f"  {target.text:<{width}}  ·  {target.measured}  ·  {target.verdict}" for target in found]
