"""The measurements of ./scripts/bench. Each prints its results and keeps them for the JSON file."""

import os
import time
from dataclasses import dataclass, field, replace
from typing import Any

from scripts.benchmark import comparison, peer, reads, report, stripe_engine, targets, teams
from scripts.benchmark.drain import THREADS_WITH_LATENCY, THREADS_WITHOUT, Drain
from scripts.benchmark.rig import Conditions, Rig, Run, Team, running_rig, secret_key
from scripts.benchmark.rows import Rows
from scripts.benchmark.state import BenchError
from scripts.benchmark.stripe_engine import StripeEngine
from scripts.benchmark.table import seconds, table
from scripts.benchmark.targets import Target
from sync.database.schema import schema_name

ACCOUNT = "bench"
SMALL_SCALE = 0.1  # the small team's account when fairness is measured
HEAD_START_S = 3.0  # by then the huge backfill holds every worker
LOOK_EVERY_S = 0.05
GROWTH_SCALES = (3.0, 30.0)


@dataclass(slots=True)
class Findings:
    """The content of the JSON file, and the targets for the end."""

    facts: dict[str, Any] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)


def measure_backfill(conditions: Conditions, findings: Findings, *, again: bool) -> None:
    """Runs the bare client, then BillStack, on the same sandbox. `again` adds a run on the unchanged account."""
    with running_rig(conditions, account=ACCOUNT) as rig:
        survey = rig.survey(ACCOUNT)
        say(f"{survey.total:,} objects in {len(survey.requests):,} pages · {os.cpu_count()} cores")
        threads = THREADS_WITH_LATENCY if conditions.latency_ms else THREADS_WITHOUT
        drained = Drain(rig.sandbox.url, secret_key(ACCOUNT), survey.requests, conditions.rates).run(threads)
        team = rig.connect(ACCOUNT)
        run = rig.backfill(team)
        say(report.load(run.usage), "", *report.HOW_MEASURED)
        say("", *report.speed(conditions, survey, run, drained))
        say("", *report.requests(survey, run))
        say("", *report.cost(run), "", *report.HOW_CPU)
        findings.facts |= {"objects": survey.objects, "pages": survey.pages(), "nested": survey.nested()}
        findings.facts |= {"run": run, "drained": drained}
        findings.targets += targets.of_run(conditions, survey, run, rig.differences(team))
        if again:
            measure_again(rig, team, run, findings)


def measure_again(rig: Rig, team: Team, first: Run, findings: Findings) -> None:
    rows = Rows(rig.database_url, schema_name(team.id))
    rows.remember()
    rig.keep_house()
    second = rig.backfill(team)
    rewritten = rows.rewritten()
    say("", *report.second_run(first, second, rewritten))
    findings.facts |= {"again": second, "rewritten": rewritten}
    findings.targets += targets.of_second_run(first, second, rewritten)


def measure_growth(conditions: Conditions, findings: Findings) -> None:
    """Peak memory with a small account and with one ten times its size."""
    small, large = GROWTH_SCALES
    runs = []
    with running_rig(replace(conditions, scale=small), account=ACCOUNT) as rig:
        for scale in GROWTH_SCALES:
            account = ACCOUNT if scale == small else "large"
            if scale == large:
                rig.add_account(account, scale)
            runs.append(rig.backfill(rig.connect(account)))
    rows = [report.memory_row(scale, run) for scale, run in zip(GROWTH_SCALES, runs, strict=True)]
    say("", *table(["scale", "objects", "wall", "largest worker process", "largest web", "all Python together"], rows))
    say("", *report.HOW_CPU)
    findings.facts |= {"small": runs[0], "large": runs[1]}
    findings.targets.append(targets.of_growth(*runs))


