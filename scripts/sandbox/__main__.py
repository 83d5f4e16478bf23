"""Runs a sandbox Stripe by itself: `python -m scripts.sandbox --port 4010 --scale 10 --latency-ms 150`."""

import argparse
import asyncio
import os
import signal
import sys
import time

from scripts.arguments import LARGEST_SCALE, between, latency_ms, port, rate
from scripts.sandbox.faults import FaultPlan, parse
from scripts.sandbox.profiles import PROFILES
from scripts.sandbox.sandbox import Sandbox
from scripts.sandbox.seeding import Recipe
from scripts.sandbox.server import Latency, Server
from scripts.sandbox.traffic import Limits


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.sandbox", description=__doc__)
    add = parser.add_argument
    add("--port", type=port, default=0, help="0 (the default) takes a free one")
    add("--host", default="127.0.0.1", help="the address to listen on (default: this machine only)")
    add("--account", action="append", help="a name, repeatable (default: demo); its keys: sk_test_NAME, sk_live_NAME")
    add("--scale", type=between(0, LARGEST_SCALE), default=1.0, help="multiplies the default counts of every type")
    add("--types", choices=("six", "all"), default="six", help="which object types the accounts have")
    add("--seed", type=int, default=1, help="the same seed makes the same accounts and the same faults")
    add("--profile", choices=sorted(PROFILES), default="default", help="how the objects are spread over time")
    add("--until", type=int, help="epoch second at which the made-up history ends (default: now)")
    add("--latency-ms", type=latency_ms, default=0.0, help="how long an answer takes")
    add("--latency-sigma", type=between(0, 10), default=0.0, help="spreads the latency: sigma of a lognormal")
    add("--account-rps", type=rate, help="requests a second per account (Stripe: 100 live, 25 sandbox)")
    add("--endpoint-rps", type=rate, help="requests a second per endpoint (Stripe: 25)")
    add("--concurrency", type=int, help="simultaneous requests per account")
    add("--fault", action="append", default=[], type=parse, help="500:0.05, hang=60:0.01@/v1/invoices, reset:#3,7")
    add("--clock-offset-s", type=float, default=0.0, help="how far Stripe's clock is ahead of this machine's")
    add("--watch-stdin", action="store_true", help="stop when stdin closes, as when the parent died")
    return parser.parse_args()


def _stop_at_end_of_input(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        stopped.set()


def build(options: argparse.Namespace) -> Server:
    sandbox = Sandbox(lambda: time.time() + options.clock_offset_s)
    recipe = Recipe(options.seed, options.scale, options.profile, until=options.until, types=options.types)
    limits = Limits(options.account_rps, options.endpoint_rps, options.concurrency)
    for name in options.account or ["demo"]:
        sandbox.add_account(name, recipe, limits)
    latency = Latency(options.latency_ms / 1000, options.latency_sigma)
    return Server(sandbox, latency=latency, faults=FaultPlan(tuple(options.fault), options.seed))


async def main() -> None:
    options = arguments()
    server = build(options)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if options.watch_stdin:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end_of_input, stopped)
    print(f"sandbox.ready url={await server.start(options.port, options.host)}", flush=True)
    await stopped.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
