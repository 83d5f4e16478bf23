"""Requests for backfills: one runs at a time, the same one twice is one, an errored one is adopted; counts and windows."""

import threading
from datetime import UTC, datetime

import psycopg
import pytest

from scripts.local.processes import wait_until
from sync.backfill.part_records import PartStore
from sync.backfill.records import BackfillStore
from sync.backfill.windows import Split, Window
from sync.errors import Conflict, LeaseLost
from sync.mirror.store import MirrorStore, WindowKey
from sync.object_types import OBJECT_TYPES
from tests.factories import CREATED, NOW, customer
from tests.sync.backfill.parts import AFTER, EVERY, age, due, end_type, start
from tests.sync.conftest import Team
from tests.sync.mirrored import (
    CUSTOMER,
    acquire_finish,
    end_backfill,
    mirror,
    open_window,
    page_of,
    rejects,
    row,
    seen,
    set_window,
    windows,
)

# Requests --------------------------------------------------------------------------------------------------------------


def test_the_same_request_again_finds_the_running_one(backfills: BackfillStore, team: Team) -> None:
    first = backfills.start(team.id, ["charge", "customer"], AFTER, request_id=None)

    again = backfills.start(team.id, ["customer", "charge"], AFTER, request_id=None)

    assert (again.id, again.already_running) == (first.id, True)
    assert not first.already_running


@pytest.mark.parametrize(("objects", "after"), [(["customer"], None), (EVERY, AFTER)])
def test_a_different_request_is_a_conflict_that_names_the_running_one(
    backfills: BackfillStore, team: Team, objects: list[str], after: datetime | None
) -> None:
    running = start(backfills, team)

    with pytest.raises(Conflict) as raised:
        start(backfills, team, objects, after)

    assert raised.value.code == "backfill_in_progress"
    assert raised.value.details == {"backfillId": running}


def test_two_requests_at_the_same_moment_are_one_backfill(backfills: BackfillStore, team: Team) -> None:
    started = []
    together = threading.Barrier(6)

    def ask() -> None:
        with team.connect() as connection:
            together.wait()
            started.append(BackfillStore(connection).start(team.id, EVERY, None, request_id=None))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({each.id for each in started}) == 1
    assert sorted(each.already_running for each in started) == [False] + [True] * 5


def test_teams_do_not_wait_for_each_other(backfills: BackfillStore, team: Team, other_team: Team) -> None:
    assert start(backfills, team) != start(backfills, other_team, ["customer"])


def test_a_new_backfill_begins_without_what_the_last_one_met(
    backfills: BackfillStore, team: Team, store: MirrorStore
) -> None:
    key = open_window(store)
    mirror(store, key, page_of([customer()], as_of=NOW))
    store.reject(CUSTOMER, "cus_bad", "a NUL")
    end_backfill(backfills, key.backfill_id)

    start(backfills, team)

    assert seen(store) == set()
    assert windows(store) == []
    assert rejects(store) == {}
    assert row(store, "cus_1"), "the mirrored rows stay"


def test_rejects_of_types_that_are_not_asked_for_stay(backfills: BackfillStore, team: Team, store: MirrorStore) -> None:
    store.reject(CUSTOMER, "cus_bad", "a NUL")

    start(backfills, team, ["charge"])

    assert list(rejects(store)) == ["cus_bad"]


def errored(backfills: BackfillStore, team: Team, store: MirrorStore) -> WindowKey:
    """A backfill of customers and charges that met one customer and failed on charges."""
    backfill_id = start(backfills, team, ["customer", "charge"])
    backfills.fix_upper(backfill_id, NOW)
    fence = PartStore(backfills.connection).acquire(backfill_id, "charge")
    assert fence
    backfills.insert_window(backfill_id, "charge", Window(1, 0, gte=0, lt=NOW, floor=0), fence)
    PartStore(backfills.connection).give_back(backfill_id, "charge", fence, done=False)
    key = WindowKey(backfill_id, "customer", 1, 1)
    backfills.insert_window(backfill_id, "customer", Window(1, 0, gte=0, lt=NOW, floor=0), 1)
    mirror(store, key, page_of([customer()], as_of=NOW))
    end_type(backfills, backfill_id, "customer")
    end_type(backfills, backfill_id, "charge", status="error")
    end_backfill(backfills, backfill_id, "error")
    return key


