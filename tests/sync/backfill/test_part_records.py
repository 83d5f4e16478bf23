"""Who works on which part of a backfill: one holder, its fence, and what happens when it dies or is silent."""

import threading

import psycopg
import pytest

from scripts.local.processes import wait_until
from sync.backfill.part_records import FINISH, LEASE_S, OPENING, POOLED_LEASE_S, PartStore
from sync.backfill.records import BackfillStore
from sync.database.session import SILENT_S
from sync.errors import LeaseLost
from sync.mirror.store import MirrorStore, WindowKey
from tests.factories import NOW, customer
from tests.sync.backfill.parts import age, due, end_type, start
from tests.sync.conftest import Team
from tests.sync.mirrored import (
    CUSTOMER,
    mirror,
    open_window,
    page_of,
)


def test_a_part_has_one_holder(backfills: BackfillStore, part_store: PartStore, team: Team) -> None:
    backfill_id = start(backfills, team)

    assert part_store.acquire(backfill_id, "customer") == 1
    assert part_store.acquire(backfill_id, "customer") is None
    assert part_store.acquire(backfill_id, "charge") == 1


def test_of_many_who_ask_at_once_one_gets_the_lease(backfills: BackfillStore, team: Team) -> None:
    backfill_id = start(backfills, team)
    got = []
    together = threading.Barrier(6)

    def ask() -> None:
        with team.connect() as connection:
            together.wait()
            got.append(PartStore(connection).acquire(backfill_id, "customer"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(got, key=str) == [1, *[None] * 5]


def test_a_lease_that_ran_out_goes_to_the_next_one_and_is_lost_for_good(
    backfills: BackfillStore, part_store: PartStore, team: Team
) -> None:
    backfill_id = start(backfills, team)
    first = part_store.acquire(backfill_id, "customer")
    age(backfills, backfill_id)

    second = part_store.acquire(backfill_id, "customer")

    assert (first, second) == (1, 2)
    with pytest.raises(LeaseLost):
        part_store.renew(backfill_id, "customer", 1)
    with pytest.raises(LeaseLost):
        backfills.end_type(backfill_id, "customer", 1, status="error", error="No.")
    assert not part_store.give_back(backfill_id, "customer", 1, done=True)
    part_store.renew(backfill_id, "customer", 2)


def test_a_renewed_lease_does_not_run_out(backfills: BackfillStore, part_store: PartStore, team: Team) -> None:
    backfill_id = start(backfills, team)
    fence = part_store.acquire(backfill_id, "customer")
    assert fence
    age(backfills, backfill_id)
    part_store.renew(backfill_id, "customer", fence)

    assert part_store.acquire(backfill_id, "customer") is None


def test_who_takes_over_takes_the_windows_that_are_not_done(
    backfills: BackfillStore, team: Team, store: MirrorStore
) -> None:
    old = open_window(store)
    mirror(store, old, page_of([customer()], as_of=NOW, has_more=False))
    still_open = open_window(store)

    found = backfills.take_windows(old.backfill_id, "customer", 2)

    assert [(window.number, window.done, window.cursor) for window in found] == [(1, True, "cus_1"), (2, False, None)]
    assert not store.lock_window(CUSTOMER, still_open)
    assert store.lock_window(CUSTOMER, WindowKey(old.backfill_id, "customer", 2, 2))


def test_due_is_what_nobody_works_on_and_the_finish_comes_last(
    backfills: BackfillStore, part_store: PartStore, team: Team
) -> None:
    backfill_id = start(backfills, team, ["customer", "charge"])
    assert due(backfills, backfill_id) == [OPENING], "all of it, while nobody has begun"

    fence = part_store.acquire(backfill_id, "customer")
    assert fence
    assert due(backfills, backfill_id) == ["charge"]

    age(backfills, backfill_id)
    assert due(backfills, backfill_id) == ["charge", "customer"], "its holder is dead"

    end_type(backfills, backfill_id, "customer")
    assert due(backfills, backfill_id) == ["charge"]

    end_type(backfills, backfill_id, "charge", status="error")
    assert due(backfills, backfill_id) == [FINISH]


def test_the_finish_is_nobodys_before_all_types_are_done(
    backfills: BackfillStore, part_store: PartStore, team: Team
) -> None:
    backfill_id = start(backfills, team, ["customer", "charge"])
    assert part_store.acquire(backfill_id, FINISH) is None

    end_type(backfills, backfill_id, "customer")
    assert part_store.acquire(backfill_id, FINISH) is None

    end_type(backfills, backfill_id, "charge", status="error")
    assert part_store.acquire(backfill_id, FINISH) == 1


def test_a_part_given_back_waits_behind_those_that_waited(
    backfills: BackfillStore, part_store: PartStore, team: Team
) -> None:
    backfill_id = start(backfills, team, ["customer", "charge"])
    fence = part_store.acquire(backfill_id, "charge")
    assert fence
    part_store.give_back(backfill_id, "charge", fence, done=False)

    assert [part.part for part in part_store.due_parts(backfill_id)] == ["customer", "charge"]


def test_what_is_read_by_customer_waits_for_customers_and_then_behind_all_others(
    backfills: BackfillStore, part_store: PartStore, team: Team
) -> None:
    backfill_id = backfills.start(team.id, ["customer", "charge", "tax_id"], None, request_id=None).id
    first, second = (part_store.acquire(backfill_id, part) for part in ("customer", "charge"))
    assert first
    assert second
    assert part_store.due_parts(backfill_id) == []
    assert part_store.acquire(backfill_id, "tax_id") is None

    part_store.give_back(backfill_id, "customer", first, done=True)
    assert [part.part for part in part_store.due_parts(backfill_id)] == ["tax_id"]
    part_store.give_back(backfill_id, "charge", second, done=False)

    assert [part.part for part in part_store.due_parts(backfill_id)] == ["charge", "tax_id"]


def test_a_dead_holders_lease_is_released_by_its_fence_only(
    backfills: BackfillStore, part_store: PartStore, team: Team
) -> None:
    backfill_id = start(backfills, team)
    part_store.acquire(backfill_id, "customer")

    assert not part_store.release_dead(backfill_id, "customer", 2)
    assert part_store.release_dead(backfill_id, "customer", 1)
    assert part_store.acquire(backfill_id, "customer") == 2


# A holder's death, and its mere silence --------------------------------------------------------------------------------


def test_a_dead_holders_part_is_free_seconds_after_its_last_renewal(
    backfills: BackfillStore, part_store: PartStore, team: Team
) -> None:
    backfill_id = start(backfills, team)
    with team.connect() as holder:
        fence = PartStore(holder).acquire(backfill_id, "customer")
        assert fence
        PartStore(holder).renew(backfill_id, "customer", fence)
    wait_until(lambda: session_ended(backfills, backfill_id), timeout_s=5)

    assert "customer" not in due(backfills, backfill_id), "a moment ago it was renewed"
    age(backfills, backfill_id, SILENT_S + 1)

    assert "customer" in due(backfills, backfill_id)
    assert part_store.acquire(backfill_id, "customer") == fence + 1
    with pytest.raises(LeaseLost):
        part_store.renew(backfill_id, "customer", fence)


def test_a_silent_holder_whose_connection_is_open_keeps_its_lease(
    backfills: BackfillStore, part_store: PartStore, team: Team
) -> None:
    backfill_id = start(backfills, team)
    with team.connect() as holder:
        fence = PartStore(holder).acquire(backfill_id, "customer")
        assert fence
        age(backfills, backfill_id, LEASE_S - 5)

        assert "customer" not in due(backfills, backfill_id)
        assert part_store.acquire(backfill_id, "customer") is None
        PartStore(holder).renew(backfill_id, "customer", fence)


def test_a_silent_holder_behind_a_pooler_loses_its_lease_sooner(
    backfills: BackfillStore, part_store: PartStore, team: Team
) -> None:
    """Whose number of its server process is not the server's."""
    backfill_id = start(backfills, team)
    with team.connect() as holder:
        fence = Pooled(holder).acquire(backfill_id, "customer")
        assert fence
        Pooled(holder).renew(backfill_id, "customer", fence)
        age(backfills, backfill_id, POOLED_LEASE_S - 2)
        assert "customer" not in due(backfills, backfill_id)

        age(backfills, backfill_id, 3)

        assert "customer" in due(backfills, backfill_id)
        assert part_store.acquire(backfill_id, "customer") == fence + 1
        with pytest.raises(LeaseLost):
            Pooled(holder).renew(backfill_id, "customer", fence)


class Pooled(PartStore):
    def _own_pid(self, connection: psycopg.Connection) -> int:
        return 5


def test_the_connection_that_renewed_last_is_the_one_that_counts(backfills: BackfillStore, team: Team) -> None:
    """Behind a pooler each renewal may come through another one."""
    backfill_id = start(backfills, team)
    with team.connect() as former, team.connect() as holder:
        fence = PartStore(former).acquire(backfill_id, "customer")
        assert fence
        former.close()
        PartStore(holder).renew(backfill_id, "customer", fence)
        age(backfills, backfill_id, SILENT_S + 1)

        assert "customer" not in due(backfills, backfill_id)


def test_another_connection_with_a_dead_holders_number_does_not_keep_its_lease(
    backfills: BackfillStore, part_store: PartStore, team: Team
) -> None:
    backfill_id = start(backfills, team)
    part_store.acquire(backfill_id, "customer")
    with team.connect() as later:
        backfills.connection.execute("UPDATE billstack.leases SET session = %s", (f"{later.info.backend_pid}@1.5",))
        age(backfills, backfill_id, SILENT_S + 1)

        assert "customer" in due(backfills, backfill_id)


def test_a_part_that_is_let_go_is_free_a_little_later(
    backfills: BackfillStore, part_store: PartStore, team: Team
) -> None:
    backfill_id = start(backfills, team)
    fence = part_store.acquire(backfill_id, "customer")
    assert fence
    part_store.let_go(backfill_id, "customer", fence + 1)
    age(backfills, backfill_id, SILENT_S + 1)
    assert "customer" not in due(backfills, backfill_id), "another fence's"

    part_store.let_go(backfill_id, "customer", fence)

    assert "customer" in due(backfills, backfill_id)


def session_ended(backfills: BackfillStore, backfill_id: str) -> bool:
    row = backfills.connection.execute(
        "SELECT billstack.session_ended(session) FROM billstack.leases WHERE backfill_id = %s AND part = 'customer'",
        (backfill_id,),
    ).fetchone()
    return bool(row and row[0])
