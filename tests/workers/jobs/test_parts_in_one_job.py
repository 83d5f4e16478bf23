"""A small team's backfill is one job where nobody else takes its parts; a turn, a stop or another worker ends that."""

import pytest
from rq import Queue

from api.account.backfills import start_backfill
from sync.backfill.records import BackfillStore
from workers.jobs.backfill import work_on_part
from workers.queues import BACKFILLS, take_waiting


@pytest.fixture
def backfill_id(context, team_id):
    return start_backfill(context, team_id, None, None, None).id


def waiting(context) -> list[str]:
    return sorted(job_id.split("-")[1] for job_id in Queue(BACKFILLS, connection=context.redis).job_ids)


def state(database, backfill_id) -> str:
    return database.execute("SELECT state FROM billstack.backfills WHERE id = %s", (backfill_id,)).fetchone()[0]


def test_one_job_does_all_parts_that_wait_and_then_the_finish(context, database, backfill_id):
    assert len(waiting(context)) == 6

    assert work_on_part(backfill_id, "charge") == "done"

    assert state(database, backfill_id) == "ready"
    assert waiting(context) == ["charge"], "its own, which RQ has taken out before it runs"
    synced = database.execute(
        "SELECT DISTINCT synced FROM billstack.backfill_types WHERE backfill_id = %s", (backfill_id,)
    ).fetchall()
    assert synced == [(2,)]


def test_what_another_worker_holds_is_left_to_it(context, database, backfill_id):
    held = BackfillStore(database).acquire(backfill_id, "invoice")

    work_on_part(backfill_id, "charge")

    assert state(database, backfill_id) == "running"
    assert BackfillStore(database).give_back(backfill_id, "invoice", held, done=False)
    assert take_waiting(context, backfill_id) == "invoice"


def test_a_part_whose_turn_was_over_ends_the_job(context, database, backfill_id, monkeypatch):
    monkeypatch.setattr("workers.jobs.backfill.Turn.is_over", lambda turn: True)

    assert work_on_part(backfill_id, "charge") == "yielded"

    assert state(database, backfill_id) == "running"
    assert len(waiting(context)) == 7, "charge again, with its next fence"


def test_a_job_that_was_taken_out_while_a_worker_fetched_it_runs_once(context, database, backfill_id):
    taken = take_waiting(context, backfill_id)
    assert taken not in waiting(context)

    work_on_part(backfill_id, taken)
    assert work_on_part(backfill_id, taken) == "not_ours"

    assert state(database, backfill_id) == "ready"
