"""A job applies one team's events and, beside them, those of waiting teams; each keeps its own request and failure."""

from collections.abc import Callable

import pytest
from rq import Queue

from sync.events.ledger import Ledger
from tests.factories import NOW, Json, customer, encoded, event
from workers.jobs import events
from workers.queues import EVENTS, take_waiting_events, wake_events, wake_mark
from workers.worker import go_on


@pytest.fixture
def teams(new_team: Callable[[], str]) -> list[str]:
    return [new_team() for _ in range(3)]


@pytest.fixture
def record(context, database) -> Callable[[str], None]:
    def act(team_id: str, request_id: str | None = None) -> None:
        body = encoded(event(customer(), created=NOW)).decode()
        Ledger(database, team_id).record("evt_1", "customer.updated", NOW, body, delivered=True)
        wake_events(context, team_id, request_id=request_id)

    return act


def states(database) -> dict[str, str]:
    return dict(database.execute("SELECT team_id, state FROM billstack.events").fetchall())


def waiting(context) -> list[str]:
    return Queue(EVENTS, connection=context.redis).job_ids


def test_one_job_applies_the_events_of_all_teams_that_wait(context, database, teams, record):
    for team_id in teams:
        record(team_id)
    Queue(EVENTS, connection=context.redis).remove(waiting(context)[0])  # as a worker takes it

    assert events.apply_events(teams[0]) == 3

    assert states(database) == dict.fromkeys(teams, "applied")
    assert waiting(context) == []
    assert not any(context.redis.exists(wake_mark(team_id)) for team_id in teams)


def test_a_team_that_fails_gets_a_job_of_its_own_and_the_events_of_others_are_applied(
    context, database, teams, record, monkeypatch
):
    whole = events._connection_of

    def connection_of(context, team_id):
        if team_id == teams[1]:
            raise RuntimeError("its key cannot be opened")
        return whole(context, team_id)

    monkeypatch.setattr(events, "_connection_of", connection_of)
    for team_id in teams:
        record(team_id)
    Queue(EVENTS, connection=context.redis).remove(waiting(context)[0])

    events.apply_events(teams[0])

    assert [job_id.partition("-")[2] for job_id in waiting(context)] == [teams[1]]
    assert states(database) == {teams[0]: "applied", teams[1]: "pending", teams[2]: "applied"}
    with pytest.raises(Exception, match="RuntimeError"):
        events.apply_events(teams[1])


def test_a_turn_that_is_over_leaves_the_others_in_the_queue(context, database, teams, record, monkeypatch):
    monkeypatch.setattr("workers.jobs.backfill.Turn.is_over", lambda turn: True)
    for team_id in teams:
        record(team_id)

    events.apply_events(teams[0])

    assert set(states(database).values()) == {"applied", "pending"}
    assert len(waiting(context)) >= len(teams) - 1


def test_log_lines_name_the_request_that_woke_each_team(context, teams, record):
    record(teams[0], "req_first")

    assert take_waiting_events(context) == {"team": teams[0], "request_id": "req_first"}
    assert take_waiting_events(context) is None


def test_a_job_that_names_no_team_stays_where_it_is(context, teams):
    """Of a version before, during a rolling deploy."""
    Queue(EVENTS, connection=context.redis).enqueue("workers.jobs.events.apply_events", teams[0])
    before = waiting(context)

    assert take_waiting_events(context) is None
    assert waiting(context) == before


def test_a_killed_events_job_is_no_part_of_a_backfill(context, teams, record):
    record(teams[0])
    (job_id,) = waiting(context)

    go_on(context, Queue(EVENTS, connection=context.redis).fetch_job(job_id))


def test_an_event_that_comes_while_its_team_is_served_is_applied_by_the_same_job(context, database, teams, monkeypatch):
    """A job looks once if a look shows everything. What comes after its look wakes the team once more."""
    team_id, looked = teams[0], []
    whole = events.apply_next

    def apply_next(*arguments, **options):
        applied = whole(*arguments, **options)
        if not looked:  # recorded after the look, and told as the web tells it
            record_one(database, team_id, "evt_2")
            wake_events(context, team_id)
        looked.append(applied.outcomes)
        return applied

    monkeypatch.setattr(events, "apply_next", apply_next)
    record_one(database, team_id, "evt_1")
    wake_events(context, team_id)
    Queue(EVENTS, connection=context.redis).remove(waiting(context)[0])  # as a worker takes it

    assert events.apply_events(team_id) == 2

    assert looked == [{"applied": 1}, {"applied": 1}]
    assert waiting(context) == []


def test_a_team_with_more_events_than_a_batch_takes_is_served_to_the_end(context, database, teams, monkeypatch):
    monkeypatch.setattr("sync.events.applying.BATCH_SIZE", 2)
    for number in range(5):
        record_one(database, teams[0], f"evt_{number}")

    assert events.apply_events(teams[0]) == 5


def test_events_that_were_put_off_do_not_end_the_turn_of_those_behind_them(context, database, teams, monkeypatch):
    """A batch of nothing but events that wait for reads leaves others in the ledger, which are due."""
    monkeypatch.setattr("sync.events.applying.BATCH_SIZE", 2)
    monkeypatch.setattr("sync.events.certain.NAMED_AT_A_TIME", 0)
    for number in range(2):
        about = {"id": f"dp_{number}", "object": "dispute", "charge": "ch_1"}
        record_one(database, teams[0], f"evt_{number}", event(about, "charge.dispute.created", created=NOW))
    record_one(database, teams[0], "evt_2")
    database.execute("UPDATE billstack.events SET next_attempt_at = received_at - interval '1 s' WHERE id <> 'evt_2'")

    assert events.apply_events(teams[0]) == 1

    found = dict(database.execute("SELECT id, state FROM billstack.events").fetchall())
    assert found == {"evt_0": "pending", "evt_1": "pending", "evt_2": "applied"}


def record_one(database, team_id: str, event_id: str, told: Json | None = None) -> None:
    made = told or event(customer(f"cus_{event_id}"), created=NOW)
    Ledger(database, team_id).record(event_id, made["type"], NOW, encoded(made).decode(), delivered=True)
