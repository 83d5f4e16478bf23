"""A comparison finds every difference between mirror and Stripe, repairs it, says what it was, and touches nothing else."""

from collections.abc import Callable, Collection, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from sync.errors import Conflict, LeaseLost
from sync.events.applying import apply_batch, record_events
from sync.events.ledger import Ledger
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES, in_order
from sync.reconcile.records import ReconcileStore, Work
from sync.reconcile.run import Ended, ReconcileRun, ReconcileTools
from tests.factories import NOW, customer, encoded
from tests.sync.backfilling import Backfilling, dice
from tests.sync.conftest import Team, empty_team
from tests.sync.mirrored import row, versions
from tests.sync.simulated_stripe import mirrored_of, simulated_stripe, source_of

COUNTS = {"customer": 30, "product": 3, "price": 8, "subscription": 20, "invoice": 40, "charge": 25}
# Two prices are in no list: the mirror has them all the same, and each is asked for.
ALL = COUNTS | {"price": 10}


class Reconciling:
    """One team's mirror, equal to Stripe at first, and comparisons of it."""

    def __init__(self, team: Team, *, seed: int = 1, page_size: int = 10, further: Collection[str] = ()) -> None:
        team.connection.execute("DELETE FROM billstack.reconciles WHERE team_id = %s", (team.id,))
        self.team = team
        self.stripe = simulated_stripe(seed=seed, counts=COUNTS | dict.fromkeys(further, 9))
        self.backfilling = Backfilling(team, self.stripe)
        self.source = source_of(self.stripe, page_size=page_size)
        self.store = ReconcileStore(team.connection)
        self.backfilling.run(self.backfilling.start(*DEFAULT_TYPES, *further))
        self.stripe.clock.advance(3600)

    def start(self) -> str:
        return self.store.start(self.team.id, request_id=None)[0]

    def acquire(self, reconcile_id: str) -> Work:
        work = self.store.acquire(reconcile_id)
        assert work
        return work

    def turn(self, work: Work, should_yield: Callable[[], bool] = lambda: False) -> Ended:
        tools = ReconcileTools(
            self.source, self.catch_up, self.changed_since, should_yield, sleep=self.stripe.clock.advance
        )
        return ReconcileRun(self.team.connection, work, tools).run()

    def run(self) -> dict[str, dict]:
        """A whole one; returns what differed, by type and kind."""
        work = self.acquire(self.start())
        assert self.turn(work) == "done"
        self.store.end(work, "done")
        return drift(work)

    def catch_up(self) -> int:
        second = int(self.stripe.clock())
        ledger = self._record_events()
        while apply_batch(self.team.connection, self.team.id, self.source, mirrored_of(self.stripe)):
            pass
        assert ledger.pending(second) == 0
        return second

    def changed_since(self, ids: Sequence[str], second: int) -> set[str]:
        return self._record_events().mentioned(ids, since=second)

    def _record_events(self) -> Ledger:
        ledger = Ledger(self.team.connection, self.team.id)
        for page in self.source.events(gte=NOW, lte=int(self.stripe.clock()) + 1):
            record_events(ledger, page.bodies)
        return ledger

    def sql(self, statement: str, table: str, *params: object) -> None:
        name = sql.Identifier(self.team.schema, table)
        self.team.connection.execute(sql.SQL(statement).format(name), params)  # type: ignore[arg-type]

    def ids(self, type: str) -> list[str]:
        return sorted(each["id"] for each in self.stripe.account.objects(type))


def drift(work: Work) -> dict[str, dict]:
    return {
        name: {kind: each["ids"] for kind, each in found.items() if kind != "compared" and each["count"]}
        for name, found in work.found.items()
        if any(kind != "compared" and each["count"] for kind, each in found.items())
    }


@pytest.fixture
def reconciling(team: Team) -> Reconciling:
    return Reconciling(team)


def test_an_equal_mirror_is_compared_and_not_touched(reconciling: Reconciling) -> None:
    before = versions(reconciling.team.connection, reconciling.team.schema)
    work = reconciling.acquire(reconciling.start())

    assert reconciling.turn(work) == "done"

    assert drift(work) == {}
    assert {name: found["compared"] for name, found in work.found.items()} == ALL
    assert versions(reconciling.team.connection, reconciling.team.schema) == before


