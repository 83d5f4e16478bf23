"""A connection's own version of Stripe's API: what it reads, listens to and vouches for."""

from dataclasses import replace

import pytest

from api.http.context import EXTENSION
from sync.events.ledger import LedgerEvent
from sync.events.routing import route
from sync.object_types import DEFAULT_TYPES
from sync.stripe.sdk import API_VERSION
from sync.teams.connections import Connections
from tests.api.gateway.mirror_filling import finish_backfill
from tests.factories import customer, encoded, event
from workers.jobs import backfill as jobs
from workers.stripe_account import open_source

KEY = "sk_test_demo"
OLDER = "2023-10-16"


@pytest.fixture
def account(sandbox):
    sandbox.add_account("demo", counts=dict.fromkeys(DEFAULT_TYPES, 1))
    return sandbox.sandbox.tenant("demo").account


@pytest.fixture
def settings(settings, sandbox, account):
    return replace(settings, stripe_api_base=sandbox.url, stripe_account_rps=1000.0, stripe_endpoint_rps=1000.0)


@pytest.fixture
def connect(owner):
    return lambda **given: owner.client.post(f"{owner.stripe}/connect", json={"secretKey": KEY, **given})


@pytest.fixture
def status(owner):
    return lambda: owner.client.get(f"{owner.stripe}/status").json


def connection_of(app, team_id):
    context = app.extensions[EXTENSION]
    with context.pool.connection() as connection:
        return Connections(connection, context.box).get(team_id)


def test_at_first_it_is_ours(connect, status):
    assert status()["apiVersion"] is None
    assert connect().status_code == 200
    assert status()["apiVersion"] == API_VERSION


def test_what_is_read_and_listened_to_has_the_version_of_the_connection(connect, status, owner, app, account):
    assert connect(apiVersion=OLDER).status_code == 200

    source = open_source(app.extensions[EXTENSION], connection_of(app, owner.team_id))
    made = owner.client.post(f"{owner.stripe}/webhook", json={}).json
    (endpoint,) = account.handle("GET", "/v1/webhook_endpoints", {}).json()["data"]

    assert status()["apiVersion"] == OLDER
    assert source.caller._sdk.headers["Stripe-Version"] == OLDER
    assert made["apiVersion"] == endpoint["api_version"] == OLDER
    assert OLDER in owner.client.get(f"{owner.stripe}/webhook-url").json["instructions"]


@pytest.mark.parametrize(("version", "action"), [(OLDER, "apply"), (API_VERSION, "fetch")])
def test_only_events_of_that_version_are_applied_as_they_are(connect, owner, app, account, version, action):
    assert connect(apiVersion=OLDER).status_code == 200
    connected = connection_of(app, owner.team_id)
    made = event(customer(), api_version=version, account=None)
    told = LedgerEvent(made["id"], made["type"], made["created"], encoded(made), delivered=True, attempts=0)

    found = route(told, replace(jobs.mirrored(connected), types=DEFAULT_TYPES))

    assert found.action == action


def test_another_version_reads_everything_again_and_takes_the_webhook_with_it(
    connect, status, owner, database, account
):
    assert connect().status_code == 200
    owner.client.post(f"{owner.stripe}/webhook", json={})
    finish_backfill(database, owner.team_id)
    assert all(each["complete"] for each in status()["mirror"].values())

    assert connect(apiVersion=OLDER).status_code == 200

    (endpoint,) = account.handle("GET", "/v1/webhook_endpoints", {}).json()["data"]
    assert endpoint["api_version"] == OLDER
    assert not any(each["complete"] for each in status()["mirror"].values())
    assert status()["syncStatus"] == "syncing"


@pytest.mark.parametrize("again", [{}, {"apiVersion": OLDER}], ids=["not named", "the same"])
def test_connecting_again_keeps_the_version_and_what_was_read(connect, status, owner, database, again):
    assert connect(apiVersion=OLDER).status_code == 200
    finish_backfill(database, owner.team_id)

    assert connect(**again).status_code == 200

    assert status()["apiVersion"] == OLDER
    assert all(each["complete"] for each in status()["mirror"].values())


def test_a_first_connect_starts_nothing(connect, status):
    assert connect(apiVersion=OLDER).status_code == 200

    assert status()["syncStatus"] == "pending"


@pytest.mark.parametrize("version", ["2016-12-31", "2099-01-01", "latest", "2023-10-16.", "", 5, None])
def test_a_version_that_our_tables_cannot_read_is_refused(connect, version):
    answer = connect(apiVersion=version)

    assert answer.status_code == 400
    assert "apiVersion" in answer.json["error"]


def test_a_version_that_stripe_does_not_know_is_told_as_that_and_not_as_a_bad_key(connect, status):
    answer = connect(apiVersion="2023-19-99")

    assert (answer.status_code, answer.json["code"]) == (400, "invalid_api_version")
    assert "2023-19-99" in answer.json["error"]
    assert not status()["connected"]
