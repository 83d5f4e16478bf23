"""Nothing that is recorded is left lying: events, sweeps, comparisons, old ledger rows; however many schedulers look."""

from dataclasses import replace

import pytest
from psycopg import sql
from rq import Queue

from sync.database.schema import schema_name
from sync.events.applying import record_event
from sync.events.ledger import Ledger
from sync.teams.connections import SWEEP_EVERY_S, SWEEP_RARELY_S, Connections
from tests.factories import ACCOUNT_ID, NOW, customer, encoded, event
from workers.context import open_context
from workers.jobs import backfill as jobs
from workers.jobs.reconcile import start_reconcile
from workers.queues import BACKFILLS, COMPARISONS, EVENTS, QUEUES, SWEEPS, wake_events, wake_mark
from workers.scheduler import run_once


@pytest.fixture
def record(database, team_id):
    """Puts an event into the ledger, as if it had lain there for a while."""

    def put(about=None, *, ago_s: int = 60, **fields) -> str:
        made = event(about or customer(), **fields)
        record_event(Ledger(database, team_id), encoded(made), delivered=True)
        database.execute(
            "UPDATE billstack.events SET received_at = now() - %s * interval '1 s', next_attempt_at = received_at"
            " WHERE id = %s",
            (ago_s, made["id"]),
        )
        database.execute("UPDATE billstack.events SET next_attempt_at = received_at WHERE id = %s", (made["id"],))
        return str(made["id"])

    return put


def states(database) -> dict[str, str]:
    return dict(database.execute("SELECT id, state FROM billstack.events").fetchall())


def mirrored_email(database, team_id: str, customer_id: str) -> str | None:
    table = sql.Identifier(schema_name(team_id), "customers")
    row = database.execute(sql.SQL("SELECT email FROM {} WHERE id = %s").format(table), (customer_id,)).fetchone()
    return row[0] if row else None


def queued(context, name: str = EVENTS) -> list[str]:
    return [job.func_name.rpartition(".")[2] for job in Queue(name, connection=context.redis).jobs]


# Events ---------------------------------------------------------------------------------------------------------------


def test_events_left_lying_are_woken_and_applied(context, database, record, work):
    event_id = record()

    assert run_once(context)["waiting"] == 1
    work()

    assert states(database) == {event_id: "applied"}


def test_events_that_have_just_come_are_left_to_whoever_brought_them(context, record):
    record(ago_s=0)

    assert run_once(context)["waiting"] == 0


def test_several_schedulers_wake_one_job(context, record):
    record()

    for _ in range(3):
        run_once(context)

    assert queued(context).count("apply_events") == 1


def test_a_job_that_redis_lost_is_woken_again(context, database, record, work, team_id):
    event_id = record()
    wake_events(context, team_id)
    context.redis.flushdb()

    run_once(context)
    work()

    assert states(database) == {event_id: "applied"}


def test_a_mark_whose_job_was_never_enqueued_runs_out(context, team_id):
    wake_events(context, team_id)

    assert 0 < context.redis.ttl(wake_mark(team_id)) <= 30


def test_a_failed_event_is_woken_when_it_is_due_and_not_before(context, database, record, work, stripe):
    stripe.call("PUT", "faults", faults=[{"kind": "500", "share": 1.0, "path": "/v1/customers"}])
    event_id = record(api_version="2019-01-01")
    run_once(context)
    work()
    assert states(database) == {event_id: "failed"}
    database.execute("UPDATE billstack.events SET next_attempt_at = now() + interval '1 minute'")
    assert run_once(context)["waiting"] == 0

    stripe.call("DELETE", "faults")
    database.execute("UPDATE billstack.events SET next_attempt_at = now() - interval '5 s'")
    run_once(context)
    work()

    assert states(database) == {event_id: "applied"}


def test_failures_back_off(database, record, team_id):
    record()
    ledger, waits = Ledger(database, team_id), []
    for _ in range(4):
        database.execute("UPDATE billstack.events SET next_attempt_at = now()")
        (claimed,) = ledger.claim(10)
        ledger.postpone([claimed.id], "no")
        (wait_s,) = database.execute(
            "SELECT extract(epoch FROM next_attempt_at - now()) FROM billstack.events"
        ).fetchone()
        waits.append(round(wait_s))

    assert waits == [2, 4, 8, 16]
    database.execute("UPDATE billstack.events SET attempts = 100")
    ledger.postpone([claimed.id], "no")
    (wait_s,) = database.execute("SELECT extract(epoch FROM next_attempt_at - now()) FROM billstack.events").fetchone()
    assert round(wait_s) == 3600


def test_a_disconnected_teams_events_wait(context, database, record, team_id):
    record()
    Connections(database, context.box).forget_keys(team_id)

    assert set(run_once(context).values()) == {0}


# Sweeps ---------------------------------------------------------------------------------------------------------------