def test_each_kind_of_drift_is_found_told_and_repaired(reconciling: Reconciling) -> None:
    missing, stale, dead = reconciling.ids("customer")[:3]
    reconciling.sql("DELETE FROM {} WHERE id = %s", "customers", missing)
    reconciling.sql("UPDATE {} SET raw = raw || %s::jsonb WHERE id = %s", "customers", '{"email": "old@x.org"}', stale)
    reconciling.sql("UPDATE {} SET deleted_at = now() WHERE id = %s", "customers", dead)
    ghost = let_drift(reconciling, "invoices", reconciling.ids("invoice")[0], "notDeleted")

    found = reconciling.run()

    found["customer"]["stale"].sort()
    assert found == {
        "customer": {"missing": [missing], "stale": sorted([stale, dead])},
        "invoice": {"notDeleted": [ghost]},
    }
    assert reconciling.backfilling.differences() == []
    gone = row(reconciling.backfilling.mirror, ghost, OBJECT_TYPES["invoice"])
    assert gone
    assert gone.deleted_at
    assert reconciling.run() == {}


def test_a_price_which_no_list_gives_is_compared_and_missed_too(reconciling: Reconciling) -> None:
    account = reconciling.stripe.account
    listed = {record.id for record in account.state.shelves["price"].timeline}
    stale, missing = sorted({each["id"] for each in account.objects("price")} - listed)[:2]

    reconciling.sql("UPDATE {} SET raw = raw || %s::jsonb WHERE id = %s", "prices", '{"nickname": "old"}', stale)
    reconciling.sql("DELETE FROM {} WHERE id = %s", "prices", missing)

    assert reconciling.run() == {"price": {"stale": [stale], "missing": [missing]}}
    assert reconciling.backfilling.differences() == []


# Before and after everything that a window's bounds could name: test clocks live in the future.
@pytest.mark.parametrize("created", [0, 1, NOW + 5 * 365 * 86_400, 253402300799, 300_000_000_000])
@pytest.mark.parametrize("kind", ["missing", "stale", "notDeleted"])
def test_an_object_of_another_time_is_compared_like_others(reconciling: Reconciling, created: int, kind: str) -> None:
    shelf = reconciling.stripe.account.state.shelves["customer"]
    about = customer("cus_far", created=created)
    shelf.put(about)
    store, second = reconciling.backfilling.mirror, int(reconciling.stripe.clock())
    store.apply_event(OBJECT_TYPES["customer"], "cus_far", encoded(about), created=second, checked_until=None)
    assert reconciling.run() == {}, "it is in the mirror"

    match kind:
        case "missing":
            reconciling.sql("DELETE FROM {} WHERE id = %s", "customers", "cus_far")
        case "stale":
            reconciling.sql('UPDATE {} SET raw = raw || \'{{"name": "x"}}\' WHERE id = %s', "customers", "cus_far")
        case "notDeleted":
            shelf.delete("cus_far", second)

    assert reconciling.run() == {"customer": {kind: ["cus_far"]}}
    assert reconciling.backfilling.differences() == []


def test_at_most_20_ids_are_told_with_the_whole_count(reconciling: Reconciling) -> None:
    reconciling.sql("DELETE FROM {} WHERE true", "charges")
    work = reconciling.acquire(reconciling.start())

    reconciling.turn(work)

    assert work.found["charge"]["missing"]["count"] == COUNTS["charge"]
    assert len(work.found["charge"]["missing"]["ids"]) == 20
    assert reconciling.backfilling.differences() == []


def test_what_an_event_on_its_way_will_change_has_not_drifted(reconciling: Reconciling) -> None:
    account = reconciling.stripe.account
    account.create("customer")
    account.update("customer", reconciling.ids("customer")[0], name="New")
    reconciling.stripe.clock.advance(5)

    assert reconciling.run() == {}

    assert reconciling.backfilling.differences() == []


def test_what_changes_while_it_compares_has_not_drifted(reconciling: Reconciling) -> None:
    account, rng = reconciling.stripe.account, dice(7)

    def meanwhile(request) -> None:
        if request.path in ("/v1/customers", "/v1/charges") and rng.random() < 0.5:
            account.update("customer", rng.choice(reconciling.ids("customer")), name=f"Number {rng.random()}")
            if rng.random() < 0.3:
                account.delete("customer", rng.choice(reconciling.ids("customer")))
            reconciling.stripe.clock.advance(1)

    reconciling.stripe.at_end = meanwhile

    assert reconciling.run() == {}


def test_a_turn_that_is_over_is_gone_on_with_where_it_was(reconciling: Reconciling) -> None:
    gone = reconciling.ids("charge")[3]
    reconciling.sql("DELETE FROM {} WHERE id = %s", "charges", gone)
    reconciling_id = reconciling.start()
    looks, turns = [0], 0

    def every_third_look() -> bool:
        looks[0] += 1
        return looks[0] % 3 == 0

    while True:
        work, turns = reconciling.acquire(reconciling_id), turns + 1
        if reconciling.turn(work, every_third_look) == "done":
            break
        reconciling.store.give_back(work)

    assert turns > 2
    assert {name: found["compared"] for name, found in work.found.items()} == ALL
    assert drift(work) == {"charge": {"missing": [gone]}}


