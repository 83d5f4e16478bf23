"""Deliveries of Stripe's: what is taken in, what is refused, and that nothing is answered 200 before it is durable."""

import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from api.http.context import EXTENSION
from scripts.sandbox.courier import signature
from sync.ids import new_id
from sync.teams.connections import Connections
from sync.teams.secrets import SecretBox
from tests.api.webhooks.conftest import SECRET, paste_secret
from tests.factories import Json, customer, encoded, event
from workers.queues import EVENTS, wake_mark

OLDER_SECRET = "whsec_" + "o" * 32
OWN_SECRET = "whsec_" + "e" * 32


@pytest.fixture
def deliver(client, team_id):
    """Posts an event as Stripe does."""

    def post(body: bytes, *, secret: str = SECRET, at: float = 0, header: str | None = None, to: str = team_id):
        given = signature(body, secret, int(time.time() + at)) if header is None else header
        headers = {"Stripe-Signature": given} if given else {}
        return client.post(
            f"/api/webhooks/stripe/{to}", data=body, headers=headers, content_type="application/json; charset=utf-8"
        )

    return post


def an_event(**fields) -> bytes:
    return encoded(event(customer(), **fields))


def wait_until(condition: Callable[[], object]) -> None:
    """The wake-up is told to Redis from a thread, after the answer."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def ledger_rows(database: psycopg.Connection) -> list[tuple]:
    return database.execute(
        "SELECT team_id, id, type, created, state, body, delivered FROM billstack.events"
    ).fetchall()


# Taken in -------------------------------------------------------------------------------------------------------------


def test_a_signed_event_is_recorded_as_it_came(deliver, database, team_id):
    body = an_event(id="evt_1", created=1_767_225_600) + b"\n"  # not our way to write JSON: the bytes are what counts

    answer = deliver(body)

    assert (answer.status_code, answer.json) == (200, {"received": True})
    assert ledger_rows(database) == [
        (team_id, "evt_1", "customer.updated", 1_767_225_600, "pending", body.decode(), True)
    ]


def test_one_apply_job_is_woken_for_many_events(deliver, app, team_id):
    for _ in range(5):
        assert deliver(an_event()).status_code == 200

    redis = app.extensions[EXTENSION].redis
    wait_until(lambda: redis.llen(f"rq:queue:{EVENTS}"))
    assert redis.llen(f"rq:queue:{EVENTS}") == 1
    assert redis.exists(wake_mark(team_id))


def test_a_duplicate_is_200_and_does_nothing_again(deliver, database, app, team_id):
    redis, body = app.extensions[EXTENSION].redis, an_event(id="evt_1")
    deliver(body)
    wait_until(lambda: redis.llen(f"rq:queue:{EVENTS}"))
    database.execute("UPDATE billstack.events SET state = 'applied'")
    redis.flushdb()

    answer = deliver(body)

    assert (answer.status_code, answer.json) == (200, {"received": True})
    assert [row[4] for row in ledger_rows(database)] == ["applied"]
    assert not redis.exists(wake_mark(team_id))


def test_the_same_event_of_two_teams_is_each_ones_own(deliver, database, settings, team_id):
    other = new_id("team")
    database.execute("INSERT INTO billstack.teams (id, name) VALUES (%s, 'Other')", (other,))
    paste_secret(database, settings, other, SECRET)

    assert {deliver(an_event(id="evt_1"), to=to).status_code for to in (team_id, other)} == {200}

    assert {row[0] for row in ledger_rows(database)} == {team_id, other}


@pytest.mark.parametrize(
    "about",
    [
        {"object": "payment_intent", "id": "pi_1"},  # not mirrored
        {"object": "invoice"},  # invoice.upcoming is a preview without an id
    ],
)
def test_what_will_be_skipped_is_recorded_too(deliver, database, about: Json):
    assert deliver(encoded(event(about))).status_code == 200

    assert len(ledger_rows(database)) == 1


def test_a_thin_event_is_recorded_by_its_second(deliver, database):
    thin = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v1.customer.updated",
        "created": "2026-01-01T00:00:00.250Z",
        "related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"},
    }

    assert deliver(encoded(thin)).status_code == 200

    assert [row[3] for row in ledger_rows(database)] == [1_767_225_600]


def test_a_body_of_several_hundred_kilobytes_is_taken(deliver):
    assert deliver(an_event(padding="x" * 500_000)).status_code == 200


# Signatures -----------------------------------------------------------------------------------------------------------


def test_any_of_several_signatures_will_do(deliver):
    """Stripe sends one for each secret while one is rolled."""
    body, now = an_event(), int(time.time())
    good = signature(body, SECRET, now).partition("v1=")[2]

    assert deliver(body, header=f"t={now},v1={'0' * 64},v1={good},v0=abc").status_code == 200


def test_the_secret_before_is_valid_beside_the_new_one_for_a_day(deliver, database, settings, team_id):
    paste_secret(database, settings, team_id, OLDER_SECRET)
    paste_secret(database, settings, team_id, SECRET)

    assert deliver(an_event(), secret=OLDER_SECRET).status_code == 200
    assert deliver(an_event(), secret=SECRET).status_code == 200

    database.execute("UPDATE billstack.connections SET previous_secret_until = now() - interval '1 second'")
    wait_until(lambda: deliver(an_event(), secret=OLDER_SECRET).status_code == 400)
    assert deliver(an_event(), secret=OLDER_SECRET).status_code == 400
    assert deliver(an_event(), secret=SECRET).status_code == 200


def test_a_new_secret_is_valid_at_once(deliver, database, settings, team_id):
    deliver(an_event())

    paste_secret(database, settings, team_id, OLDER_SECRET)

    assert deliver(an_event(), secret=OLDER_SECRET).status_code == 200


def test_connecting_without_a_secret_leaves_the_secrets_as_they_were(deliver, database, settings, team_id):
    paste_secret(database, settings, team_id, None)

    assert deliver(an_event(), secret=SECRET).status_code == 200


def test_the_secret_of_our_own_endpoint_is_valid_beside_a_pasted_one(deliver, database, settings, team_id):
    connections = Connections(database, SecretBox(settings.secret_keys))
    assert connections.set_endpoint(connections.connected(team_id), "we_1", OWN_SECRET)

    assert deliver(an_event(), secret=OWN_SECRET).status_code == 200
    assert deliver(an_event(), secret=SECRET).status_code == 200


@pytest.mark.parametrize("at", [-301, 310])
def test_a_signature_of_another_time_is_refused(deliver, database, at):
    answer = deliver(an_event(), at=at)

    assert (answer.status_code, answer.json["code"]) == (400, "bad_signature")
    assert ledger_rows(database) == []


def test_a_signature_within_the_tolerance_is_taken(deliver):
    assert deliver(an_event(), at=-295).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        "t=,v1=",
        "t=soon,v1=00",
        "t=1,t=2,v1=00",
        "v1=00",
        "t=1767225600",
        "t=1767225600,v0=00",
        "t=" + "9" * 400 + ",v1=00",
        "t=\N{SUPERSCRIPT TWO},v1=\xe9",
    ],
)
def test_a_malformed_signature_is_400(deliver, database, header):
    answer = deliver(an_event(), header=header)

    assert (answer.status_code, answer.json["code"]) == (400, "bad_signature")
    assert ledger_rows(database) == []


def test_a_signature_is_of_the_bytes_and_not_of_what_they_mean(deliver):
    body = an_event()
    header = signature(json.dumps(json.loads(body)).encode(), SECRET, int(time.time()))

    assert deliver(body, header=header).status_code == 400


def test_another_teams_secret_opens_nothing(deliver, database, settings):
    stranger = new_id("team")
    database.execute("INSERT INTO billstack.teams (id, name) VALUES (%s, 'Other')", (stranger,))
    paste_secret(database, settings, stranger, OLDER_SECRET)

    assert deliver(an_event(), secret=OLDER_SECRET).status_code == 400
    assert ledger_rows(database) == []


def test_a_disconnected_team_takes_nothing(deliver, database, settings, team_id):
    Connections(database, SecretBox(settings.secret_keys)).forget_keys(team_id)

    assert deliver(an_event()).status_code == 400


# Refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["team_nobody", "proj_x", "team_" + "x" * 200, "team_a%00b", "TEAM_A"])
def test_an_unknown_team_is_404(deliver, to):
    assert deliver(an_event(), to=to).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"no JSON",
        b'{"id": "evt_1", "type": "x"}',
        b'{"id": 1, "type": "x", "created": 1}',
        b'{"id": "evt_1", "type": "x", "created": "yesterday"}',
        b'{"id": "evt_1", "type": "x", "created": 1} trailing',
        b'{"id": "evt_1", "type": "x", "created": 99999999999999999999}',
        b'{"id": "evt_\\u0000", "type": "x", "created": 1}',
        b'{"id": "evt_1", "type": "\xff", "created": 1}',
        b'{"id": "evt_1", "type": "x", "created": 1, "data": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_a_malformed_body_is_400_however_well_signed(deliver, database, body):
    answer = deliver(body)

    assert (answer.status_code, answer.json["code"]) == (400, "malformed_event")
    assert ledger_rows(database) == []


def test_a_body_that_is_too_large_is_413(deliver, database):
    assert deliver(an_event(padding="x" * 1_100_000)).status_code == 413
    assert ledger_rows(database) == []


# Servers away ---------------------------------------------------------------------------------------------------------


def test_redis_away_is_200_for_the_event_is_durable(new_app, settings, deliver, database, team_id):
    away = new_app(replace(settings, redis_url="redis://127.0.0.1:1")).test_client()
    body = an_event()

    answer = away.post(
        f"/api/webhooks/stripe/{team_id}",
        data=body,
        headers={"Stripe-Signature": signature(body, SECRET, int(time.time()))},
    )

    assert answer.status_code == 200
    assert [row[4] for row in ledger_rows(database)] == ["pending"]


def test_a_redis_that_hangs_holds_up_no_answer(new_app, settings, deliver, team_id):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        away = new_app(replace(settings, redis_url=f"redis://127.0.0.1:{port}")).test_client()
        body, began = an_event(), time.monotonic()

        answer = away.post(
            f"/api/webhooks/stripe/{team_id}",
            data=body,
            headers={"Stripe-Signature": signature(body, SECRET, int(time.time()))},
        )

        assert answer.status_code == 200
        assert time.monotonic() - began < 4


def test_postgres_away_is_503_so_that_stripe_delivers_again(new_app, settings, team_id):
    away = new_app(replace(settings, database_url="postgresql://postgres@127.0.0.1:1/nowhere")).test_client()
    body = an_event()

    answer = away.post(
        f"/api/webhooks/stripe/{team_id}",
        data=body,
        headers={"Stripe-Signature": signature(body, SECRET, int(time.time()))},
    )

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_a_postgres_that_takes_no_writes_is_503(deliver, database):
    (name,) = database.execute("SELECT current_database()").fetchone()
    database.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert deliver(an_event()).status_code == 503
    finally:
        database.execute("SET default_transaction_read_only = off")
        database.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_neither_secrets_nor_bodies_are_in_a_log_line(deliver, log_lines):
    deliver(an_event())
    deliver(an_event(), secret=OLDER_SECRET)

    lines = str(log_lines())
    assert "ada@example.com" not in lines
    assert SECRET not in lines
    assert OLDER_SECRET not in lines
