"""However an account changes and workers die while it is read, a backfill ends with the mirror equal to Stripe, counts exact.

The real code runs on the real Postgres with its threads; the account is simulated and so is the clock. A seed chooses the
account, page size, changes, faults, deaths and twins; which thread comes first differs from run to run, and must not matter.
"""

import json
import random
import threading
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql

from scripts.sandbox.changes import Changer
from sync.errors import StripeUnavailable
from sync.events.applying import apply_batch, record_event
from sync.events.ledger import Ledger
from sync.events.reread import reread
from sync.mirror.store import MirrorStore
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES
from tests.factories import encoded
from tests.sync.backfilling import Backfilling, Process, turns_of
from tests.sync.conftest import Team, empty_team
from tests.sync.mirrored import row, seen, versions
from tests.sync.simulated_stripe import Request, error, mirrored_of, simulated_stripe, source_of

# Of some changes to the others Stripe tells nobody, and no backfill can know of those. A changed balance it does tell of.
FURTHER = [each.name for each in OBJECT_TYPES.values() if not each.is_default and (each.parent or not each.is_reread)]
LISTED = [*DEFAULT_TYPES, *FURTHER]
LISTS = {
    object_type.parent.path.split("/")[-1] if object_type.parent else object_type.path: object_type.name
    for object_type in OBJECT_TYPES.values()
}
FAULTS = [
    error(500),
    error(409, "lock_timeout"),
    error(429, "rate_limit"),
    error(429, "rate_limit", **{"Stripe-Rate-Limited-Reason": "endpoint-rate"}),
    (502, {}, b"<html>Bad gateway</html>"),
    (200, {}, b'{"object":"list","data":[{"id":"cu'),
]

# One less than a turn takes, because the business, too, deletes what happens to be a cursor.
MOST_LOST_AT_ONE_PLACE = 4

