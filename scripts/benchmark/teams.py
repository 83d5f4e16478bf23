"""Many small teams at once: backfills per second, what their pages wait for, and how far events lag."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
import redis
from rq import Worker

from api.people.store import People, Role
from scripts.api_client import ApiClient, ApiError
from scripts.benchmark.meter import Meter, Usage
from scripts.benchmark.rig import EMAIL, Rig, Team, secret_key
from scripts.benchmark.state import BenchError

SCALE = 0.02  # 198 objects
FIRST_ACCOUNT = "bench"
# As many as people's browsers would send at once.
CLIENTS = 8
LOOK_EVERY_S = 0.1
STATUS_EVERY_S = 0.05
STALLED_AFTER_S = 300.0
EVENTS_A_SECOND = 400.0
EVENTS_LAST_S = 12.0


@dataclass(frozen=True, slots=True)
class ManyTeams:
    """Times in seconds. `lag` is from an event's record to the mirror."""

    teams: int
    objects: int
    usage: Usage
    jobs: int
    first_ready_s: float
    half_ready_s: float
    status_p50_s: float
    status_p99_s: float
    events: "Events"
    unequal: int

    @property
    def teams_per_s(self) -> float:
        return self.teams / self.usage.wall_s


@dataclass(frozen=True, slots=True)
class Events:
    """`usage` lasts from the first change until all events are applied. `jobs` are those of all queues."""

    count: int
    jobs: int
    lag_p50_s: float
    lag_p99_s: float
    usage: Usage


@dataclass(slots=True)
class _Statuses:
    """Polls the status of one team after the other, as dashboards do."""

    client: ApiClient
    teams: list[Team]
    taken_s: list[float] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def polled(self) -> Iterator[None]:
        thread = threading.Thread(target=self._poll, daemon=True)
        thread.start()
        yield
        self._stopped.set()
        thread.join()

    def _poll(self) -> None:
        while not self._stopped.wait(STATUS_EVERY_S):
            team = self.teams[len(self.taken_s) % len(self.teams)]
            began = time.monotonic()
            self.client.status(team.id)
            self.taken_s.append(time.monotonic() - began)


