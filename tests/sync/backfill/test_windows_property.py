"""However answers, failures, crashes and lost cursors interleave, the windows of a plan read every object."""

import math
import random
from collections import Counter, deque
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from sync.backfill.progress import ProgressEstimate
from sync.backfill.window_plan import WindowPlan
from sync.backfill.windows import Reopening, Split, Window
from tests.sync.listed_account import Answer, ListedAccount, LostCursor

UPPER = 1_000_000

# From when on, how many, over how many seconds: ties, bursts, gaps and even stretches.
clusters = st.lists(
    st.tuples(st.integers(0, UPPER - 1), st.integers(1, 60), st.sampled_from([1, 3, 1_000, UPPER])), max_size=8
)


@given(
    variants=st.lists(clusters, min_size=1, max_size=2),
    seed=st.integers(0, 2**32),
    page_size=st.integers(2, 10),  # a page of one object has no density
    likely_start=st.sampled_from([0, UPPER // 2, UPPER]),
    trouble=st.sampled_from([0, 0.02, 0.2]),
)
def test_every_object_is_read_within_the_promised_requests(
    variants: list[list[tuple[int, int, int]]], seed: int, page_size: int, likely_start: int, trouble: float
) -> None:
    rng = random.Random(seed)
    created = [_created_in(clusters, rng) for clusters in variants]
    run = _Run([ListedAccount(each, page_size) for each in created], rng, page_size, likely_start)

    while not run.is_over:
        run.send()
        if run.asking and rng.random() < trouble:
            rng.choice([run.fail, run.crash, run.lose_a_cursor])()
        elif run.asking and (not run.unwritten or rng.random() < 0.6):
            run.answer()
        elif run.unwritten:
            run.write()
        run.check_progress()

    every = {(variant, id) for variant, each in enumerate(created) for id in range(len(each))}
    assert set(run.delivered) == every
    twice = {(variant, created[variant][id]) for (variant, id), times in run.delivered.items() if times > 1}
    assert twice <= run.reopened, "only the second that a lost cursor stood in is read again"
    assert run.requests - run.excused <= 1.1 * math.ceil(run.delivered.total() / page_size) + 20
    assert run.progress == 1


def _created_in(clusters: list[tuple[int, int, int]], rng: random.Random) -> list[int]:
    return sorted(min(UPPER - 1, start + rng.randrange(spread)) for start, n, spread in clusters for _ in range(n))


@dataclass
class _Run:
    """A coordinator whose rows lag behind its plan: a crash loses what is in flight or not yet written."""

    accounts: list[ListedAccount]
    rng: random.Random
    page_size: int
    likely_start: int
    asking: list[Window] = field(default_factory=list)
    unwritten: deque[tuple[int, Answer | Reopening]] = field(default_factory=deque)
    filters: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)  # under which a cursor was got
    delivered: Counter[tuple[int, int]] = field(default_factory=Counter)
    reopened: set[tuple[int, int]] = field(default_factory=set)
    requests: int = 0
    excused: int = 0  # of these, the ones that failed or whose answers a crash lost
    progress: float = 0.0

    def __post_init__(self) -> None:
        self.rows = {number: Window(number, number, 0, UPPER, 0) for number in range(len(self.accounts))}
        self.start()

    def start(self) -> None:
        rows = [replace(row) for row in self.rows.values()]
        self.plan = WindowPlan(rows, max_in_flight=12, page_size=self.page_size, likely_start=self.likely_start)
        self.estimate = ProgressEstimate(self.progress)

    @property
    def is_over(self) -> bool:
        return self.plan.is_finished and not self.unwritten

    def send(self) -> None:
        for tokens in range(self.rng.randrange(12), 0, -1):
            window = self.plan.next_to_send() or self.split(tokens)
            if window is None:
                return
            if window.cursor is not None:
                assert self.filters[window.number, window.cursor] == (window.gte, window.lt)
            self.asking.append(window)
            self.requests += 1

    def split(self, tokens: int) -> Window | None:
        split = self.plan.propose_split(tokens=tokens, rate=25, latency_s=0.4)
        if split is None:
            return None
        oldest = self.plan.windows[split.giver].oldest
        assert oldest is not None
        assert split.mid <= oldest, "what was answered before stays the giver's"
        self.write_split(split)
        self.plan.apply_split(split)
        return self.plan.next_to_send()

    def write_split(self, split: Split) -> None:
        giver = self.rows[split.giver]
        assert giver.floor == split.floor < split.mid
        assert not giver.done
        giver.floor = split.mid
        self.rows[split.number] = Window(split.number, split.variant, split.floor, split.mid, split.floor)

    def answer(self) -> None:
        window = self.asking.pop(self.rng.randrange(len(self.asking)))
        try:
            answer = self.accounts[window.variant].page(window)
        except LostCursor:
            self.excused += 1
            self.unwritten.append((window.number, self.plan.reopen(window)))
            self.reopened.add((window.variant, window.lt - 1))
            return
        if answer.facts.last_id is not None:
            self.filters[window.number, answer.facts.last_id] = (window.gte, window.lt)
        self.plan.page_arrived(window, answer.facts)
        self.unwritten.append((window.number, answer))

    def write(self) -> None:
        """As the page's transaction does: the floor is the row's as of now."""
        number, answer = self.unwritten.popleft()
        row = self.rows[number]
        if isinstance(answer, Reopening):
            row.gte, row.lt, row.cursor = answer.gte, answer.lt, None
            return
        facts = answer.facts
        kept = [id for id, created in zip(answer.ids, facts.created, strict=True) if created >= row.floor]
        self.delivered.update((row.variant, id) for id in kept)
        row.pages += 1
        row.met += len(kept)
        row.done = not facts.has_more or facts.created[-1] < row.floor
        if facts.created:
            row.newest = facts.created[0] if row.newest is None else row.newest
            row.oldest, row.cursor = facts.created[-1], facts.last_id

    def fail(self) -> None:
        self.excused += 1
        self.plan.request_failed(self.asking.pop(self.rng.randrange(len(self.asking))))

    def crash(self) -> None:
        self.excused += len(self.asking) + len(self.unwritten)
        self.asking.clear()
        self.unwritten.clear()
        self.start()

    def lose_a_cursor(self) -> None:
        """Deletes an object that a stored cursor names; stored with the page that delivered it."""
        cursors = [(row.variant, int(row.cursor)) for row in self.rows.values() if row.cursor and not row.done]
        if cursors:
            variant, id = self.rng.choice(cursors)
            self.accounts[variant].delete(id)

    def check_progress(self) -> None:
        remaining = self.plan.estimated_remaining()
        shown = self.estimate.advance(met=self.plan.met, remaining=remaining, is_finished=self.plan.is_finished)
        assert self.progress <= shown <= 1
        assert math.isfinite(remaining)
        self.progress = shown
