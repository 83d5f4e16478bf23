"""Deliveries are taken in ahead of Flask, and nobody can tell."""

import io
import time

import psycopg
import pytest

from api.http.context import EXTENSION
from api.webhooks import intake
from api.webhooks.intake import INTAKE
from scripts.sandbox.courier import signature
from tests.api.webhooks.conftest import SECRET
from tests.factories import customer, encoded, event

VARYING = {"X-Request-Id"}


@pytest.fixture
def deliver(client, team_id):
    def post(body: bytes | None = None, *, secret: str = SECRET, to: str = team_id, **options):
        body = encoded(event(customer())) if body is None else body
        headers = {"Stripe-Signature": signature(body, secret, int(time.time()))} | options.pop("headers", {})
        return client.post(f"/api/webhooks/stripe/{to}", **({"data": body, "headers": headers} | options))

    return post


def recorded(database) -> int:
    return database.execute("SELECT count(*) FROM billstack.events").fetchone()[0]


def test_body_and_headers_are_those_of_flasks_answer(deliver, client, database, flask_was_asked):
    lean = deliver()
    assert flask_was_asked == []

    client.set_cookie("anything", "x")
    through_flask = deliver()

    assert len(flask_was_asked) == 1
    assert recorded(database) == 2
    assert (
        (lean.status_code, lean.data)
        == (through_flask.status_code, through_flask.data)
        == (200, b'{"received":true}\n')
    )
    assert set(lean.headers.keys()) == set(through_flask.headers.keys())
    assert {name: value for name, value in lean.headers.items() if name not in VARYING} == {
        name: value for name, value in through_flask.headers.items() if name not in VARYING
    }


def test_its_log_line_is_that_of_flasks_answer(deliver, client, log_lines):
    deliver(headers={"X-Request-Id": "given-1"})
    client.set_cookie("anything", "x")
    deliver(headers={"X-Request-Id": "given-1"})

    lean, through_flask = (line for line in log_lines() if line["event"] == "request.answered")
    assert {**lean, "duration_ms": 0, "timestamp": ""} == {**through_flask, "duration_ms": 0, "timestamp": ""}
    assert (lean["method"], lean["status"], lean["request_id"]) == ("POST", 200, "given-1")


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"secret": "whsec_other"}, 400, "bad_signature"),
        ({"body": b'{"id": "evt_1"}'}, 400, "malformed_event"),
        ({"body": b"{"}, 400, "malformed_event"),
        ({"to": "team_unknown"}, 404, "not_found"),
        ({"headers": {"Stripe-Signature": ""}}, 400, "bad_signature"),
    ],
    ids=["signature", "no event", "no JSON", "team", "unsigned"],
)
def test_a_refusal_is_flasks_and_is_judged_once(
    deliver, app, database, flask_was_asked, monkeypatch, changed, status, code
):
    takes_in, judged = app.extensions[INTAKE], []
    real = takes_in.take
    monkeypatch.setattr(takes_in, "take", lambda *given, **named: judged.append(1) or real(*given, **named))

    answer = deliver(**changed)

    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert (len(flask_was_asked), len(judged)) == (1, 1)
    assert recorded(database) == 0


def test_what_cannot_be_recorded_is_503(deliver, app, monkeypatch):
    def away(*_args, **_options):
        raise psycopg.OperationalError

    deliver()  # the secrets are known
    monkeypatch.setattr(app.extensions[EXTENSION].pool, "connection", away)

    answer = deliver()

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_a_ledger_that_cannot_be_written_for_long_is_503_and_holds_no_thread(
    deliver, database_url, database, monkeypatch
):
    deliver()
    monkeypatch.setattr(intake, "_PATIENCE_S", 0.3)
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE billstack.events IN ACCESS EXCLUSIVE MODE")
        answer = deliver()

    assert (answer.status_code, answer.json["code"]) == (503, "not_recorded")
    monkeypatch.undo()
    assert deliver().status_code == 200
    assert recorded(database) == 3, "it was recorded later, and Stripe's repetition would be known"


def test_without_a_thread_for_the_waker_deliveries_are_answered_all_the_same(deliver, app, database, monkeypatch):
    def no_thread(*_args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(app.extensions[INTAKE]._waker, "wake", no_thread)

    assert [deliver().status_code for _ in range(3)] == [200] * 3
    assert recorded(database) == 3


@pytest.mark.parametrize("length", ["", "0", "-5", "1e3", "99999999999", str(2 * 1024 * 1024)])
def test_an_odd_length_is_flasks_business(deliver, database, flask_was_asked, length):
    answer = deliver(environ_overrides={"CONTENT_LENGTH": length})

    assert answer.status_code in (400, 413)
    assert len(flask_was_asked) == 1
    assert recorded(database) == 0


def test_half_a_body_is_not_recorded(deliver, database):
    body = encoded(event(customer()))

    answer = deliver(body, data=None, input_stream=io.BytesIO(body[:40]), content_length=len(body))

    assert answer.status_code == 400
    assert recorded(database) == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_reach_flask(client, team_id, flask_was_asked, method):
    assert client.open(f"/api/webhooks/stripe/{team_id}", method=method).status_code == 405
    assert len(flask_was_asked) == 1
