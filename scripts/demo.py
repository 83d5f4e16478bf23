"""The demo: runs everything on this machine, backfills the sandbox Stripe, and proves that the mirror equals it."""

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import psycopg
import urllib3

from scripts import arguments
from scripts.api_client import JSON, ApiClient, ApiError
from scripts.comparison import compare_with_sandbox
from scripts.keepsakes import DemoError, Keepsakes
from scripts.local.server import EmbeddedServer, try_flock
from scripts.local.servers import EmbeddedPostgres, ServerError
from scripts.local.stack import Stack, StackError, listen, running_stack
from scripts.progress import Display
from scripts.run_procfile import ROOT
from scripts.sandbox.running import SandboxProcess
from sync.database.schema import schema_name
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES
from sync.stripe.sdk import API_VERSION

PREFERRED_PORT = 8000
ACCOUNT = "demo"
SECRET_KEY = f"sk_test_{ACCOUNT}"  # made up by the sandbox, worthless elsewhere
EMAIL = "demo@example.com"
TEAM = "Demo"
# A live account's default. A test account's 20 would only slow down a large --scale.
RATES = {"STRIPE_ACCOUNT_RPS": "80"}
POLL_S = 0.2
# Well over the 60 s within which a killed worker's job is taken over.
STALLED_AFTER_S = 180.0
_UNAVAILABLE = 503


