"""A web application on the test's own database, and people who are signed in to it."""

import base64
import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
import structlog
from argon2 import PasswordHasher
from flask import Flask, request
from flask.testing import FlaskClient

from api import create_app
from api.http.context import EXTENSION
from api.people import People, Role
from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox
from workers.logging import configure_logging
from workers.settings import Settings

PASSWORD = "correct horse battery"
# argon2 is slow on purpose, and nearly every test signs somebody in; what a hash costs to check stands in the hash.
_PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody of a team, and a client that carries their session."""

    client: FlaskClient
    user_id: str
    email: str
    team_id: str

    @property
    def stripe(self) -> str:
        return f"/api/billstack/teams/{self.team_id}/stripe"


@pytest.fixture(scope="session")
def shared_database_url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def database_url(shared_database_url: str) -> Iterator[str]:
    """One database for all of these tests, emptied between them: a new one, and TRUNCATE too, takes ten times as long."""
    yield shared_database_url
    with psycopg.connect(shared_database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM billstack.teams")
        connection.execute("DELETE FROM billstack.users")
        connection.execute("DELETE FROM billstack.one_time_links")
        connection.execute("DELETE FROM billstack.attempts")
        connection.execute("DELETE FROM billstack.audit_log")


@pytest.fixture
def environment(database_url: str, redis_url: str) -> dict[str, str]:
    """What a process needs of the environment."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BILLSTACK_SECRET_KEY": base64.b64encode(b"k" * 32).decode(),
        "BILLSTACK_PUBLIC_URL": "http://billstack.test",
        "STRIPE_API_BASE": "http://127.0.0.1:9",  # nobody; whoever wants a sandbox names it
    }


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return Settings.from_env(environment)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxThread]:
    """A sandbox Stripe for the tests that name it."""
    with SandboxThread(Sandbox()) as running:
        yield running


@pytest.fixture
def new_app() -> Iterator[Callable[[Settings], Flask]]:
    """For a test that needs other settings than `app` has."""
    apps: list[Flask] = []

    def create(settings: Settings) -> Flask:
        apps.append(create_app(settings))
        return apps[-1]

    yield create
    for app in apps:
        app.extensions[EXTENSION].close()


@pytest.fixture(scope="session")
def shared_apps() -> Iterator[dict[Settings, Flask]]:
    """Building one takes longer than most tests; a test that changes an application makes its own with `new_app`."""
    apps: dict[Settings, Flask] = {}
    yield apps
    for app in apps.values():
        app.extensions[EXTENSION].close()


@pytest.fixture
def app(shared_apps: dict[Settings, Flask], settings: Settings) -> Flask:
    if settings not in shared_apps:
        shared_apps[settings] = create_app(settings)
    configure_logging(settings.log_level)  # as create_app does; the last one may have been another's
    return shared_apps[settings]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Nobody's."""
    return app.test_client()


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def new_member(app: Flask, database: psycopg.Connection) -> Callable[..., Member]:
    """Makes a user with `role` in a team, a new one unless `team_id` names it, and signs them in."""

    def create(
        role: str = "owner", *, team_id: str | None = None, email: str | None = None, is_operator: bool = False
    ) -> Member:
        people = People(database)
        count = database.execute("SELECT count(*) FROM billstack.users").fetchone()[0]
        email = email or f"person{count}@example.com"
        team_id = team_id or people.create_team("Team")
        user_id = people.create_user(email, _PASSWORD_HASH)
        people.add_member(team_id, user_id, Role(role))
        people.set_operator(user_id, is_operator=is_operator)
        client = app.test_client()
        assert sign_in(client, email).status_code == 200
        return Member(client, user_id, email, team_id)

    return create


@pytest.fixture
def owner(new_member: Callable[..., Member]) -> Member:
    return new_member()


@pytest.fixture
def operator(new_member: Callable[..., Member]) -> Member:
    """Of the server, and a viewer of a team of their own."""
    return new_member("viewer", is_operator=True)


def sign_in(client: FlaskClient, email: str, password: str = PASSWORD):
    return client.post("/api/auth/sign-in", json={"email": email, "password": password})


@pytest.fixture(name="sign_in")
def sign_in_fixture() -> Callable[..., object]:
    return sign_in


@pytest.fixture
def log_lines(app: Flask) -> Callable[[], list[dict[str, object]]]:
    """What was logged since the last time it was called.

    The handler that `app` made is turned to a buffer: pytest's stderr is another one in each phase of a test.
    """
    buffer = io.StringIO()
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
            handler.setStream(buffer)

    def read() -> list[dict[str, object]]:
        lines = [json.loads(line) for line in buffer.getvalue().splitlines()]
        buffer.seek(0)
        buffer.truncate()
        return lines

    return read


@pytest.fixture
def flask_was_asked(app: Flask, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of requests that reached Flask."""
    asked: list[str] = []
    real = app.full_dispatch_request

    def noted():
        asked.append(request.path)
        return real()

    monkeypatch.setattr(app, "full_dispatch_request", noted)
    return asked