def test_an_errored_backfill_is_adopted_by_the_same_request(
    backfills: BackfillStore, team: Team, store: MirrorStore
) -> None:
    key = errored(backfills, team, store)

    adopting = start(backfills, team, ["charge", "customer"])

    assert adopting != key.backfill_id
    found = backfills.get(adopting)
    assert found
    assert (found.started, found.upper) == (NOW, NOW)
    assert {window["backfill_id"] for window in windows(store)} == {adopting}
    assert seen(store) == {"cus_1"}
    states = {state.type: (state.status, state.synced, state.error) for state in backfills.types(adopting)}
    assert states == {"customer": ("ready", 1, None), "charge": ("pending", 0, None)}
    assert due(backfills, adopting) == ["charge"], "what was ready is not done again"


def test_a_late_page_of_the_errored_backfill_is_refused_after_its_adoption(
    backfills: BackfillStore, part_store: PartStore, team: Team, store: MirrorStore
) -> None:
    errored(backfills, team, store)
    last = backfills.history(team.id, 1)[0]["id"]
    late = WindowKey(last, "charge", 1, 1)

    adopting = start(backfills, team, ["charge", "customer"])

    assert not store.lock_window(OBJECT_TYPES["charge"], late)
    fence = part_store.acquire(adopting, "charge")
    assert fence
    backfills.take_windows(adopting, "charge", fence)
    assert store.lock_window(OBJECT_TYPES["charge"], WindowKey(adopting, "charge", 1, fence))


@pytest.mark.parametrize("change", ["other types", "other time", "a day later", "canceled since", "ready since"])
def test_another_request_does_not_adopt(backfills: BackfillStore, team: Team, store: MirrorStore, change: str) -> None:
    key = errored(backfills, team, store)
    objects, after = ["customer", "charge"], None
    if change == "other types":
        objects = ["customer"]
    elif change == "other time":
        after = AFTER
    elif change == "a day later":
        backfills.connection.execute(
            "UPDATE billstack.backfills SET finished_at = finished_at - interval '25 hours' WHERE id = %s",
            (key.backfill_id,),
        )
    elif change == "canceled since":
        start(backfills, team, ["product"])
        backfills.cancel(team.id)
    else:
        end_backfill(backfills, start(backfills, team, ["product"]))

    new = backfills.get(start(backfills, team, objects, after))

    assert new
    assert new.started is None
    assert windows(store) == []
    assert seen(store) == set()


def test_history_is_newest_first_and_says_who_was_adopted(
    backfills: BackfillStore, team: Team, store: MirrorStore
) -> None:
    key = errored(backfills, team, store)
    adopting = start(backfills, team, ["customer", "charge"])

    found = backfills.history(team.id, 20)

    assert [entry["id"] for entry in found] == [adopting, key.backfill_id]
    assert [entry["adopted"] for entry in found] == [key.backfill_id, None]
    assert len(backfills.history(team.id, 1)) == 1


# Cancel ----------------------------------------------------------------------------------------------------------------


def test_a_canceled_backfill_takes_no_page_and_has_no_work_left(
    backfills: BackfillStore, part_store: PartStore, team: Team, store: MirrorStore
) -> None:
    key = open_window(store)
    fence = part_store.acquire(key.backfill_id, "customer")
    assert fence

    assert backfills.cancel(team.id) == key.backfill_id

    assert not store.lock_window(CUSTOMER, key)
    assert due(backfills, key.backfill_id) == []
    assert part_store.acquire(key.backfill_id, "charge") is None
    with pytest.raises(LeaseLost):
        part_store.renew(key.backfill_id, "customer", fence)
    with pytest.raises(LeaseLost):
        backfills.split(key.backfill_id, "customer", "customer", Split(1, 2, 0, 0, 100, 1.0), 1)


