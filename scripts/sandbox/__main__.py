"""Runs a sandbox Stripe by itself: `python -m scripts.sandbox --port 4010 --scale 10 --latency-ms 150`."""

import argparse
import asyncio
import os
import signal
import sys

from scripts.sandbox.profiles import PROFILES
from scripts.sandbox.sandbox import Sandbox
from scripts.sandbox.seeding import Recipe
from scripts.sandbox.server import Server


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--account", action="append", help="a name; its keys are sk_test_NAME and sk_live_NAME")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the default counts of every type")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="default")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--watch-stdin", action="store_true", help="stop when stdin closes, as when the parent died")
    return parser.parse_args()


def _stop_at_end_of_input(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        stopped.set()


async def main() -> None:
    options = arguments()
    sandbox = Sandbox()
    for name in options.account or ["demo"]:
        sandbox.add_account(name, Recipe(options.seed, options.scale, options.profile))
    server = Server(sandbox, options.latency_ms / 1000)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    if options.watch_stdin:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _stop_at_end_of_input, stopped)
    print(f"sandbox.ready url={await server.start(options.port)}", flush=True)
    await stopped.wait()


asyncio.run(main())
