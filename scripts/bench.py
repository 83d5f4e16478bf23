"""The benchmark: BillStack's real processes run a backfill of the sandbox Stripe, compared with what its rates permit.

    ./scripts/bench                 94,580 objects at 150 ms per answer, 100 requests/s per account, 25 per endpoint
    ./scripts/bench --no-limits     as fast as this machine can
    ./scripts/bench --again         plus a second backfill of the unchanged account
    ./scripts/bench --fair          how long a small team waits while a huge one is mirrored
    ./scripts/bench --teams 200     many small teams at once
    ./scripts/bench --reads         what the gateway's reads take from a mirror of 94,580 objects; always without limits
    ./scripts/bench --memory        whether memory grows with the account
    ./scripts/bench --postgres debian   on Debian's Postgres as installed, instead of the embedded one
    ./scripts/bench --peers         compared with two sync engines from npm; needs Node

Exit code 0: every judged target was met. 1: a target was missed, or something went wrong.
"""

import argparse
import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import NoReturn

import psycopg
import urllib3

from scripts import arguments
from scripts.api_client import ApiError
from scripts.benchmark import measures, report
from scripts.benchmark.lists import Rates
from scripts.benchmark.measures import Findings, say
from scripts.benchmark.rig import POSTGRES_KINDS, Conditions
from scripts.benchmark.state import BenchError
from scripts.local.servers import ServerError
from scripts.local.stack import StackError
from scripts.sandbox.profiles import PROFILES
from scripts.sandbox.running import ControlError

SCALE = 10.0
PEERS_SCALE = 1.0  # a peer needs about 2 s per thousand objects
PEERS_TIMEOUT_S = 300.0
LATENCY_MS = 150.0


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
    if options.fair:
        measures.measure_fairness(conditions, findings)
    elif options.teams:
        measures.measure_teams(conditions, findings, count=options.teams)
    elif options.reads:
        measures.measure_reads(conditions, findings)
    elif options.memory:
        measures.measure_growth(conditions, findings)
    elif options.peers:
        measures.measure_peers(conditions, findings, timeout_s=options.peers_timeout_s)
    else:
        measures.measure_backfill(conditions, findings, again=options.again)
    if findings.targets:
        say("", "target · measured · verdict", *report.targets(findings.targets))
    if options.json:
        facts = {"conditions": conditions, **findings.facts, "targets": findings.targets}
        options.json.write_text(json.dumps(facts, default=plain, indent=2) + "\n")
    return 1 if any(target.met is False for target in findings.targets) else 0


def plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def conditions_of(options: argparse.Namespace) -> Conditions:
    scale = options.scale or (PEERS_SCALE if options.peers else SCALE)
    if options.no_limits or options.reads:
        return Conditions(scale, options.profile, latency_ms=0.0, rates=Rates(), postgres=options.postgres)
    rates = Rates(options.account_rps, options.endpoint_rps)
    return Conditions(scale, options.profile, options.latency_ms, rates, options.postgres)


def _add_other_benchmarks(parser: argparse.ArgumentParser) -> None:
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--again", action="store_true", help="also a second backfill of the unchanged account")
    others.add_argument("--fair", action="store_true", help="how long a small team waits while a huge one is mirrored")
    others.add_argument("--teams", type=int, metavar="N", help="N small teams at once, then their events")
    others.add_argument(
        "--reads", action="store_true", help="what the gateway's reads take, from the mirror and forwarded"
    )
    others.add_argument("--memory", action="store_true", help="peaks at scale 3 and at scale 30")
    others.add_argument(
        "--peers",
        action="store_true",
        help="compared with @supabase/stripe-sync-engine and @stripe/sync-engine; needs Node and npm",
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--scale",
        type=arguments.scale,
        help=f"multiplies 9,497 objects (default {SCALE:g}, {PEERS_SCALE:g} with --peers)",
    )
    add("--profile", choices=sorted(PROFILES), default="default", help="how the objects are spread over time")
    add("--latency-ms", type=arguments.latency_ms, default=LATENCY_MS, help="how long an answer takes (default 150)")
    add(
        "--account-rps",
        type=arguments.rate,
        default=100.0,
        help="requests a second per account (default 100, like Stripe's live mode)",
    )
    add("--endpoint-rps", type=arguments.rate, default=25.0, help="requests a second per endpoint (default 25)")
    add("--no-limits", action="store_true", help="no latency and no limits")
    kinds = "the embedded one (default), or Debian's in its default configuration"
    add("--postgres", choices=sorted(POSTGRES_KINDS), default="embedded", help=kinds)
    _add_other_benchmarks(parser)
    add(
        "--peers-timeout-s",
        type=arguments.between(1, 86_400),
        default=PEERS_TIMEOUT_S,
        help="seconds after which a peer's run is given up (default 300)",
    )
    add("--json", type=Path, metavar="FILE", help="also write the measurements to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
