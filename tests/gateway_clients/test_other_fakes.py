"""Two fakes of Stripe that others wrote, as upstream as far as they go: neither has /v1/account or knows `created`."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psycopg
import pytest
import urllib3
from psycopg import sql

from api.http.context import EXTENSION
from api.people import People
from api.projects.key_store import KeyStore, Scope
from scripts.sandbox.account import Account
from scripts.sandbox.seeding import Recipe
from sync.object_types import DEFAULT_TYPES
from sync.stripe.transport import Transport
from tests.api.gateway.mirror_filling import connect_with_key, create_gateway, database_url_of
from tests.gateway_clients.clients import HERE, NotInstallable, installed, node, npm, pip
from tests.sync.backfilling import Backfilling
from tests.sync.conftest import Team
from tests.sync.simulated_stripe import Clock, SimulatedStripe

pytestmark = pytest.mark.slow

CUSTOMERS = 130
SECRET_KEY = "sk_test_12345"
FAKES = HERE / "fakes"


def localstripe(port):
    library = installed("localstripe", FAKES / "localstripe.txt", pip)
    return [sys.executable, "-m", "localstripe.server", "--from-scratch", "--port", str(port)], {
        "PYTHONPATH": str(library)
    }


def stateful_mock(port):
    library = installed("stateful-mock", FAKES / "package-lock.json", npm)
    command = library / "node_modules" / "stripe-stateful-mock" / "dist" / "cli.js"
    return [node(), str(command)], {"PORT": str(port), "LOG_LEVEL": "warn"}


@contextmanager
def running(start, folder: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, environment = start(port)
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


class RealClock(Clock):
    def __init__(self):
        """It has no time of its own."""

    @property
    def now(self):
        return time.time()

    def __call__(self):
        return time.time()

    def advance(self, seconds):
        time.sleep(seconds)


class Upstream(SimulatedStripe):
    """A fake's answers, with the account and the events that it lacks; localstripe refuses `created`, the other ignores it."""

    def __init__(self, url):
        super().__init__(Account("fake", Recipe(counts=dict.fromkeys(DEFAULT_TYPES, 0)), time.time), RealClock())
        self._url, self._transport = url, Transport()

    def send(self, method, url, headers, body=None):
        parts = urlsplit(url)
        if parts.path in ("/v1/account", "/v1/events"):
            return super().send(method, url, headers)
        query = "&".join(each for each in parts.query.split("&") if not each.startswith("created"))
        target = f"{self._url}{parts.path}" + (f"?{query}" if query else "")
        return self._transport.send(method, target, {**headers, "Authorization": f"Bearer {SECRET_KEY}"}, body)


@pytest.fixture(scope="module", params=[localstripe, stateful_mock], ids=["localstripe", "stripe-stateful-mock"])
def fake(request, tmp_path_factory):
    try:
        with running(request.param, tmp_path_factory.mktemp("fake")) as url:
            for number in range(CUSTOMERS):
                post(url, "/v1/customers", email=f"{number}@example.com")
            yield url
    except NotInstallable as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(str(exc), pytrace=False)
        pytest.skip(str(exc))


def post(url, path, **fields):
    headers = {"Authorization": f"Bearer {SECRET_KEY}", "Content-Type": "application/x-www-form-urlencoded"}
    answer = urllib3.request("POST", url + path, body=urlencode(fields), headers=headers)
    assert answer.status < 300, answer.data
    return answer.json()


@pytest.fixture(scope="module")
def mirrored(fake, new_database, redis_database):
    """The application with a team whose mirror has read the fake's customers."""
    with psycopg.connect(new_database(), autocommit=True) as connection:
        app = create_gateway(connection, redis_database, fake)
        team_id = People(connection).create_team("Acme")
        connect_with_key(app, connection, team_id, SECRET_KEY)
        team = Team(team_id, database_url_of(connection), connection)
        backfills = Backfilling(team, Upstream(fake))
        backfill_id = backfills.start("customer")
        assert backfills.run(backfill_id) == "ready", backfills.store.types(backfill_id)
        scopes = [scope.value for scope in Scope]
        _, key = KeyStore(connection).create_key(team_id, "k", project_id=None, scopes=scopes, expires_at=None)
        yield app.test_client(), {"Authorization": f"Bearer {key}"}, backfills, backfill_id
        app.extensions[EXTENSION].close()


def test_every_customer_is_counted_once(mirrored):
    *_, backfills, backfill_id = mirrored

    counted = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(backfills.team.schema, "customers"))

    assert backfills.synced(backfill_id) == {"customer": CUSTOMERS}
    assert backfills.team.connection.execute(counted).fetchone() == (CUSTOMERS,)


def test_reads_come_from_the_mirror_and_the_rest_from_the_fake(mirrored):
    client, headers, *_ = mirrored

    listed = client.get("/v1/customers?limit=100", headers=headers)
    fresh = client.get("/v1/customers?limit=100", headers=headers | {"X-BillStack-Fresh": "true"})

    assert [each.headers["X-BillStack-Source"] for each in (listed, fresh)] == ["mirror", "stripe"]
    assert listed.json["has_more"]
    assert len(fresh.json["data"]) == 100


def test_what_was_written_is_read_at_once(mirrored):
    client, headers, *_ = mirrored

    created = client.post("/v1/customers", headers=headers, data={"email": "new@example.com"})
    found = client.get(f"/v1/customers/{json.loads(created.data)['id']}", headers=headers)

    assert (created.status_code, found.status_code) == (200, 200)
    assert (found.headers["X-BillStack-Source"], found.json["email"]) == ("mirror", "new@example.com")
