"""Every error has one shape, and none gives anything away."""

from dataclasses import replace

import psycopg
import pytest
import redis

from api.http.access import Access, allow
from api.http.errors import STATUS, status_of
from sync import errors

NOBODY_LISTENS = "127.0.0.1:1"


@pytest.fixture
def raising(app, monkeypatch):
    """Makes the next request of a client end in an error."""

    def answer_to(error):
        @allow(Access.ANYONE)
        def view():
            raise error

        monkeypatch.setitem(app.view_functions, "health.healthz", view)
        return app.test_client().get("/healthz")

    return answer_to


def all_errors(kind=errors.BillStackError):
    for child in kind.__subclasses__():
        yield child
        yield from all_errors(child)


@pytest.mark.parametrize("kind", list(all_errors()), ids=lambda kind: kind.__name__)
def test_every_error_of_ours_has_a_status(kind):
    assert any(parent in STATUS for parent in kind.__mro__)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.BadRequest("no"), 400, "bad_request"),
        (errors.BadRequest("no", code="invalid_stripe_key"), 400, "invalid_stripe_key"),
        (errors.Unauthorized("no"), 401, "unauthorized"),
        (errors.Forbidden("no"), 403, "forbidden"),
        (errors.NotFound("no"), 404, "not_found"),
        (errors.Conflict("no", code="not_connected"), 409, "not_connected"),
        (errors.TooLarge("no"), 413, "too_large"),
        (errors.TooManyRequests("no", retry_after_s=1), 429, "too_many_requests"),
        (errors.StripeUnavailable("no"), 502, "stripe_unavailable"),
        (errors.StripeRateLimited("no"), 502, "stripe_rate_limited"),
        (errors.StripeRejected("no"), 502, "stripe_rejected"),
        (errors.SchemaError("no"), 503, "schema_error"),
        (errors.ConfigError("no"), 500, "config_error"),
        (errors.BillStackError("no"), 500, "internal_error"),
    ],
)
def test_our_errors_answer_as_the_contract_says(raising, error, status, code):
    answer = raising(error)

    assert answer.status_code == status == status_of(error)
    assert (answer.json["error"], answer.json["code"]) == ("no", code)


def test_what_stripe_said_is_in_the_details(raising):
    error = errors.StripeRejected("No such customer", status=404, stripe_code="resource_missing", request_id="req_1")

    answer = raising(error)

    assert answer.status_code == 502
    assert answer.json["details"] == {
        "status": 404,
        "stripeCode": "resource_missing",
        "stripeMessage": "No such customer",
        "requestId": "req_1",
    }


def test_conflicts_carry_their_details(raising):
    answer = raising(errors.Conflict("one runs", code="backfill_in_progress", details={"backfillId": "bf_1"}))

    assert answer.status_code == 409
    assert answer.json["details"] == {"backfillId": "bf_1"}


def test_slow_down_says_how_long(raising):
    answer = raising(errors.TooManyRequests("slow down", retry_after_s=1.2))

    assert answer.headers["Retry-After"] == "2"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (psycopg.OperationalError("connection refused"), "postgres_unavailable"),
        (psycopg.errors.AdminShutdown("terminating connection"), "postgres_unavailable"),
        (psycopg.errors.UndefinedTable("no billstack.users"), "schema_error"),
        (redis.exceptions.ConnectionError("refused"), "redis_unavailable"),
        (redis.exceptions.TimeoutError("too slow"), "redis_unavailable"),
        (redis.exceptions.BusyLoadingError("loading"), "redis_unavailable"),
    ],
)
def test_a_store_that_is_away_is_503_and_says_when_to_come_back(raising, error, code):
    answer = raising(error)

    assert answer.status_code == 503
    assert answer.json["code"] == code
    assert answer.headers["Retry-After"] == "5"
    assert str(error) not in answer.text


def test_a_crash_tells_the_request_id_and_nothing_else(raising):
    answer = raising(RuntimeError("the password is hunter2"))

    assert answer.status_code == 500
    assert answer.json["code"] == "internal_error"
    assert answer.headers["X-Request-Id"] in answer.json["error"]
    assert "hunter2" not in answer.text


def test_a_crash_is_logged_with_its_traceback(raising, log_lines):
    raising(RuntimeError("broken pipe organ"))

    (line,) = [line for line in log_lines() if line["event"] == "request.crashed"]
    assert "RuntimeError: broken pipe organ" in line["exception"]


@pytest.mark.parametrize("key", ["sk_test_51HxyzABC", "rk_live_abcDEF123", "whsec_abc+/=123", f"bs_{'0a' * 24}"])
def test_no_key_comes_back_in_an_error(raising, key):
    answer = raising(errors.BadRequest(f"Invalid API Key provided: {key}"))

    assert key not in answer.text


def test_postgres_away_is_503(new_app, settings):
    client = new_app(replace(settings, database_url=f"postgresql://{NOBODY_LISTENS}/none")).test_client()

    answer = client.post("/api/auth/sign-in", json={"email": "a@b", "password": "p"})

    assert answer.status_code == 503
    assert answer.json["code"] == "postgres_unavailable"
    assert answer.headers["Retry-After"]


def test_a_deadlock_is_not_told_as_an_absence(raising):
    answer = raising(psycopg.errors.DeadlockDetected("deadlock detected"))

    assert answer.status_code == 503
    assert answer.json["code"] == "in_the_way"
    assert answer.headers["Retry-After"]


def test_the_app_recovers_when_postgres_comes_back(owner, database):
    """Every open connection dies, as in a restart; the next request opens another."""
    database.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    assert owner.client.get("/api/auth/session").status_code == 200


def test_a_database_that_is_not_set_up_is_503_and_says_what_to_run(new_app, settings, postgres_server):
    client = new_app(replace(settings, database_url=postgres_server.url)).test_client()

    answer = client.post("/api/auth/sign-in", json={"email": "a@b", "password": "p"})

    assert answer.status_code == 503
    assert "init-db" in answer.json["error"]


def test_an_unknown_address_is_404(client):
    answer = client.get("/api/nothing")

    assert answer.status_code == 404
    assert answer.json == {"error": "there is nothing at this address", "code": "not_found"}


def test_another_method_is_405_and_names_the_right_ones(client):
    answer = client.put("/healthz")

    assert answer.status_code == 405
    assert answer.json["code"] == "method_not_allowed"
    assert answer.json["error"] == "this address answers only GET, HEAD, OPTIONS"
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_a_large_body_is_413(client):
    answer = client.post("/api/auth/sign-in", json={"email": "a@b", "password": "p" * 2_000_000})

    assert answer.status_code == 413
    assert answer.json["code"] == "too_large"
