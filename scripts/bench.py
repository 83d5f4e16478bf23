"""The benchmark: a backfill of the sandbox Stripe by BillStack's real processes, beside what its rates permit.

    ./scripts/bench                 94,580 objects at 150 ms an answer, 100 requests/s an account, 25 an endpoint
    ./scripts/bench --no-limits     as fast as this machine can
    ./scripts/bench --again         and a second backfill of the unchanged account
    ./scripts/bench --fair          how long a small team waits while a huge one is mirrored
    ./scripts/bench --memory        whether memory grows with the account
    ./scripts/bench --peers         beside @supabase/stripe-sync-engine, where there is Node

Exit code 0: all that was judged was met; 1: something was missed or went wrong.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import urllib3

from scripts.api_client import ApiError
from scripts.benchmark import report, targets
from scripts.benchmark.drain import THREADS_WITH_LATENCY, THREADS_WITHOUT, Drain
from scripts.benchmark.lists import Rates
from scripts.benchmark.rig import BenchError, Conditions, running_rig
from scripts.benchmark.rows import Rows
from scripts.benchmark.targets import Target
from scripts.sandbox.profiles import PROFILES
from scripts.sandbox.running import ControlError
from scripts.servers import ServerError
from scripts.stack import StackError
from sync.schema import schema_name

ACCOUNT = "bench"
SCALE = 10.0
LATENCY_MS = 150.0


@dataclasses.dataclass(slots=True)
class Findings:
    """What goes into the JSON file, and the targets at the end."""

    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    targets: list[Target] = dataclasses.field(default_factory=list)


def measure_backfill(options: argparse.Namespace, conditions: Conditions, findings: Findings) -> None:
    """The bare client first, then BillStack, on the same sandbox."""
    with running_rig(conditions, account=ACCOUNT) as rig:
        survey = rig.survey(ACCOUNT)
        say(f"{survey.total:,} objects in {len(survey.requests):,} pages · {os.cpu_count()} cores")
        threads = THREADS_WITH_LATENCY if conditions.latency_ms else THREADS_WITHOUT
        drained = Drain(rig.sandbox.url, f"sk_test_{ACCOUNT}", survey.requests, conditions.rates).run(threads)
        team = rig.connect(ACCOUNT)
        run = rig.backfill(team)
        say(report.load(run.usage), "")
        say(*report.HOW_MEASURED, "", *report.speed(conditions, survey, run, drained), "")
        say(*report.requests(survey, run), "", *report.cost(run), "", *report.HOW_CPU, "")
        findings.facts |= {"survey": survey.objects, "pages": len(survey.requests), "run": run, "drained": drained}
        findings.targets += targets.of_run(conditions, survey, run, rig.differences(team))
        if options.again:
            rows = Rows(rig.database_url, schema_name(team.id))
            rows.remember()
            second = rig.backfill(team)
            rewritten = rows.rewritten()
            say(*report.second_run(run, second, rewritten), "")
            findings.facts |= {"again": second, "rewritten": rewritten}
            findings.targets += targets.of_second_run(run, second, rewritten)


def main() -> int:
    options = parse_arguments()
    for stop_signal in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop_signal, interrupt)
    try:
        return run(options)
    except (BenchError, StackError, ServerError, ApiError, ControlError) as error:
        problem = str(error)
    except (urllib3.exceptions.HTTPError, psycopg.Error) as error:
        problem = f"{type(error).__name__}: {error}"
    except KeyboardInterrupt:
        return 130
    print(f"bench: {problem}", file=sys.stderr)
    return 1


def run(options: argparse.Namespace) -> int:
    findings = Findings()
    conditions = conditions_of(options)
    say("BillStack bench", str(conditions))
    measure: Callable[[argparse.Namespace, Conditions, Findings], None] = measure_backfill
    measure(options, conditions, findings)
    say("target · measured · verdict", *report.targets(findings.targets))
    if options.json:
        facts = {"conditions": conditions, **findings.facts, "targets": findings.targets}
        options.json.write_text(json.dumps(facts, default=plain, indent=2) + "\n")
    return 1 if any(target.met is False for target in findings.targets) else 0


def plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def conditions_of(options: argparse.Namespace) -> Conditions:
    if options.no_limits:
        return Conditions(options.scale, options.profile, latency_ms=0.0, rates=Rates())
    rates = Rates(options.account_rps, options.endpoint_rps)
    return Conditions(options.scale, options.profile, options.latency_ms, rates)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--scale", type=float, default=SCALE, help="multiplies 9,458 objects (default 10)")
    add("--profile", choices=sorted(PROFILES), default="default", help="how the objects lie in time")
    add("--latency-ms", type=float, default=LATENCY_MS, help="how long an answer takes (default 150)")
    add("--account-rps", type=float, default=100.0, help="requests a second an account (default 100, as Stripe's live)")
    add("--endpoint-rps", type=float, default=25.0, help="requests a second an endpoint (default 25)")
    add("--no-limits", action="store_true", help="no latency and no limits")
    add("--again", action="store_true", help="also a second backfill of the unchanged account")
    add("--json", type=Path, metavar="FILE", help="write what was measured there too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
