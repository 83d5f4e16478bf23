"""Few workers share the parts of a backfill of every type: small types end first, none starves, parents' lists come last."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from sync.object_types import OBJECT_TYPES
from tests.sync.backfilling import MOST_TURNS, Backfilling, turns_of
from tests.sync.conftest import Team
from tests.sync.simulated_stripe import Budget, Request, SimulatedStripe, simulated_stripe, source_of

WORKERS = 3
PAGE_SIZE = 3
A_FEW_LOOKS = 6  # at the clock, until a turn is over
LARGE = {"customer": 60, "invoice": 70, "charge": 90, "balance_transaction": 80}
PARENTS = [each.name for each in OBJECT_TYPES.values() if each.parent]
SMALL = [name for name in OBJECT_TYPES if name not in LARGE and name not in PARENTS]
COUNTS = {**dict.fromkeys(SMALL, PAGE_SIZE + 2), **dict.fromkeys(PARENTS, 8), **LARGE, "product": 5}


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe(counts=COUNTS)


@pytest.fixture
def run(team: Team, stripe: SimulatedStripe) -> Backfilling:
    return Backfilling(team, stripe, page_size=PAGE_SIZE, budget=Budget())


@dataclass
class Workers:
    """They take parts from one queue, as workers/queues.py fills it: what nobody holds, in its order, each once."""

    run: Backfilling
    backfill_id: str
    queue: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)  # in the order in which they began
    ends: list[str] = field(default_factory=list)  # in the order in which they were done
    waited: dict[str, int] = field(default_factory=dict)  # the longest that a part's turn stood in the queue, in turns
    _since: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda _: self._work(), range(WORKERS)))

    def _work(self) -> None:
        for part in self._taken():
            if self.run.work_on(self.backfill_id, part, should_yield=turns_of(A_FEW_LOOKS)) == "done":
                self.ends.append(part)

    def _taken(self) -> Iterator[str]:
        idle = threading.Event()
        for _ in range(MOST_TURNS):
            with self._lock:
                if self.run.get(self.backfill_id).state != "running":
                    return
                self._enqueue()
                part = self.queue.pop(0) if self.queue else None
                if part:
                    self.waited[part] = max(self.waited.get(part, 0), len(self.turns) - self._since.pop(part))
                    self.turns.append(part)
            if part:
                yield part
            else:
                idle.wait(0.02)
        raise AssertionError("no end")

    def _enqueue(self) -> None:
        for due in self.run.due(self.backfill_id):
            if due.part not in self.queue:
                self.queue.append(due.part)
                self._since[due.part] = len(self.turns)


@pytest.fixture
def workers(run: Backfilling) -> Workers:
    """A backfill of all types has been run to its end."""
    made = Workers(run, run.start(*OBJECT_TYPES))
    made.work()
    assert run.get(made.backfill_id).state == "ready"
    return made


def test_small_types_end_first_and_no_turn_waits_longer_than_all_others_together(workers: Workers) -> None:
    at = {part: place for place, part in enumerate(workers.ends)}
    turns = Counter(workers.turns)

    assert all(turns[name] > 3 for name in LARGE), "they need several turns"
    assert max(at[name] for name in SMALL) < min(at[name] for name in LARGE)
    assert max(workers.waited.values()) <= len(OBJECT_TYPES) + 2
    assert workers.run.differences(*OBJECT_TYPES) == []


def test_what_is_listed_by_customer_gives_way_to_all_other_types(workers: Workers) -> None:
    first = {name: workers.turns.index(name) for name in (*LARGE, *SMALL, *PARENTS) if name in workers.turns}
    end_of_customers = workers.ends.index("customer")

    assert all(workers.ends.index(name) > end_of_customers for name in PARENTS)
    assert min(first[name] for name in PARENTS) > max(first[name] for name in first if name not in PARENTS)
    assert workers.ends[-1] == "finish"


def test_a_parents_list_waits_in_line_for_the_budget_and_what_people_wait_for_does_not(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    run.run(run.start("customer", "payment_method"))
    asked = zip(run.budget.reserved, run.budget.urgent, strict=True)
    assert {urgent for endpoint, urgent in asked if endpoint == "list_payment_methods"} == {False}

    budget, a_customer = Budget(), stripe.account.objects("customer")[0]["id"]
    source_of(stripe, budget=budget).fetch(OBJECT_TYPES["customer"], a_customer)

    assert budget.urgent == [True]


def test_while_others_wait_a_parents_turn_ends_and_the_requests_under_way_are_kept(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    """Its turn is as short as any other's (workers/jobs/backfill.py): nobody waits for a whole list of customers."""
    backfill_id = run.start("customer", "payment_method")
    for part in ("opening", "customer"):
        run.work_on(backfill_id, part)
    stripe.requests.clear()

    assert run.work_on(backfill_id, "payment_method", should_yield=turns_of(1)) == "yielded"

    assert 0 < len(_of_customers(stripe.requests)) < LARGE["customer"]
    before = _of_customers(stripe.requests)
    run.run(backfill_id)
    assert len(_of_customers(stripe.requests)) == len(set(_of_customers(stripe.requests))) >= len(before)


def _of_customers(requests: list[Request]) -> list[str]:
    return [
        each.path for each in requests if each.path.endswith("/payment_methods") and "starting_after" not in each.params
    ]