def measure_fairness(conditions: Conditions, findings: Findings) -> None:
    """A small team's backfill alone, and while a huge one runs."""
    with running_rig(conditions, account=ACCOUNT) as rig:
        for account in ("alone", "beside"):
            rig.add_account(account, SMALL_SCALE)
        huge, alone, beside = (rig.connect(account) for account in (ACCOUNT, "alone", "beside"))
        waits = {"alone": waiting_times(rig, alone)}
        rig.client.start_backfill(huge.id)
        time.sleep(HEAD_START_S)
        waits["while a huge one runs"] = waiting_times(rig, beside)
        if rig.client.status(huge.id)["syncStatus"] != "syncing":
            raise BenchError("the huge backfill was done before the small one: take a larger --scale")
    rows = [[name, seconds(first), seconds(ready)] for name, (first, ready) in waits.items()]
    say("", f"A small team's backfill (scale {SMALL_SCALE:g}); the huge one is of scale {conditions.scale:g}")
    say(*table(["small team's backfill", "first page after", "ready after"], rows))
    findings.facts |= {"waits": waits}


def waiting_times(rig: Rig, team: Team) -> tuple[float, float]:
    """Seconds from the POST until Stripe answered the first page, and until the backfill was ready."""
    rig.refresh_limits(team.account)
    started = time.monotonic()
    rig.client.start_backfill(team.id)
    first = None
    while (status := rig.client.status(team.id)["syncStatus"]) == "syncing":
        if first is None and has_a_page(rig, team):
            first = time.monotonic() - started
        time.sleep(LOOK_EVERY_S)
    ready = time.monotonic() - started
    if status != "ready":
        raise BenchError(f"the small backfill ended as {status}")
    return first or ready, ready


def has_a_page(rig: Rig, team: Team) -> bool:
    endpoints = rig.sandbox.stats(account=team.account)["endpoints"]
    return any(name.count("/") == 2 and name != "GET /v1/account" and "200" in endpoints[name] for name in endpoints)


def measure_teams(conditions: Conditions, findings: Findings, *, count: int) -> None:
    """Many small accounts, all started at once, then their webhooks."""
    with running_rig(replace(conditions, scale=teams.SCALE), account=ACCOUNT) as rig:
        found = teams.measure(rig, count)
    say(
        "",
        f"{count} teams of {found.objects // count} objects at once",
        *table(["", ""], [*teams.facts(found).items()]),
    )
    say(report.load(found.usage))
    findings.facts |= {"teams": found, "teamsPerSecond": found.teams_per_s}


def measure_reads(conditions: Conditions, findings: Findings) -> None:
    """The gateway's answers from a large mirror, and what forwarding costs."""
    with running_rig(conditions, account=ACCOUNT) as rig:
        team = rig.connect(ACCOUNT)
        rig.run_to_end(team)
        rig.keep_house()
        found, found_targets = reads.measure(rig, team)
    say("", *table(reads.HEADS, reads.rows(found)))
    say(*(report.load(each.usage) for each in found[-1:]))
    findings.facts |= {"reads": {each.name: [each.a_second, each.at(50), each.at(99)] for each in found}}
    findings.targets += found_targets


def measure_peers(conditions: Conditions, findings: Findings, *, timeout_s: float) -> None:
    """Speed and cost on one account, then cases in which others fail."""
    peer.install()
    peer.install(StripeEngine)
    with running_rig(conditions, account=ACCOUNT) as rig:
        in_turn = peer.Peer(rig.database_url, rig.sandbox.url, timeout_s)
        side_by_side = peer.Peer(rig.database_url, rig.sandbox.url, timeout_s, side_by_side=True)
        engine = StripeEngine(rig.database_url, rig.sandbox.url, timeout_s)
        columns = [
            comparison.of_billstack(rig, ACCOUNT),
            comparison.of_peer(rig, ACCOUNT, in_turn, "supabase, types in turn"),
            comparison.of_peer(rig, ACCOUNT, side_by_side, "supabase, types side by side"),
            comparison.of_peer(rig, ACCOUNT, engine, "stripe"),
        ]
        say("", *comparison.speed_table(columns), "", *peer.HOW_RUN, "", *stripe_engine.HOW_RUN)
        checks, notes = comparison.checks_of(rig, in_turn, engine)
        notes += [f"{column.name}: {column.problem}" for column in columns if column.problem]
        say("", *comparison.checks_table(checks), "", *(f"  {note}" for note in notes))
    findings.facts |= {"columns": columns, "checks": checks, "notes": notes}


def say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)
