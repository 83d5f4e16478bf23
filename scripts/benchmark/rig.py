"""The set-up of a benchmark: the sandbox Stripe, BillStack's real processes, and one measured backfill on them."""

import base64
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import psycopg
import redis
from rq.registry import StartedJobRegistry

from scripts.api_client import JSON, ApiClient
from scripts.benchmark.lists import Rates, Survey, survey
from scripts.benchmark.meter import Meter, Usage
from scripts.benchmark.state import BenchError, fresh_state_dir, refuse_foreign_servers
from scripts.comparison import compare_with_sandbox
from scripts.local.servers import DebianPostgres, EmbeddedPostgres, EmbeddedValkey
from scripts.local.stack import Stack, running_stack
from scripts.sandbox.running import SandboxProcess
from workers.queues import ALL_QUEUES

EMAIL = "bench@example.com"
# BillStack cannot switch a limit off, so this is the most that its settings accept.
NO_LIMIT_RPS = 100_000.0
# The status is polled over HTTP like a dashboard does. More often near the end, for an accurate time.
POLL_S = 0.25
POLL_AT_THE_END_S = 0.05
STALLED_AFTER_S = 180.0
REST_TIMEOUT_S = 10.0
POSTGRES_KINDS = {"embedded": EmbeddedPostgres, "debian": DebianPostgres}
PROCFILE_PARTS = ("worker", "events", "scheduler", "web")


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a run."""

    scale: float
    profile: str
    latency_ms: float
    rates: Rates
    postgres: str = "embedded"  # one of POSTGRES_KINDS

    @property
    def latency_s(self) -> float:
        return self.latency_ms / 1000

    def __str__(self) -> str:
        rates = (
            f"{self.rates.account_rps:g} requests/s an account, {self.rates.endpoint_rps:g} an endpoint"
            if self.rates.account_rps and self.rates.endpoint_rps
            else "no limits"
        )
        return f"scale {self.scale:g} ({self.profile}) · {self.latency_ms:g} ms an answer · {rates} · {self.postgres} Postgres"


@dataclass(frozen=True, slots=True)
class Team:
    """A team that mirrors one account of the sandbox."""

    id: str
    account: str


@dataclass(frozen=True, slots=True)
class Run:
    """One backfill from its POST to `ready`."""

    synced: Mapping[str, int]
    lists_read_s: float  # until the last type had read its lists; the rest is the finish
    usage: Usage
    traffic: Mapping[str, Mapping[str, int]]  # answers by endpoint and status
    most_in_flight: int
    warnings: tuple[str, ...]

    @property
    def objects(self) -> int:
        return sum(self.synced.values())

    @property
    def objects_per_s(self) -> float:
        return self.objects / self.usage.wall_s

    @property
    def requests(self) -> int:
        return sum(sum(answers.values()) for answers in self.traffic.values())

    @property
    def limited(self) -> int:
        return sum(answers.get("429", 0) for answers in self.traffic.values())


class Rig:
    """The running parts, and what can be done with them."""

    def __init__(self, conditions: Conditions, sandbox: SandboxProcess, stack: Stack) -> None:
        self.conditions = conditions
        self.sandbox = sandbox
        self.stack = stack
        self.until = int(time.time())  # where the made-up history of further accounts ends
        self.client = ApiClient(stack.url)
        self._password = secrets.token_urlsafe(12)
        assert isinstance(stack.postgres, EmbeddedPostgres)
        assert isinstance(stack.redis, EmbeddedValkey)
        self.roots = {
            **stack.processes.pids(),
            "Postgres": stack.postgres.pid,
            "Valkey": stack.redis.pid,
            "sandbox": sandbox.pid,
        }

    @property
    def database_url(self) -> str:
        return self.stack.postgres.url

    def add_account(self, name: str, scale: float, *, rates: Rates | None = None) -> None:
        """Adds an account to the sandbox, with the run's rates unless others are given."""
        self.sandbox.add_account(name, scale=scale, profile=self.conditions.profile, until=self.until)
        self.sandbox.call("PUT", "limits", account=name, **limits(rates or self.conditions.rates))

    def connect(self, account: str) -> Team:
        """Creates a new team that mirrors the account."""
        named = ("--email", EMAIL, "--team", f"Mirror of {account}")
        created = self.stack.flask("create-user", *named, says=self._password)
        self.client.sign_in(EMAIL, self._password)
        team = Team(json.loads(created)["teamId"], account)
        self.client.connect(team.id, secret_key(account))
        return team

    def survey(self, account: str) -> Survey:
        """Reads the whole account once, without latency and limits."""
        with self.without_hindrance(account):
            return survey(self.sandbox.url, secret_key(account))

    @contextmanager
    def without_hindrance(self, account: str) -> Iterator[None]:
        self.sandbox.call("PUT", "latency", ms=0)
        self.sandbox.call("PUT", "limits", account=account)
        yield
        self.sandbox.call("PUT", "latency", ms=self.conditions.latency_ms)
        self.refresh_limits(account)

    def refresh_limits(self, account: str) -> None:
        """Fills the buckets and clears the statistics."""
        self.sandbox.call("PUT", "limits", account=account, **limits(self.conditions.rates))
        self.sandbox.call("DELETE", "stats", account=account)

    def backfill(self, team: Team) -> Run:
        """Measures one backfill from the POST to `ready`. CPU time counts until the last work-horse has ended."""
        self.refresh_limits(team.account)
        meter = Meter(self.database_url, self.roots, watched=PROCFILE_PARTS)
        meter.start()
        status, lists_read_s = self.run_to_end(team)
        meter.stop_clock()
        self._wait_for_rest()
        stats = self.sandbox.stats(account=team.account)
        return Run(
            synced={name: result["synced"] for name, result in status["result"].items()},
            lists_read_s=lists_read_s,
            usage=meter.stop(),
            traffic=stats["endpoints"],
            most_in_flight=stats["maxInFlight"],
            warnings=tuple(status["warnings"]),
        )

    def run_to_end(self, team: Team) -> tuple[JSON, float]:
        """Returns the status `ready`, and the seconds until all lists had been read.

        Raises:
            BenchError: it ended in another way.
        """
        started = time.monotonic()
        self.client.start_backfill(team.id)
        status, lists_read_at = self._watch(team)
        if status["syncStatus"] != "ready":
            raise BenchError(f"the backfill ended as {status['syncStatus']}: {(status['backfill'] or {}).get('error')}")
        return status, lists_read_at - started

    def keep_house(self) -> None:
        """Does now what autovacuum would do later, so that it falls into no measurement."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")

    def differences(self, team: Team) -> list[str]:
        """Sentences about differences between the mirror and the sandbox, field by field. Empty if they are equal."""
        found = compare_with_sandbox(self.database_url, team.id, self.sandbox.url, team.account)
        return [f"{each.object_type}: {each}" for each in found if not each.is_equal]

    def _watch(self, team: Team) -> tuple[JSON, float]:
        """The status at the end, and when all lists had been read."""
        counts, moved_at, lists_read_at = None, time.monotonic(), None
        while (status := self.client.status(team.id))["syncStatus"] == "syncing":
            now = time.monotonic()
            if lists_read_at is None and all(each["progress"] >= 1 for each in status["result"].values()):
                lists_read_at = now
            if status["result"] != counts:
                counts, moved_at = status["result"], now
            if now - moved_at > STALLED_AFTER_S:
                raise BenchError(f"the backfill has not moved for {STALLED_AFTER_S:.0f} s; see {self.stack.log_dir}")
            if problem := self.stack.processes.given_up():
                raise BenchError(problem)
            nearly_there = all(each["progress"] >= 0.95 for each in status["result"].values())
            time.sleep(POLL_AT_THE_END_S if nearly_there else POLL_S)
        return status, lists_read_at or time.monotonic()

    def _wait_for_rest(self) -> None:
        """Waits until no job is running."""
        deadline = time.monotonic() + REST_TIMEOUT_S
        with redis.Redis.from_url(self.stack.redis.url) as connection:
            registries = [StartedJobRegistry(name, connection=connection) for name in ALL_QUEUES]
            while time.monotonic() < deadline and any(each.get_job_count(cleanup=False) for each in registries):
                time.sleep(POLL_AT_THE_END_S)


@contextmanager
def running_rig(conditions: Conditions, *, account: str = "bench") -> Iterator[Rig]:
    """Starts everything on fresh data, and stops it at the end.

    Raises:
        BenchError: this machine is unsuitable, or another benchmark runs in this checkout.
    """
    refuse_foreign_servers()
    sandbox_options = ["--account", account, "--scale", f"{conditions.scale:g}", "--profile", conditions.profile]
    rates = conditions.rates
    settings = {
        "BILLSTACK_SECRET_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "STRIPE_ACCOUNT_RPS": f"{rates.account_rps or NO_LIMIT_RPS:g}",
        "STRIPE_ENDPOINT_RPS": f"{rates.endpoint_rps or NO_LIMIT_RPS:g}",
    }
    kind = POSTGRES_KINDS[conditions.postgres]
    with fresh_state_dir(kind) as state_dir, SandboxProcess(*sandbox_options) as sandbox:
        settings["STRIPE_API_BASE"] = sandbox.url
        with running_stack(state_dir, settings=settings, postgres_kind=kind) as stack:
            rig = Rig(conditions, sandbox, stack)
            sandbox.call("PUT", "latency", ms=conditions.latency_ms)
            rig.refresh_limits(account)
            yield rig


def secret_key(account: str) -> str:
    return f"sk_test_{account}"


def limits(rates: Rates) -> dict[str, float]:
    return {name: rate for name, rate in asdict(rates).items() if rate is not None}