def measure(rig: Rig, count: int) -> ManyTeams:
    teams = connect_many(rig, count)
    statuses = _Statuses(rig.client, teams)
    meter = Meter(rig.database_url, rig.roots)
    jobs_before = jobs_done(rig)
    meter.start()
    began = time.monotonic()
    with statuses.polled():
        each_team(rig, teams, lambda client, team: client.start_backfill(team.id))
        ready_after = wait_for_all(rig, count, began)
    meter.stop_clock()
    usage = meter.stop()
    jobs = jobs_done(rig) - jobs_before
    unequal = sum(bool(rig.differences(team)) for team in teams[:: max(1, count // 20)])
    events = apply_events(rig, teams)
    return ManyTeams(
        teams=count,
        objects=objects(rig),
        usage=usage,
        jobs=jobs,
        first_ready_s=ready_after[0],
        half_ready_s=ready_after[count // 2],
        status_p50_s=percentile(statuses.taken_s, 50),
        status_p99_s=percentile(statuses.taken_s, 99),
        events=events,
        unequal=unequal,
    )


def connect_many(rig: Rig, count: int) -> list[Team]:
    """Teams of one owner, each with its own account."""
    rig.connect(FIRST_ACCOUNT)  # signs its owner in
    with psycopg.connect(rig.database_url, autocommit=True) as connection:
        people = People(connection)
        (owner,) = connection.execute("SELECT id FROM billstack.users WHERE email = %s", (EMAIL,)).fetchone() or ("",)
        teams = [Team(people.create_team(f"Small {number}"), f"small{number}") for number in range(count)]
        for team in teams:
            people.add_member(team.id, owner, Role.OWNER)
    for team in teams:
        rig.add_account(team.account, SCALE)
    each_team(rig, teams, lambda client, team: client.connect(team.id, secret_key(team.account)))
    return teams


def each_team(rig: Rig, teams: list[Team], act: Callable[[ApiClient, Team], object]) -> None:
    def share(number: int) -> None:
        client = ApiClient(rig.stack.url)
        client.cookie = rig.client.cookie
        for team in teams[number::CLIENTS]:
            patiently(lambda: act(client, team))  # noqa: B023 - called at once

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(share, range(CLIENTS)))


def patiently(call: Callable[[], object]) -> None:
    """Retries after 429 or 503, as a browser would."""
    for _ in range(50):
        try:
            call()
            return
        except ApiError as error:
            if error.status not in (429, 503):
                raise
            time.sleep(0.5)
    raise BenchError("the web answered 429 or 503 for too long")


def wait_for_all(rig: Rig, count: int, began: float) -> list[float]:
    """The seconds after which each backfill was ready, in order."""
    ready: list[float] = []
    with psycopg.connect(rig.database_url, autocommit=True) as connection:
        while len(ready) < count:
            time.sleep(LOOK_EVERY_S)
            states: dict[str, int] = dict(
                connection.execute("SELECT state, count(*) FROM billstack.backfills GROUP BY 1").fetchall()
            )
            if states.get("error") or states.get("canceled"):
                raise BenchError(f"a small backfill did not end well: {states}")
            elapsed = time.monotonic() - began
            ready += [elapsed] * (states.get("ready", 0) - len(ready))
            if elapsed > STALLED_AFTER_S:
                raise BenchError(f"after {elapsed:.0f} s {states}")
    return ready


def objects(rig: Rig) -> int:
    with psycopg.connect(rig.database_url) as connection:
        row = connection.execute("SELECT sum(synced) FROM billstack.backfill_types").fetchone()
    return int(row[0]) if row else 0


def jobs_done(rig: Rig) -> int:
    with redis.Redis.from_url(rig.stack.redis.url) as connection:
        return sum(worker.successful_job_count for worker in Worker.all(connection=connection))


def apply_events(rig: Rig, teams: list[Team]) -> Events:
    """Delivers events of all teams for a while."""
    each_team(rig, teams, set_up_webhook)
    changes = max(1, int(EVENTS_A_SECOND * EVENTS_LAST_S / len(teams)))
    jobs_before = jobs_done(rig)
    meter = Meter(rig.database_url, rig.roots)
    meter.start()
    for seed, team in enumerate(teams):
        rig.sandbox.call("POST", "changes", account=team.account, n=changes, seed=seed, over_s=EVENTS_LAST_S)
    time.sleep(EVENTS_LAST_S)
    with psycopg.connect(rig.database_url, autocommit=True) as connection:
        give_up_at = time.monotonic() + STALLED_AFTER_S
        while under_way(rig) or unapplied(connection):
            if time.monotonic() > give_up_at:
                raise BenchError("events are not applied")
            time.sleep(LOOK_EVERY_S)
        meter.stop_clock()
        usage = meter.stop()
        lags = lags_of_events(connection)
    return Events(len(lags), jobs_done(rig) - jobs_before, percentile(lags, 50), percentile(lags, 99), usage)


def lags_of_events(connection: psycopg.Connection) -> list[float]:
    """How long each delivered event was in the ledger before it was in the mirror."""
    rows = connection.execute(
        "SELECT extract(epoch FROM applied_at - received_at)::float8 FROM billstack.events WHERE delivered"
    ).fetchall()
    return [lag for (lag,) in rows if lag is not None]


def under_way(rig: Rig) -> int:
    found = rig.sandbox.call("GET", "deliveries")
    return int(found["waiting"] + found["underWay"] + found["changesUnderWay"])


def set_up_webhook(client: ApiClient, team: Team) -> object:
    return client.call("POST", f"/api/billstack/teams/{team.id}/stripe/webhook", {})


def unapplied(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM billstack.events WHERE state IN ('pending', 'failed')").fetchone()
    return row[0] if row else 0


def percentile(values: list[float], rank: int) -> float:
    return statistics.quantiles(values, n=100)[rank - 1] if len(values) > 1 else sum(values)


def facts(found: ManyTeams) -> Mapping[str, str]:
    usage, events = found.usage, found.events
    return {
        "all ready after": f"{usage.wall_s:.1f} s",
        "first, half of them": f"{found.first_ready_s:.1f} s, {found.half_ready_s:.1f} s",
        "teams/s": f"{found.teams_per_s:.2f}",
        "objects/s": f"{found.objects / usage.wall_s:,.0f}",
        "jobs, jobs/s": f"{found.jobs:,}, {found.jobs / usage.wall_s:.1f}",
        "status p50, p99": f"{found.status_p50_s * 1000:.0f} ms, {found.status_p99_s * 1000:.0f} ms",
        "processor seconds": busy(usage),
        "events applied": f"{events.count:,} in {events.usage.wall_s:.1f} s by {events.jobs:,} jobs",
        "events' lag p50, p99": f"{events.lag_p50_s:.2f} s, {events.lag_p99_s:.2f} s",
        "processor seconds of events": busy(events.usage),
        "mirrors that differ": f"{found.unequal} of those compared",
    }


def busy(usage: Usage) -> str:
    """Processor seconds by part, the busiest first."""
    parts = sorted(usage.cpu_s.items(), key=lambda each: -each[1])
    return ", ".join(f"{name} {used:.1f}" for name, used in parts) + f"; others {usage.others_cpu_s:.1f}"
