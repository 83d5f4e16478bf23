"""A small team's backfill is one job where nobody else takes its parts; a turn, a stop or another worker ends that."""

from typing import ClassVar

import pytest
from rq import Queue

from api.account.backfills import start_backfill
from sync.backfill.part import Ended, PartRun
from sync.backfill.part_records import PartStore
from sync.object_types import DEFAULT_TYPES
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
    assert waiting(context) == ["opening"]

    assert work_on_part(backfill_id, "opening") == "done"

    assert state(database, backfill_id) == "ready"
    assert waiting(context) == ["opening"], "its own, which RQ has taken out before it runs"
    synced = database.execute(
        "SELECT DISTINCT synced FROM billstack.backfill_types WHERE backfill_id = %s", (backfill_id,)
    ).fetchall()
    assert synced == [(2,)]


def test_types_with_more_than_a_page_are_left_for_other_workers(context, database, stripe, backfill_id, monkeypatch):
    """The one that opened the backfill goes on with one of them itself."""
    stripe.add_account(
        "demo", counts=dict.fromkeys(DEFAULT_TYPES, 2) | {"customer": 150, "charge": 150, "product": 120}
    )
    monkeypatch.setattr("workers.jobs.backfill.PartRun", OnlyTheOpening)

    assert work_on_part(backfill_id, "opening") == "done"

    assert OnlyTheOpening.further == ["charge"]
    assert waiting(context) == ["charge", "customer", "opening", "product"]


class OnlyTheOpening(PartRun):
    """Leaves other parts alone, as if another worker had been quicker."""

    further: ClassVar[list[str]] = []

    def run(self) -> Ended:
        if self._part == "opening":
            return super().run()
        self.further.append(self._part)
        return "not_ours"


def test_what_another_worker_holds_is_left_to_it(context, database, backfill_id):
    held = PartStore(database).acquire(backfill_id, "invoice")

    work_on_part(backfill_id, "charge")

    assert state(database, backfill_id) == "running"
    assert PartStore(database).give_back(backfill_id, "invoice", held, done=False)
    assert take_waiting(context, backfill_id, database) == "invoice"


def test_a_part_whose_turn_was_over_ends_the_job(context, database, backfill_id, monkeypatch):
    monkeypatch.setattr("workers.jobs.backfill.Turn.is_over", lambda turn: True)

    assert work_on_part(backfill_id, "charge") == "yielded"

    assert state(database, backfill_id) == "running"
    assert len(waiting(context)) == 7, "charge again, with its next fence"


def test_a_job_that_was_taken_out_while_a_worker_fetched_it_runs_once(context, database, backfill_id):
    taken = take_waiting(context, backfill_id, database)
    assert taken == "opening"
    assert waiting(context) == []

    work_on_part(backfill_id, taken)
    assert work_on_part(backfill_id, taken) == "not_ours"

    assert state(database, backfill_id) == "ready"