def test_a_window_that_is_split_off_while_somebody_cancels_takes_no_page_either(
    backfills: BackfillStore, part_store: PartStore, team: Team, store: MirrorStore
) -> None:
    key = open_window(store, lt=1000)
    fence = part_store.acquire(key.backfill_id, "customer")
    assert fence == key.fence
    with team.connect() as connection:
        canceling = threading.Thread(target=BackfillStore(connection).cancel, args=(team.id,))
        with backfills.connection.transaction():
            backfills.split(key.backfill_id, "customer", "customer", Split(1, 2, 0, 0, 400, 1.0), fence)
            canceling.start()
            assert wait_until(lambda: is_waiting(backfills, connection), timeout_s=10)
        canceling.join()

    assert [each["fence"] for each in windows(store)] == [-1, -1]


def test_a_window_that_is_split_off_while_the_part_is_taken_over_is_the_new_holders(
    backfills: BackfillStore, part_store: PartStore, team: Team, store: MirrorStore
) -> None:
    key = open_window(store, lt=1000)
    assert part_store.acquire(key.backfill_id, "customer") == 1
    age(backfills, key.backfill_id)
    taken: list[int | None] = []
    with team.connect() as connection:
        successor = BackfillStore(connection)

        def take_over() -> None:
            taken.append(PartStore(connection).acquire(key.backfill_id, "customer"))
            successor.take_windows(key.backfill_id, "customer", 2)

        taking = threading.Thread(target=take_over)
        with backfills.connection.transaction():
            backfills.split(key.backfill_id, "customer", "customer", Split(1, 2, 0, 0, 400, 1.0), 1)
            taking.start()
            assert wait_until(lambda: is_waiting(backfills, connection), timeout_s=10)
        taking.join()

    assert taken == [2]
    assert [each["fence"] for each in windows(store)] == [2, 2]


def is_waiting(backfills: BackfillStore, connection: psycopg.Connection) -> bool:
    """Whether that connection waits for a lock."""
    row = backfills.connection.execute(
        "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", (connection.info.backend_pid,)
    ).fetchone()
    return bool(row and row[0])


def test_a_finish_that_ends_after_the_cancel_changes_nothing(backfills: BackfillStore, team: Team) -> None:
    backfill_id = start(backfills, team)
    fence = acquire_finish(backfills, backfill_id)
    backfills.cancel(team.id)

    with pytest.raises(LeaseLost):
        backfills.end(backfill_id, fence, state="ready", error=None, warnings=[])

    assert backfills.history(team.id, 1)[0]["state"] == "canceled"


def test_nothing_to_cancel_is_none(backfills: BackfillStore, team: Team, other_team: Team) -> None:
    start(backfills, other_team)

    assert backfills.cancel(team.id) is None


# Counts and clocks -----------------------------------------------------------------------------------------------------


def test_the_first_job_fixes_the_upper_end_for_all(backfills: BackfillStore, team: Team) -> None:
    backfill_id = start(backfills, team)

    assert backfills.fix_upper(backfill_id, NOW) == (NOW, NOW)
    assert backfills.fix_upper(backfill_id, NOW + 50) == (NOW, NOW)


def test_published_is_what_the_pages_add_up_to_and_progress_never_goes_down(
    backfills: BackfillStore, store: MirrorStore
) -> None:
    key = open_window(store)
    mirror(store, key, page_of([customer("cus_1"), customer("cus_2")], as_of=NOW))
    mirror(store, open_window(store), page_of([customer("cus_2"), customer("cus_3")], as_of=NOW))

    first = backfills.publish(key.backfill_id, "customer", 0.5)
    second = backfills.publish(key.backfill_id, "customer", 0.3)

    assert (first.synced, first.progress) == (3, 0.5)
    assert (second.synced, second.progress) == (3, 0.5)


