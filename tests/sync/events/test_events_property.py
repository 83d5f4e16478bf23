"""However edits, deliveries, pages, fetches, backfills and crashes interleave, what events leave behind is Stripe's state.

One thread, so that a seed gives the same run each time. What happens side by side in life happens here inside each other:
whenever something asks Stripe, other things may go on before the answer is written and after.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scripts.sandbox.changes import Changer
from sync.backfill.finish import EVENTS_MARGIN_S
from sync.backfill.parent_run import place_of
from sync.errors import LeaseLost, StripeRejected
from sync.events.applying import apply_batch, record_event
from sync.events.ledger import Ledger
from sync.mirror.page_writer import SplitPage, write_page
from sync.mirror.refresh import refresh
from sync.mirror.store import MirrorStore, PageToWrite, WindowKey
from sync.object_types import OBJECT_TYPES, UNDATED, ObjectType
from sync.stripe.lists import END_OF_CREATED
from sync.stripe.pages import Page
from sync.stripe.source import Source
from tests.factories import NOW, encoded
from tests.sync.backfilling import Backfilling, Killed
from tests.sync.conftest import Team, empty_team
from tests.sync.mirrored import open_window, row
from tests.sync.simulated_stripe import Request, mirrored_of, simulated_stripe, source_of

# Few objects, so that most of what happens happens to the same ones.
COUNTS = {"customer": 2, "product": 1, "price": 1, "subscription": 1, "invoice": 1, "charge": 0}
# One type of each kind of list that Stripe tells of.
COUNTS |= {"coupon": 1, "payment_link": 1, "payment_method": 2, "tax_id": 1}
MOST_NESTED = 2

# A seed says all there is to say, so nothing is gained by looking for a smaller one.
bounded = settings(
    max_examples=max(30, settings().max_examples // 2),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@bounded
@given(seed=st.integers(0, 2**32), steps=st.integers(40, 100))
def test_events_leave_the_mirror_as_stripe_is(team: Team, seed: int, steps: int) -> None:
    empty_team(team)
    run = _Run(team, random.Random(seed))
    run.mirror_all()

    for _ in range(steps):
        run.act()
    run.become_quiet()

    assert run.lies() == []


@dataclass
class _HeldPage:
    """A page that was read and is not written yet."""

    object_type: ObjectType
    key: WindowKey
    page: Page
    written: PageToWrite


class _Run:
    def __init__(self, team: Team, rng: random.Random) -> None:
        self._team = team
        self._store = MirrorStore(team.connection, team.id)
        self._rng = rng
        self._stripe = simulated_stripe(seed=rng.randrange(10**6), counts=COUNTS)
        self._account = self._stripe.account
        self._changer = Changer(self._account, seed=rng.randrange(10**6))
        self._source: Source = source_of(self._stripe, page_size=rng.choice([5, 100]))
        self._mirrored = mirrored_of(self._stripe)
        self._held: list[_HeldPage] = []
        self._delivered: set[str] = set()
        self._started = NOW  # of the running backfill
        self._shown_from: dict[str, int] = {}  # since when the newest page of an object makes up for lost events
        self._other_version = rng.choice([0, 0.2])
        self._depth = 0
        self._kill_after: int | None = None
        self._stripe.at_begin = self._stripe.at_end = self._meanwhile
        moves: list[tuple[int, Callable[[], object]]] = [
            (2, self._edit),
            (10, self._flip_flop),
            (6, self._let_time_pass),
            (10, self._deliver),
            (1, self._deliver_again),
            (10, self._apply),
            (4, self._hear_at_once),
            (1, self._apply_and_die),
            (6, self._read_page),
            (6, self._write_page),
            (3, self._refresh),
            (2, self._begin_backfill),
            (1, self._let_claims_run_out),
        ]
        # Each run has a character: what it does often and what never. All of everything would heal more than it hurts.
        self._moves = [move for _, move in moves]
        self._weights = [weight * rng.choice([0, 0.3, 1, 1, 3]) for weight, _ in moves]
        self._weights[0] += 1

    def act(self) -> None:
        self._rng.choices(self._moves, self._weights)[0]()

    def _meanwhile(self, request: Request) -> None:
        """At the beginning and at the end of each request."""
        if self._kill_after is not None:
            self._kill_after -= 1
            if self._kill_after < 0:
                self._kill_after = None
                raise Killed
        if self._depth < MOST_NESTED and self._rng.random() < 0.4:
            self._depth += 1
            try:
                for _ in range(self._rng.randint(1, 5)):
                    self.act()
            finally:
                self._depth -= 1

    # Stripe's side -------------------------------------------------------------------------------------------------

    def _edit(self) -> None:
        self._changer.make_one()

    def _flip_flop(self) -> None:
        """Between two states only, so that a later one often equals an earlier one."""
        customers = [each["id"] for each in self._account.objects("customer")]
        prices = [record.id for record in self._account.state.shelves["price"].timeline]
        for _ in range(self._rng.randint(1, 3)):
            if customers and self._rng.random() < 0.6:
                self._account.update("customer", self._rng.choice(customers), description=self._rng.choice(["A", "B"]))
            elif prices:
                self._account.update("price", self._rng.choice(prices), active=self._rng.random() < 0.5)
            self._stripe.clock.advance(self._rng.choice([0, 0, 0.4, 1, 2]))

    def _let_time_pass(self) -> None:
        self._stripe.clock.advance(self._rng.choice([0.3, 1, 2, 5, 61, 200]))

    # Deliveries ----------------------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        """Most of the news, in any order; what is left out comes late, some of it only at the end."""
        undelivered = [event for event in self._account.events() if event["id"] not in self._delivered]
        for event in self._rng.sample(undelivered, len(undelivered)):
            if self._rng.random() < 0.6:
                self._record(event)

    def _hear_at_once(self) -> None:
        self._flip_flop()
        self._deliver()
        self._apply()

    def _deliver_again(self) -> None:
        for event in self._rng.choices(self._account.events() or [{}], k=2):
            if event:
                self._record(event)

    def _record(self, event: dict) -> None:
        self._delivered.add(event["id"])
        if self._rng.random() < self._other_version:
            event = {**event, "api_version": "2024-06-20"}
        record_event(Ledger(self._team.connection, self._team.id), encoded(event), delivered=True)

    def _apply(self) -> bool:
        return bool(apply_batch(self._team.connection, self._team.id, self._source, self._mirrored))

    def _apply_and_die(self) -> None:
        if self._kill_after is None:
            self._kill_after = self._rng.randint(0, 4)
            try:
                self._apply()
            except Killed:
                return
            self._kill_after = None

    def _let_claims_run_out(self) -> None:
        self._team.connection.execute(
            "UPDATE billstack.events SET next_attempt_at = now() - interval '1 second' WHERE team_id = %s",
            (self._team.id,),
        )

    # Pages, fetches, backfills -------------------------------------------------------------------------------------

    def mirror_all(self) -> None:
        self._depth = MOST_NESTED
        for object_type in OBJECT_TYPES.values():
            for variant in object_type.variants:
                for parent_id in self._parents(object_type):
                    self._read(object_type, variant, parent_id)
                    self._write_page()
            for about in self._account.objects(object_type.name):  # inline prices stand in no list
                refresh(self._store, self._source, object_type, about["id"], parent_id=about.get("customer") or "")
        self._depth = 0

    def _read_page(self) -> None:
        object_type = OBJECT_TYPES[self._rng.choice(["customer"] * 4 + ["price"] * 2 + list(OBJECT_TYPES))]
        if parents := self._parents(object_type):
            self._read(object_type, self._rng.choice(object_type.variants), self._rng.choice(parents))

    def _parents(self, object_type: ObjectType) -> list[str]:
        """The customers under whom it is listed; "" for a list of its own."""
        return [each["id"] for each in self._account.objects("customer")] if object_type.parent else [""]

    def _read(self, object_type: ObjectType, variant: dict, parent_id: str) -> None:
        """The first page of its newest objects, in a window of its own."""
        try:
            page = self._source.caller.get(self._source.page_read(object_type, variant, parent_id))
        except StripeRejected:
            if object_type.parent:
                return  # its customer was deleted just now
            raise
        answers = self._source.complete(object_type, page.cut_ids(object_type), page.answer)
        key = open_window(self._store, object_type, lt=END_OF_CREATED)
        written = PageToWrite(
            body=page.answer.body,
            as_of=page.answer.as_of,
            as_of_until=max([page.answer.as_of_until, *(answer.as_of_until for answer in answers.values())]),
            has_more=page.has_more,
            place=place_of(parent_id) if parent_id else UNDATED,
            completed={id: answer.body for id, answer in answers.items()},
        )
        self._held.append(_HeldPage(object_type, key, page, written))

    def _write_page(self) -> None:
        if not self._held:
            return
        held = self._held.pop(self._rng.randrange(len(self._held)))
        started = self._started  # not of a backfill that begins while an object is asked for
        objects = SplitPage(held.page.heads, held.page.raw_objects)
        try:
            found = write_page(self._store, held.object_type, held.key, held.written, objects)
        except LeaseLost:
            return  # another backfill has begun meanwhile
        for object_id in found.overlapping:
            refresh(self._store, self._source, held.object_type, object_id)
        for head in held.page.heads:
            self._shown_from[head.id] = started

    def _refresh(self) -> None:
        """As the finish of a backfill does with a suspect."""
        object_type = self._rng.choice([OBJECT_TYPES["customer"], OBJECT_TYPES["price"], OBJECT_TYPES["subscription"]])
        known = [*self._account.objects(object_type.name), *({"id": id} for id in sorted(self._deleted(object_type)))]
        if known:
            refresh(self._store, self._source, object_type, self._rng.choice(known)["id"])

    def _begin_backfill(self) -> None:
        backfills = Backfilling(self._team, self._stripe).store
        backfills.cancel(self._team.id)
        backfills.start(self._team.id, list(OBJECT_TYPES), None, request_id=None)
        self._started = int(self._stripe.clock.now)

    # The end -------------------------------------------------------------------------------------------------------

    def become_quiet(self) -> None:
        """Pages in flight land or are lost, and what was never delivered is swept."""
        self._kill_after = None
        while self._held:
            self._write_page()
        self._depth = MOST_NESTED
        undelivered = [event for event in self._account.events() if event["id"] not in self._delivered]
        for event in self._rng.sample(undelivered, len(undelivered)):
            if not self._may_be_lost(event):
                self._record(event)
            if self._rng.random() < 0.3:
                self._apply()
        self._let_claims_run_out()
        while self._apply():
            pass

    def _may_be_lost(self, event: dict) -> bool:
        """For good: a backfill asks for events from a minute before its start; its pages have shown what came earlier."""
        about = event["data"]["object"]["id"]
        is_deletion = event["type"].endswith((".deleted", ".detached"))
        is_shown = event["created"] < self._shown_from.get(about, 0) - EVENTS_MARGIN_S
        return is_shown and not is_deletion and self._rng.random() < 0.7

    def _deleted(self, object_type: ObjectType) -> set[str]:
        return set(self._account.state.shelves[object_type.name].deleted)

    def lies(self) -> list[str]:
        told = [each.name for each in OBJECT_TYPES.values() if each.events and not each.is_reread]
        differences = Backfilling(self._team, self._stripe).differences(*told)
        found = [f"{each.object_type}: {each}" for each in differences]
        for object_type in OBJECT_TYPES.values():
            for object_id in self._deleted(object_type):
                dead = row(self._store, object_id, object_type)
                if dead is None and object_type.parent:
                    continue  # no event tells that its customer's deletion deleted it; it never was in the mirror
                if dead is None or dead.deleted_at is None:
                    found.append(f"{object_id} is no tombstone")
        return found


@pytest.mark.slow
@settings(bounded, max_examples=200)
@given(seed=st.integers(0, 2**32), steps=st.integers(80, 400))
def test_events_leave_the_mirror_as_stripe_is_after_long_runs(team: Team, seed: int, steps: int) -> None:
    empty_team(team)
    run = _Run(team, random.Random(seed))
    run.mirror_all()

    for _ in range(steps):
        run.act()
    run.become_quiet()

    assert run.lies() == []
