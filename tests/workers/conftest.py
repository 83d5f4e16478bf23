"""A context as worker processes have it, a connected team, and RQ workers that run what is queued in this process."""

import base64
from collections.abc import Callable, Iterator

import psycopg
import pytest
from rq import SimpleWorker

from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox
from sync.database.schema import create_team_schema, drop_team_schema
from sync.ids import new_id
from sync.object_types import DEFAULT_TYPES
from sync.teams.connections import Connections
from workers.context import Context, open_context
from workers.queues import EVENTS
from workers.settings import Settings


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[SandboxThread]:
    with SandboxThread(Sandbox()) as running:
        yield running


@pytest.fixture
def stripe(running_sandbox: SandboxThread) -> SandboxThread:
    """A sandbox Stripe whose account `demo` is nearly empty."""
    running_sandbox.call("DELETE", "faults")
    running_sandbox.add_account("demo", counts=dict.fromkeys(DEFAULT_TYPES, 2))
    return running_sandbox


@pytest.fixture(scope="session")
def shared_database_url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def database_url(shared_database_url: str) -> Iterator[str]:
    """One database for all of these tests, emptied between them: a new one, and TRUNCATE too, takes ten times as long."""
    yield shared_database_url
    with psycopg.connect(shared_database_url, autocommit=True) as connection:
        for (team_id,) in connection.execute("SELECT id FROM billstack.teams").fetchall():
            drop_team_schema(connection, team_id)
        connection.execute("DELETE FROM billstack.teams")


@pytest.fixture
def context(
    database_url: str, redis_url: str, stripe: SandboxThread, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Context]:
    """Jobs that run in this process open theirs from the same environment."""
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BILLSTACK_SECRET_KEY": base64.b64encode(b"k" * 32).decode(),
        "BILLSTACK_PUBLIC_URL": "http://billstack.test",
        "STRIPE_API_BASE": stripe.url,
        "STRIPE_ACCOUNT_RPS": "1000",
        "STRIPE_ENDPOINT_RPS": "1000",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    opened = open_context(Settings.from_env(environment))
    yield opened
    opened.close()


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def new_team(context: Context, database: psycopg.Connection, stripe: SandboxThread) -> Callable[[], str]:
    """Connects a team whose first backfill began when the sandbox did, and is done."""

    def create() -> str:
        team_id, state = new_id("team"), stripe.sandbox.tenant("demo").account.state
        with database.transaction():
            database.execute("INSERT INTO billstack.teams (id, name) VALUES (%s, 'Acme')", (team_id,))
            Connections(database, context.box).put(
                team_id,
                account_id=state.id,
                account_name=None,
                livemode=False,
                secret_key="sk_test_demo",
                publishable_key=None,
                webhook_secret="whsec_test",
            )
            create_team_schema(database, team_id)
            database.execute(
                "INSERT INTO billstack.backfills (id, team_id, objects, state, started, finished_at)"
                " VALUES (%s, %s, '{customer}', 'ready', %s, now())",
                (new_id("bf"), team_id, state.created),
            )
        return team_id

    return create


@pytest.fixture
def team_id(new_team: Callable[[], str]) -> str:
    return new_team()


@pytest.fixture
def work(context: Context) -> Callable[..., None]:
    """Runs what is queued until nothing is."""

    def run(queue: str = EVENTS) -> None:
        SimpleWorker([queue], connection=context.redis).work(burst=True, logging_level="WARNING")

    return run
