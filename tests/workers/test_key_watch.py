"""The connection's `key_valid` follows what Stripe says of its key to any job, and of no other key."""

import pytest

from api.account.backfills import start_backfill
from api.account.status import read_status
from sync.errors import StripeRejected
from sync.events.applying import record_event
from sync.events.ledger import Ledger
from sync.teams.connections import Connections
from tests.factories import customer, encoded, event
from workers.jobs.reconcile import start_reconcile
from workers.key_watch import KeyWatch
from workers.queues import BACKFILLS, COMPARISONS, EVENTS, SWEEPS, wake_events
from workers.redis.meter import KEY, REQUESTS
from workers.scheduler import run_once
from workers.stripe_account import open_source

REVOKED = "sk_test_revoked"


@pytest.fixture
def connect(context, database, team_id):
    def put(secret_key: str):
        """As a person does who connects the team again."""
        connections = Connections(database, context.box)
        known = connections.get(team_id)
        connections.put(
            team_id,
            account_id=known.account_id,
            account_name=None,
            livemode=False,
            secret_key=secret_key,
            publishable_key=None,
            webhook_secret=None,
        )
        return connections.get(team_id)

    return put


@pytest.fixture
def is_valid(context, team_id):
    return lambda: read_status(context, team_id)["keyValid"]


def _backfill(context, database, team_id):
    start_backfill(context, team_id, ["customer"], None, None)
    return BACKFILLS


def _events(context, database, team_id):
    record_event(Ledger(database, team_id), encoded(event(customer(), api_version="2019-01-01")), delivered=True)
    wake_events(context, team_id)
    return EVENTS


def _sweep(context, database, team_id):
    run_once(context)
    return SWEEPS


def _reconcile(context, database, team_id):
    start_reconcile(context, team_id, None)
    return COMPARISONS


@pytest.mark.parametrize("begin", [_backfill, _events, _sweep, _reconcile])
def test_a_401_met_by_any_job_is_shown_with_what_to_do(context, database, team_id, connect, is_valid, work, begin):
    connect(REVOKED)
    assert is_valid()

    work(begin(context, database, team_id))

    status = read_status(context, team_id)
    assert (status["keyValid"], status["isActive"]) == (False, False)
    assert [each for each in status["warnings"] if "connect again" in each]


def test_a_key_that_works_again_is_valid_again(context, database, team_id, connect, is_valid, stripe, work):
    connect("sk_test_unknown")
    work(_sweep(context, database, team_id))
    assert not is_valid()
    stripe.add_account("unknown", counts={})

    database.execute("UPDATE billstack.connections SET sweep_due_at = now()")
    work(_sweep(context, database, team_id))

    assert is_valid()
    assert read_status(context, team_id)["warnings"] == []


def refusals(context) -> int:
    """Requests that Stripe answered with 401."""
    counted = context.redis.hgetall(KEY + REQUESTS)
    return sum(int(float(count)) for labels, count in counted.items() if b'"401"' in labels)


def test_after_a_401_events_ask_for_nothing_until_the_key_is_taken_again(
    context, database, team_id, connect, is_valid, stripe, work
):
    """Each event of another API version costs a read; 48 of them made 86 requests in 20 seconds."""
    connect("sk_test_later")
    ledger = Ledger(database, team_id)
    for number in range(12):
        for each in range(4):
            about = customer(f"cus_{number}_{each}")
            record_event(ledger, encoded(event(about, api_version="2019-01-01")), delivered=True)
        wake_events(context, team_id)
        work(EVENTS)
        database.execute("UPDATE billstack.events SET next_attempt_at = now()")
    assert not is_valid()
    assert 1 <= refusals(context) <= 4, "one for each that was under way"

    stripe.add_account("later", counts={})
    database.execute("UPDATE billstack.connections SET sweep_due_at = now()")
    work(_sweep(context, database, team_id))
    wake_events(context, team_id)
    work(EVENTS)

    assert is_valid()
    assert database.execute("SELECT DISTINCT state FROM billstack.events").fetchall() == [("applied",)]


def test_what_failed_because_of_the_key_is_applied_as_soon_as_the_key_works(
    context, database, team_id, connect, stripe, work
):
    connect("sk_test_soon")
    work(_events(context, database, team_id))
    assert database.execute("SELECT state FROM billstack.events").fetchall() == [("failed",)]

    stripe.add_account("soon", counts={})
    work(_sweep(context, database, team_id))
    work(EVENTS)

    assert database.execute("SELECT state FROM billstack.events").fetchall() == [("applied",)]


def test_a_new_key_is_valid(context, database, team_id, connect, is_valid, work):
    connect(REVOKED)
    work(_sweep(context, database, team_id))

    connect("sk_test_demo")

    assert is_valid()


def test_a_late_answer_to_an_old_key_says_nothing_of_the_new_one(context, connect, is_valid):
    old = open_source(context, connect(REVOKED))
    connect("sk_test_demo")

    with pytest.raises(StripeRejected):
        old.account()

    assert is_valid()


def test_an_answer_that_was_under_way_when_another_request_was_refused_makes_no_key_valid(context, connect, is_valid):
    heard = KeyWatch(context, connect("sk_test_demo"))

    heard.answered(401)
    heard.answered(200)

    assert not is_valid()


@pytest.mark.parametrize("status", [200, 403, 404, 429, 500, None])
def test_no_other_answer_costs_a_statement(context, connect, status):
    heard = KeyWatch(context, connect("sk_test_demo"))
    context.pool.close()

    heard.answered(status)


def test_a_refusal_while_postgres_is_away_stays_what_it_is(context, connect):
    source = open_source(context, connect(REVOKED))
    context.pool.close()

    with pytest.raises(StripeRejected):
        source.account()