def test_what_was_not_delivered_is_read_and_applied(context, database, stripe, team_id, work):
    account = stripe.sandbox.tenant("demo").account
    made = account.create("customer", email="new@example.com")

    assert run_once(context)["sweeps"] == 1
    work(SWEEPS)
    work()

    assert mirrored_email(database, team_id, made["id"]) == "new@example.com"
    (last_event_at,) = database.execute("SELECT last_event_at FROM billstack.connections").fetchone()
    assert int(last_event_at.timestamp()) == account.events()[-1]["created"]


def test_what_is_due_goes_in_once_however_long_it_waits(context, team_id, new_team):
    new_team()

    assert [run_once(context)["sweeps"] for _ in range(3)] == [1, 0, 0]

    assert queued(context, SWEEPS) == ["sweep_due"]
    assert queued(context) == []


def test_one_job_sweeps_all_teams_that_are_due(context, database, stripe, team_id, new_team, work):
    others = [new_team() for _ in range(5)]
    made = stripe.sandbox.tenant("demo").account.create("customer", email="new@example.com")

    run_once(context)
    work(SWEEPS)
    work()

    assert {mirrored_email(database, each, made["id"]) for each in (team_id, *others)} == {"new@example.com"}


def test_a_team_is_swept_about_every_five_minutes_and_rarely_where_its_webhook_delivers(context, database, team_id):
    def due_in_s() -> float:
        database.execute("UPDATE billstack.connections SET sweep_due_at = now()")
        assert Connections(database, context.box).claim_sweeps(5) == [team_id]
        (waits,) = database.execute(
            "SELECT extract(epoch FROM sweep_due_at - now())::float8 FROM billstack.connections"
        ).fetchone()
        return float(waits)

    often = [due_in_s() for _ in range(20)]
    assert all(0.74 * SWEEP_EVERY_S < wait < 1.26 * SWEEP_EVERY_S for wait in often)
    assert len({round(wait) for wait in often}) > 5, "spread, so that teams do not come together"

    Ledger(database, team_id).touch_connection(NOW, "2019-01-01", delivered=True)
    assert due_in_s() > 0.74 * SWEEP_RARELY_S

    Connections(database, context.box).webhook_missed(team_id)
    assert due_in_s() < 1.26 * SWEEP_EVERY_S


def test_sweeps_and_comparisons_wait_behind_what_people_wait_for():
    assert QUEUES == {BACKFILLS: (BACKFILLS, COMPARISONS), EVENTS: (EVENTS, SWEEPS)}


def test_a_comparison_gives_way_as_soon_as_a_backfill_waits(context):
    turn = jobs.turn(context, while_others_wait_s=0.0)
    turn._looked -= 10
    assert not turn.is_over()

    Queue(BACKFILLS, connection=context.redis).enqueue("builtins.int")
    turn._looked -= 10

    assert turn.is_over()
    assert not turn.is_stopping()


def test_a_team_without_a_finished_backfill_is_not_swept(context, database, team_id):
    database.execute(
        "UPDATE billstack.backfills SET state = 'running', finished_at = NULL WHERE team_id = %s", (team_id,)
    )

    assert run_once(context)["sweeps"] == 0


# Comparisons ----------------------------------------------------------------------------------------------------------


def test_a_day_after_the_last_backfill_a_mirror_is_compared(context, database, team_id, work):
    database.execute("UPDATE billstack.backfills SET finished_at = now() - interval '25 hours'")

    run_once(context)
    assert queued(context, COMPARISONS) == ["work_on_reconcile"]
    work(COMPARISONS)

    (state, found) = database.execute("SELECT state, found FROM billstack.reconciles").fetchone()
    assert state == "done"
    assert found["customer"]["missing"]["count"] == 2  # this fixture's backfill mirrored nothing
    assert run_once(context)["due"] == 0
    assert team_id


def test_a_comparison_whose_job_was_lost_is_enqueued_again_once(context, team_id):
    start_reconcile(context, team_id, None)
    context.redis.flushdb()

    assert [run_once(context)["reconciles"] for _ in range(3)] == [1, 0, 0]


# The ledger -----------------------------------------------------------------------------------------------------------


def test_events_of_more_than_30_days_are_deleted(context, database, record):
    record(ago_s=31 * 86_400)
    kept = record(ago_s=29 * 86_400)

    assert run_once(context)["pruned"] == 1

    assert set(states(database)) == {kept}


def test_redis_away_keeps_no_other_step_from_being_taken(context, record):
    record(ago_s=31 * 86_400)
    away = open_context(replace(context.settings, redis_url="redis://127.0.0.1:1"))

    assert run_once(away)["pruned"] == 1

    away.close()


# Applying -------------------------------------------------------------------------------------------------------------


def test_events_of_another_account_or_mode_are_refused_and_told(context, database, record, work):
    foreign, live = record(account=ACCOUNT_ID), record(livemode=True)

    run_once(context)
    work()

    assert states(database) == {foreign: "refused", live: "refused"}


def test_the_api_version_of_deliveries_is_told_in_the_status(context, database, record, work, team_id):
    record(customer("cus_nobody"), api_version="2019-01-01", created=NOW)

    run_once(context)
    work()

    row = Connections(database, context.box).status(team_id)
    assert row["delivered_version"] == "2019-01-01"