@contextmanager
def alone_in(state_dir: Path) -> Iterator[None]:
    """Keeps others from running a demo on this folder at the same time.

    Raises:
        DemoError: somebody else does.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    with open(os.open(state_dir / "demo.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as lock:
        if not try_flock(lock.fileno()):
            raise DemoError(
                f"process {lock.read() or '?'} runs a demo on {state_dir} already; "
                "stop that one first, or start this one with --state-dir DIR"
            )
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


class Demo:
    """The steps in order. Each says what it did."""

    def __init__(self, options: argparse.Namespace, display: Display) -> None:
        self._options = options
        self._display = display
        path = options.state_dir / "demo.json"
        self._keepsakes = Keepsakes.load(path, scale=options.scale, types=options.types)

    def run(self) -> bool:
        """Returns whether the mirror equals the sandbox. Without `--once` it runs until KeyboardInterrupt."""
        with ExitStack() as running:
            if self._keepsakes.types != self._options.types:
                self._say(
                    "The team mirrors all types since an earlier start with --types all, so the sandbox has them, too"
                )
            with self._step("The sandbox Stripe is up"):
                sandbox = running.enter_context(self._sandbox())
            listener = self._listen()
            with self._step("Postgres, Valkey, web and workers are up"):
                settings = RATES | {
                    "BILLSTACK_SECRET_KEY": self._keepsakes.secret_key,
                    "STRIPE_API_BASE": sandbox.url,
                }
                stack = running.enter_context(
                    running_stack(self._options.state_dir, settings=settings, listener=listener, on_event=self._say)
                )
            with self._step(f"{EMAIL} signed in and connected the sandbox's account"):
                client, team_id = self._connect(stack, sandbox.url)
            is_ready = self._backfill(stack, client, team_id)
            is_equal = self._compare(stack, team_id, sandbox.url) and is_ready
            if self._options.once:
                return is_equal
            self._show_addresses(stack, team_id)
            self._stay(stack)

    def _sandbox(self) -> SandboxProcess:
        until = str(self._keepsakes.sandbox_until)
        return SandboxProcess(
            "--account",
            ACCOUNT,
            "--scale",
            str(self._options.scale),
            "--until",
            until,
            "--types",
            self._keepsakes.types,
        )

    def _listen(self) -> socket.socket:
        try:
            return listen(self._options.port)
        except OSError:
            self._say(f"Port {self._options.port} is not free; the dashboard uses another one")
            return listen()

    def _connect(self, stack: Stack, sandbox_url: str) -> tuple[ApiClient, str]:
        password = self._keepsakes.password
        created = json.loads(stack.flask("create-user", "--email", EMAIL, "--team", TEAM, "--operator", says=password))
        client = ApiClient(stack.url)
        client.sign_in(EMAIL, password)
        team_id = created["teamId"]
        webhook_url = client.connect(team_id, SECRET_KEY)["webhookUrl"]
        # The sandbox forgets its webhook endpoints when it ends, so each start registers a new one.
        client.connect(team_id, SECRET_KEY, webhook_secret=register_webhook(sandbox_url, webhook_url))
        return client, team_id

    def _backfill(self, stack: Stack, client: ApiClient, team_id: str) -> bool:
        """Shows the backfill until it ends. Returns whether it ended well."""
        started = time.monotonic()
        backfill_id = client.start_backfill(team_id, objects=self._types)["backfillId"]
        self._display.say(f"\nBackfill {backfill_id}")
        status = self._watch(stack, client, team_id)
        took_s = time.monotonic() - started
        total = sum(result["synced"] for result in status["result"].values())
        self._say(f"took {took_s:.1f} s, {total / took_s:,.0f} objects/s")
        for name, result in status["result"].items():
            if result["error"]:
                self._say(f"{name}: {result['error']}")
        for warning in status["warnings"]:
            self._say(f"warning: {warning}")
        return bool(status["syncStatus"] == "ready")

    def _watch(self, stack: Stack, client: ApiClient, team_id: str) -> JSON:
        """Returns the status with which the backfill ended."""
        counts, moved_at = None, time.monotonic()
        while (status := self._status(client, team_id)) is None or status["syncStatus"] == "syncing":
            if status:
                self._display.show(status)
            if status and status["result"] != counts:
                counts, moved_at = status["result"], time.monotonic()
            if time.monotonic() - moved_at > STALLED_AFTER_S:
                raise DemoError(
                    f"the backfill has not moved for {STALLED_AFTER_S:.0f} s; see the logs in {stack.log_dir}"
                )
            self._check_processes(stack)
            time.sleep(POLL_S)
        self._display.show(status, is_last=True)
        self._display.finish()
        return status

    @staticmethod
    def _status(client: ApiClient, team_id: str) -> JSON | None:
        """None while Postgres is being started again."""
        try:
            return client.status(team_id)
        except ApiError as error:
            if error.status != _UNAVAILABLE:
                raise
            return None

    @property
    def _types(self) -> list[str]:
        return list(OBJECT_TYPES if self._keepsakes.types == "all" else DEFAULT_TYPES)

    def _compare(self, stack: Stack, team_id: str, sandbox_url: str) -> bool:
        self._display.say("\nThe mirror against the sandbox, object by object and field by field")
        found, width = [], max(map(len, self._types))
        for difference in compare_with_sandbox(stack.postgres.url, team_id, sandbox_url, ACCOUNT):
            found.append(difference)
            self._say(f"{difference.object_type:<{width}} {difference.compared:>9,} compared: {difference}")
        is_equal = all(difference.is_equal for difference in found)
        total = sum(difference.compared for difference in found)
        verdict = "the mirror equals the sandbox" if is_equal else "THE MIRROR DIFFERS FROM THE SANDBOX"
        self._say(f"{'total':<{width}} {total:>9,} compared: {verdict}")
        return is_equal

    def _show_addresses(self, stack: Stack, team_id: str) -> None:
        self._display.say()
        self._say(f"Dashboard  {stack.url}/")
        self._say(f"Sign-in    {EMAIL}  {self._keepsakes.password}")
        self._say(f"API        {stack.url}/api/docs")
        if isinstance(stack.postgres, EmbeddedPostgres):
            self._say(f"SQL        psql '{stack.postgres.url}'")
        self._say(f"           the mirror's schema is {schema_name(team_id)}")
        self._say(f"Logs       {stack.log_dir}/")
        self._say(f"Data       {self._options.state_dir}/")
        self._display.say("\nCtrl-C stops everything. The data stays for the next start.")

    def _stay(self, stack: Stack) -> NoReturn:
        while True:
            self._check_processes(stack)
            time.sleep(POLL_S)

    def _check_processes(self, stack: Stack) -> None:
        """The stack starts its processes again by itself, but not the servers."""
        for server in (stack.postgres, stack.redis):
            if isinstance(server, EmbeddedServer) and server.has_died():
                self._say(f"{server.name} has died; it is started again")
                server.restart()
        if problem := stack.processes.given_up():
            raise DemoError(problem)

    @contextmanager
    def _step(self, done: str) -> Iterator[None]:
        """Prints `done` and the seconds it took, once it is done."""
        started = time.monotonic()
        yield
        self._say(f"{done:<62} {time.monotonic() - started:5.1f} s")

    def _say(self, sentence: str) -> None:
        self._display.say(f"  {sentence}")


def register_webhook(sandbox_url: str, webhook_url: str) -> str:
    """Creates a webhook endpoint at the sandbox for all events, in our API version, and returns its signing secret."""
    fields = {"url": webhook_url, "enabled_events[]": "*", "api_version": API_VERSION}
    headers = {"Authorization": f"Bearer {SECRET_KEY}"}
    address = f"{sandbox_url}/v1/webhook_endpoints"
    with urllib3.PoolManager(headers=headers) as pool:
        response = pool.request("POST", address, fields=fields, encode_multipart=False)
    if response.status != 200:
        raise DemoError(f"the sandbox refused a webhook endpoint: {response.json()['error']['message']}")
    return str(response.json()["secret"])


def main() -> int:
    options = parse_arguments()
    for stop_signal in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: `demo &` starts with it ignored
        signal.signal(stop_signal, interrupt)
    display = Display(sys.stdout)
    try:
        display.say("BillStack demo")
        with alone_in(options.state_dir):
            return 0 if Demo(options, display).run() else 1
    except (DemoError, StackError, ServerError, ApiError) as error:
        problem = str(error)
    except (urllib3.exceptions.HTTPError, psycopg.Error) as error:
        problem = f"{error}; see the logs in {options.state_dir / 'logs'}"
    except KeyboardInterrupt:
        display.finish()
        display.say("\nStopped.")
        return 130 if options.once else 0
    display.finish()
    print(f"demo: {problem}", file=sys.stderr)
    return 1


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./scripts/demo", description=__doc__)
    add = parser.add_argument
    add("--once", action="store_true", help="end after the comparison; exit 0 only if the mirror equals the sandbox")
    add("--scale", type=arguments.scale, default=1.0, help="multiplies the sandbox's 9,497 objects")
    add(
        "--types", choices=("six", "all"), default="six", help="which object types the sandbox has and the team mirrors"
    )
    add("--port", type=arguments.port, default=PREFERRED_PORT, help=f"of the dashboard, {PREFERRED_PORT} if it is free")
    add("--state-dir", type=Path, default=ROOT / ".billstack", help="where the data is stored; default: .billstack")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