def test_a_type_that_fails_between_two_renewals_ends_with_the_exact_count(
    backfills: BackfillStore, part_store: PartStore, store: MirrorStore
) -> None:
    key = open_window(store)
    fence = part_store.acquire(key.backfill_id, "customer")
    assert fence
    mirror(store, key, page_of([customer("cus_1"), customer("cus_2")], as_of=NOW))

    backfills.end_type(key.backfill_id, "customer", fence, status="error", error="No.")

    state = next(state for state in backfills.types(key.backfill_id) if state.type == "customer")
    assert (state.status, state.synced, state.error) == ("error", 2, "No.")


def test_a_split_is_a_raised_floor_and_a_new_window_or_neither(
    backfills: BackfillStore, part_store: PartStore, store: MirrorStore
) -> None:
    key = open_window(store, lt=1000)
    assert part_store.acquire(key.backfill_id, "customer") == 1
    split = Split(giver=1, number=2, variant=0, floor=0, mid=400, expected_density=1.0)

    with pytest.raises(LeaseLost):
        backfills.split(key.backfill_id, "customer", "customer", split, fence=7)
    assert len(windows(store)) == 1

    backfills.split(key.backfill_id, "customer", "customer", split, fence=1)
    assert [(each["gte"], each["lt"], each["floor"]) for each in windows(store)] == [(0, 1000, 400), (0, 400, 0)]


def test_a_reopened_window_has_a_new_filter_and_no_cursor(backfills: BackfillStore, store: MirrorStore) -> None:
    key = open_window(store)
    mirror(store, key, page_of([customer()], as_of=NOW))

    backfills.reopen_window(key, "cus_1", gte=5, lt=900)

    window = windows(store)[0]
    assert (window["gte"], window["lt"], window["cursor"], window["counted"]) == (5, 900, None, 1)
    with pytest.raises(LeaseLost):
        backfills.reopen_window(WindowKey(key.backfill_id, key.type, key.number, 9), "cus_1", gte=0, lt=1)


def test_a_window_whose_last_page_postgres_has_lost_is_not_reopened(
    backfills: BackfillStore, store: MirrorStore
) -> None:
    key = open_window(store)
    mirror(store, key, page_of([customer("cus_2")], as_of=NOW))

    with pytest.raises(LeaseLost):
        backfills.reopen_window(key, "cus_1", gte=0, lt=CREATED)

    assert windows(store)[0]["cursor"] == "cus_2"


def test_nothing_is_ready_while_a_window_is_open(
    backfills: BackfillStore, part_store: PartStore, store: MirrorStore
) -> None:
    """Its last page was lost in a crash of Postgres after it had been committed."""
    key = open_window(store)
    fence = part_store.acquire(key.backfill_id, "customer")
    assert fence
    mirror(store, key, page_of([customer("cus_1")], as_of=NOW))

    with pytest.raises(LeaseLost):
        backfills.end_type(key.backfill_id, "customer", fence, status="ready")

    mirror(store, key, page_of([customer("cus_0")], as_of=NOW, has_more=False))
    backfills.end_type(key.backfill_id, "customer", fence, status="ready")
    finish = acquire_finish(backfills, key.backfill_id)
    set_window(store, key.number, done=False)
    with pytest.raises(LeaseLost):
        backfills.end(key.backfill_id, finish, state="ready", error=None, warnings=[])
    set_window(store, key.number, done=True)
    backfills.end(key.backfill_id, finish, state="ready", error=None, warnings=[])


@pytest.mark.parametrize(
    ("after", "gte"),
    [
        (None, 0),
        (datetime(2025, 1, 1, tzinfo=UTC), 1735689601),
        (datetime(2025, 1, 1, 0, 0, 0, 999999, tzinfo=UTC), 1735689601),
    ],
)
def test_created_after_is_exclusive_in_whole_seconds(
    backfills: BackfillStore, team: Team, after: datetime | None, gte: int
) -> None:
    found = backfills.get(start(backfills, team, after=after))

    assert found
    assert found.gte == gte