bounded = settings(
    max_examples=max(6, settings().max_examples // 10),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
seeds = st.integers(0, 2**32)


@bounded
@given(seed=seeds)
def test_a_backfill_ends_with_the_truth_while_nobody_listens_to_webhooks(team: Team, seed: int) -> None:
    """Changes come to the mirror by pages and by the finish alone."""
    _prove(team, seed, listens=False)


@bounded
@given(seed=seeds)
def test_a_backfill_and_webhooks_end_with_the_truth(team: Team, seed: int) -> None:
    """Changes go on until after the end, and events come in any order, twice, late, or not until they are swept."""
    _prove(team, seed, listens=True)


@pytest.mark.slow
@settings(bounded, max_examples=200)
@given(seed=seeds, listens=st.booleans())
def test_a_backfill_of_a_larger_account_ends_with_the_truth(team: Team, seed: int, listens: bool) -> None:
    _prove(team, seed, listens=listens, size=8)


def _prove(team: Team, seed: int, *, listens: bool, size: int = 1) -> None:
    empty_team(team)
    life = _Life(team, random.Random(seed), listens=listens, size=size)

    backfill_id = life.backfill()
    life.become_quiet()

    assert life.lies() == []
    assert life.miscounts(backfill_id) == []

    life.stripe.clock.advance(3600)
    before = versions(team.connection, team.schema)
    again = life.backfill()
    assert life.lies() == []
    assert life.miscounts(again) == []
    assert versions(team.connection, team.schema) == before, "what did not change is not written"


@dataclass(frozen=True)
class _Temper:
    """How much goes wrong and how much goes on, as shares of requests or of turns."""

    change: float
    fault: float
    lost_cursor: float
    death: float
    twin: float
    short_turn: float


def _some_types(rng: random.Random) -> set[str]:
    """Inline prices are known by the subscriptions that name them only, and what customers list by the customers."""
    chosen = set(rng.sample(sorted(LISTED), 2))
    parents = {parent.type for name in chosen if (parent := OBJECT_TYPES[name].parent)}
    return chosen | parents | {"subscription"} if "price" in chosen else chosen | parents


def _listed_type(path: str) -> str | None:
    """The type that is listed at this address, or below a customer."""
    parts = path.split("/")
    return LISTS.get(parts[4] if parts[2] == "customers" and len(parts) == 5 else path)


class _Life:
    """An account with its business, and the workers that mirror it."""

    def __init__(self, team: Team, rng: random.Random, *, listens: bool, size: int) -> None:
        counts = {
            "customer": rng.randrange(0, 30) * size,
            "product": rng.randrange(1, 4),
            "price": rng.randrange(0, 10),
            "subscription": rng.randrange(0, 12) * size,
            "invoice": rng.randrange(0, 12) * size,
            "charge": rng.randrange(0, 20) * size,
            **{name: rng.randrange(0, 8) * size for name in FURTHER},
        }
        if not (counts["customer"] and counts["price"]):
            counts["subscription"] = 0  # the sandbox would make inline prices, and nothing that names them
        profile = rng.choice(["default", "one-second", "bursts", "last-month"])
        self.stripe = simulated_stripe(seed=rng.randrange(10**6), counts=counts, profile=profile)
        self._run = Backfilling(team, self.stripe, page_size=rng.choice([2, 3, 5, 10]))
        self._types = _some_types(rng) if size == 1 else set(LISTED)
        self._team = team
        self._rng = rng
        self._account = self.stripe.account
        self._changer = Changer(self._account, seed=rng.randrange(10**6))
        self._listens = listens
        self._temper = _Temper(
            change=rng.choice([0, 0.1, 0.5]),
            fault=rng.choice([0, 0.05, 0.2]),
            lost_cursor=rng.choice([0, 0.1, 0.3]),
            death=rng.choice([0, 0.2, 0.6]),
            twin=rng.choice([0, 0.1, 0.3]),
            short_turn=rng.choice([0, 0.2, 0.8]),
        )
        self._is_alive = True  # changes and faults go on
        # Each page of events that is read brings new ones, and a finish that dies reads them all again: it must end once.
        self._changes_left = 300
        self._replaying = False
        self._delivered: set[str] = set()
        self._listed: dict[str, set[str]] = {name: set() for name in LISTED}
        self._in_events_worker = threading.local()
        self._restless: set[str] = set()
        self._lost_at: Counter[tuple[str, str | None, int | None]] = Counter()
        self.stripe.at_begin = self._at_begin
        self.stripe.at_end = self._at_end

    # What happens to requests, in whatever thread sends them --------------------------------------------------------

    def _at_begin(self, request: Request) -> None:
        with self.stripe.lock:
            if request.path == "/v1/events":
                self._replaying = True
            if self._is_alive and self._rng.random() < self._temper.fault:
                if self._rng.random() < 0.2:
                    raise StripeUnavailable("no answer from Stripe: it took too long")
                request.instead = self._rng.choice(FAULTS)
                return
            if self._may_change(request):
                self._lose_cursor(request)
                self._change()

    def _at_end(self, request: Request) -> None:
        with self.stripe.lock:
            if _listed_type(request.path) and request.instead is None:
                self._note_listed(request)
            if self._may_change(request):
                self._change()
        if self._listens and self._is_alive and self._rng.random() < 0.2:
            self._deliver_some()

    def _may_change(self, request: Request) -> bool:
        """Who does not listen to webhooks knows nothing of what happens after the finish has asked for the events."""
        return self._is_alive and (self._listens or (_listed_type(request.path) and not self._replaying))

    def _lose_cursor(self, request: Request) -> None:
        """A deletion meets the object at which the next page begins, but not again and again at one place.

        All objects of one second, or of one customer, are such a place: it is read again from its beginning. With pages of
        two objects that may be a hundred pages, where Stripe's have a hundred objects. A turn ends with an error after its
        fifth loss at one place, as with a Stripe that accepts no cursor (test_type_run.py, test_parent_lists.py).
        """
        cursor = request.params.get("starting_after")
        if cursor is None or self._rng.random() >= self._temper.lost_cursor:
            return
        place = (request.path, request.params.get("active"), self._second_of(request.path, cursor))
        self._lost_at[place] += 1
        if self._lost_at[place] > MOST_LOST_AT_ONE_PLACE:
            return
        if request.path == "/v1/customers" and self._account.state.shelves["customer"].get(cursor):
            self._account.delete("customer", cursor)
        elif request.path == "/v1/prices":
            self._account.update("price", cursor, active=request.params["active"] != "true")
        elif _listed_type(request.path) == "payment_method":
            self._account.handle("POST", f"/v1/payment_methods/{cursor}/detach", {})

    def _second_of(self, path: str, object_id: str) -> int | None:
        """None for what is listed by customer, whose address is the place."""
        name = _listed_type(path)
        record = self._account.state.shelves[name].get(object_id) if name else None
        return record.created if record and not OBJECT_TYPES[str(name)].parent else None

    def _change(self) -> None:
        while self._changes_left and self._rng.random() < self._temper.change:
            self._changes_left -= 1
            before = len(self._account.state.events.timeline)
            untold = self._account.state.shelves["customer_balance_transaction"].by_id
            known = set(untold)
            self._changer.make_one()
            self._restless |= set(untold) - known  # only their customer's event tells of them
            for event in self._account.events()[before:]:
                self._restless.add(event["data"]["object"]["id"])
            self.stripe.clock.advance(self._rng.choice([0, 0, 0.3, 1, 4]))

    def _note_listed(self, request: Request) -> None:
        found, name = json.loads(request.body), _listed_type(request.path)
        if "data" in found and name in self._listed:
            self._listed[name].update(each["id"] for each in found["data"])

    # Webhooks ------------------------------------------------------------------------------------------------------

    def _deliver_some(self) -> None:
        """Some of the news, some old news, and now and then the events worker gets to work."""
        if getattr(self._in_events_worker, "busy", False):
            return
        self._in_events_worker.busy = True
        try:
            with self.stripe.lock:
                events = self._account.events()
                some = self._rng.sample(events, min(len(events), 3))
            self._record(some)
            if self._rng.random() < 0.5:
                self._apply()
        finally:
            self._in_events_worker.busy = False

    def _record(self, events: list[dict]) -> None:
        with self._team.connect() as connection:
            for event in events:
                record_event(Ledger(connection, self._team.id), encoded(event), delivered=True)
                self._delivered.add(event["id"])

    def _apply(self) -> bool:
        with self._team.connect() as connection:
            source = source_of(self.stripe, page_size=self._run.page_size)
            return bool(apply_batch(connection, self._team.id, source, mirrored_of(self.stripe)))

    # Workers -------------------------------------------------------------------------------------------------------

    def backfill(self) -> str:
        self._replaying = False
        for names in self._listed.values():
            names.clear()
        backfill_id = self._run.start(*self._types)
        ended = self._run.run(backfill_id, self._take_turn)
        assert ended == "ready", [(state.type, state.error) for state in self._run.store.types(backfill_id)]
        return backfill_id

    def _take_turn(self, backfill_id: str, part: str) -> None:
        """A turn of a worker that may die in it, or have a twin that takes its work for its own."""
        if part == "finish" and not self._listens:
            self._replaying = False  # this turn asks for the events again
        if not self._is_alive or self._rng.random() >= self._temper.twin or (part == "finish" and not self._listens):
            self._work(backfill_id, part)
            return
        first = threading.Thread(target=self._work, args=(backfill_id, part))
        first.start()
        first.join(self._rng.choice([0, 0.01, 0.05]))
        self._run.let_leases_run_out()
        self._work(backfill_id, part)
        first.join()

    def _work(self, backfill_id: str, part: str) -> None:
        dies = self._is_alive and self._rng.random() < self._temper.death
        process = Process(dies_after=self._rng.randrange(150) if dies else None)
        is_short = self._is_alive and self._rng.random() < self._temper.short_turn
        should_yield = turns_of(self._rng.randrange(1, 20)) if is_short else (lambda: False)
        self._run.work_on(backfill_id, part, process=process, should_yield=should_yield)
        if process.is_dead:
            self._run.let_leases_run_out()

    # The end -------------------------------------------------------------------------------------------------------

    def become_quiet(self) -> None:
        """Nothing changes any more; events that were never delivered are swept."""
        self._is_alive = False
        if self._listens:
            undelivered = [event for event in self._account.events() if event["id"] not in self._delivered]
            self._record(self._rng.sample(undelivered, len(undelivered)))
        self._team.connection.execute(
            "UPDATE billstack.events SET next_attempt_at = now() - interval '1 second' WHERE team_id = %s",
            (self._team.id,),
        )
        while self._apply():
            pass
        if self._listens:
            source = source_of(self.stripe, page_size=self._run.page_size)
            reread(self._team.connection, self._team.id, source, is_over=lambda: False)

    def lies(self) -> list[str]:
        store = MirrorStore(self._team.connection, self._team.id)
        found = [f"{each.object_type}: {each}" for each in self._run.differences(*self._types)]
        for object_type in map(OBJECT_TYPES.__getitem__, self._types):
            for object_id in self._account.state.shelves[object_type.name].deleted:
                dead = row(store, object_id, object_type)
                if dead is not None and dead.deleted_at is None:
                    found.append(f"{object_id} is no tombstone")
        return found

    def miscounts(self, backfill_id: str) -> list[str]:
        """The count is how many different objects the lists met: all that stayed where they were, and no other."""
        synced = self._run.synced(backfill_id)
        found = []
        for object_type in map(OBJECT_TYPES.__getitem__, self._types):
            name, met = object_type.name, seen(self._run.mirror, object_type)
            shelf = self._account.state.shelves[name]
            steady = {record.id for record in shelf.timeline if not shelf.is_orphan(record)} - self._restless
            if synced[name] != len(met):
                found.append(f"{name}: {synced[name]} shown, {len(met)} met")
            if not steady <= met <= self._listed[name]:
                found.append(f"{name}: missed {steady - met}, made up {met - self._listed[name]}")
            unknown = self._team.connection.execute(
                sql.SQL("SELECT met FROM unnest(%s::text[]) AS met WHERE met NOT IN (SELECT id FROM {})").format(
                    sql.Identifier(self._team.schema, object_type.table)
                ),
                (list(met),),
            ).fetchall()
            if unknown:
                found.append(f"{name}: counted and not mirrored {unknown}")
        return found