def test_nobody_else_works_on_it_while_its_holder_lives(reconciling: Reconciling) -> None:
    reconcile_id = reconciling.start()
    work = reconciling.acquire(reconcile_id)

    assert reconciling.store.acquire(reconcile_id) is None
    assert reconciling.store.idle() == []
    assert work.fence == 1


def test_a_holder_whose_lease_ran_out_writes_nothing_more(reconciling: Reconciling) -> None:
    reconcile_id = reconciling.start()
    dead = reconciling.acquire(reconcile_id)
    reconciling.team.connection.execute("UPDATE billstack.reconciles SET held_until = now() - interval '1 second'")
    assert [each.id for each in reconciling.store.idle()] == [reconcile_id]

    reconciling.acquire(reconcile_id)

    with pytest.raises(LeaseLost):
        reconciling.turn(dead)
    reconciling.store.end(dead, "error", "no")
    assert reconciling.store.get(reconcile_id)[0] == "running"  # type: ignore[index]


def test_a_backfill_that_begins_ends_it(reconciling: Reconciling) -> None:
    work = reconciling.acquire(reconciling.start())
    reconciling.backfilling.start()

    assert reconciling.turn(work) == "canceled"


def test_it_does_not_begin_while_a_backfill_runs(reconciling: Reconciling) -> None:
    backfill_id = reconciling.backfilling.start()

    with pytest.raises(Conflict) as refused:
        reconciling.start()

    assert refused.value.code == "backfill_in_progress"
    assert refused.value.details == {"backfillId": backfill_id}


def test_one_runs_at_a_time(reconciling: Reconciling) -> None:
    first = reconciling.start()

    assert reconciling.store.start(reconciling.team.id, request_id=None) == (first, True)


def test_it_is_due_a_day_after_the_last_backfill_and_the_last_comparison(reconciling: Reconciling) -> None:
    store, connection, team_id = reconciling.store, reconciling.team.connection, reconciling.team.id
    assert store.due_teams() == []

    connection.execute("UPDATE billstack.backfills SET finished_at = now() - interval '25 hours'")
    assert store.due_teams() == [team_id]

    work = reconciling.acquire(reconciling.start())
    assert store.due_teams() == []
    store.end(work, "done")
    assert store.due_teams() == []

    connection.execute("UPDATE billstack.reconciles SET requested_at = now() - interval '25 hours'")
    assert store.due_teams() == [team_id]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=max(8, settings().max_examples // 25)
)
@given(seed=st.integers(0, 2**32))
def test_whatever_drifted_is_exactly_what_is_told(team: Team, seed: int) -> None:
    empty_team(team)
    rng = dice(seed)
    further = rng.sample([name for name in OBJECT_TYPES if name not in DEFAULT_TYPES], 3)
    reconciling = Reconciling(team, seed=seed, page_size=rng.choice([1, 7, 100]), further=further)
    done: dict[str, dict[str, list[str]]] = {}
    for name, object_type in ((each.name, each) for each in in_order({*DEFAULT_TYPES, *further})):
        picked = rng.sample(reconciling.ids(name), rng.randint(0, 3))
        for object_id in picked:
            kind = rng.choice(["missing", "stale", "notDeleted"])
            object_id = let_drift(reconciling, object_type.table, object_id, kind)
            done.setdefault(name, {}).setdefault(kind, []).append(object_id)

    found = reconciling.run()

    assert {name: {kind: sorted(ids) for kind, ids in kinds.items()} for name, kinds in found.items()} == {
        name: {kind: sorted(ids) for kind, ids in kinds.items()} for name, kinds in done.items()
    }
    assert reconciling.backfilling.differences(*DEFAULT_TYPES, *further) == []


def let_drift(reconciling: Reconciling, table: str, object_id: str, kind: str) -> str:
    match kind:
        case "missing":
            reconciling.sql("DELETE FROM {} WHERE id = %s", table, object_id)
        case "stale":
            changed = encoded({"metadata": {"drifted": "yes"}}).decode()
            reconciling.sql("UPDATE {} SET raw = raw || %s::jsonb WHERE id = %s", table, changed, object_id)
        case "notDeleted":
            ghost = f"{object_id}_ghost"
            reconciling.sql(
                "INSERT INTO {0} (id, raw, as_of, as_of_until)"
                " SELECT %s, jsonb_set(raw, '{{id}}', to_jsonb(%s::text)), 1, 1 FROM {0} WHERE raw ->> 'id' = %s LIMIT 1",
                table,
                ghost,
                ghost,
                object_id,
            )
            return ghost
    return object_id
