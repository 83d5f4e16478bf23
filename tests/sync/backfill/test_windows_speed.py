"""How near a plan comes to what the rate allows, and what it wastes: a simulation of one object type, event by event.

The limit is the larger of (pages - burst) / rate and one answer, or the chain of pages that one second needs.
"""

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sync.backfill.window_plan import WindowPlan
from sync.backfill.windows import Window
from tests.sync.listed_account import Answer, ListedAccount

RATE = 25
BURST = 25
ONE = 1 - 1e-9  # token, as floats count
YEAR = 31_557_600
MONTH = YEAR // 12
NOW = 1_790_000_000

Shape = Callable[[int, random.Random], list[int]]


def over(span: int) -> Shape:
    return lambda count, rng: [NOW - 1 - int(rng.random() * span) for _ in range(count)]


def doubling_each_year(count: int, rng: random.Random) -> list[int]:
    ages = (int(rng.expovariate(math.log(2) / YEAR)) for _ in range(count))
    return [NOW - 1 - min(age, 10 * YEAR) for age in ages]


def with_a_gap_of_90_days(count: int, rng: random.Random) -> list[int]:
    ages = (int(rng.random() * 10 * YEAR) for _ in range(count))
    return [NOW - 1 - (age + 90 * 86_400 if age > 3 * YEAR else age) for age in ages]


def bursts_each_month(count: int, rng: random.Random) -> list[int]:
    """Four fifths in the first hour of each of 120 months."""
    in_burst = [NOW - 1 - rng.randrange(120) * MONTH - rng.randrange(3_600) for _ in range(count * 4 // 5)]
    return in_burst + over(10 * YEAR)(count - len(in_burst), rng)


def with_a_second_of_2000(count: int, rng: random.Random) -> list[int]:
    return [NOW - 4 * YEAR] * 2_000 + over(10 * YEAR)(count - 2_000, rng)


def half_in_one_second(count: int, rng: random.Random) -> list[int]:
    return [NOW - 4 * YEAR] * (count // 2) + over(10 * YEAR)(count - count // 2, rng)


def nothing(count: int, rng: random.Random) -> list[int]:
    return []


@dataclass(frozen=True)
class Outcome:
    seconds: float
    requests: int


class Simulation:
    """A coordinator with a token bucket and lognormal latency; pages are written the moment they arrive."""

    def __init__(self, variants: list[list[int]], *, latency_s: float, seed: int) -> None:
        self.rng = random.Random(seed)
        self.latency_s = latency_s
        self.accounts = [ListedAccount(created) for created in variants]
        self.plan = WindowPlan(Window(number, number, 0, NOW, 0) for number in range(len(variants)))
        self.now = 0.0
        self.tokens = float(BURST)
        self.answers: list[tuple[float, int, Window, Answer]] = []
        self.requests = 0
        self.delivered: Counter[tuple[int, int]] = Counter()

    def run(self) -> Outcome:
        while not self.plan.is_finished:
            self.send()
            arrives = self.answers[0][0] if self.answers else math.inf
            next_token = self.now + (1 - self.tokens) / RATE if self.tokens < ONE else math.inf
            self.advance(min(arrives, next_token))
            if self.now == arrives:
                self.receive()
        return Outcome(self.now, self.requests)

    def send(self) -> None:
        while self.tokens >= ONE:
            window = self.plan.next_to_send()
            if window is None:
                split = self.plan.propose_split(tokens=self.tokens, rate=RATE, latency_s=self.latency_s)
                if split is None:
                    return
                self.plan.apply_split(split)
                continue
            self.tokens -= 1
            self.requests += 1
            arrives = self.now + self.latency_s * self.rng.lognormvariate(-0.045, 0.3)  # mean 1
            answer = self.accounts[window.variant].page(window)
            heapq.heappush(self.answers, (arrives, self.requests, window, answer))

    def receive(self) -> None:
        _, _, window, answer = heapq.heappop(self.answers)
        kept = (id for id, created in zip(answer.ids, answer.facts.created, strict=True) if created >= window.floor)
        self.delivered.update((window.variant, id) for id in kept)
        self.plan.page_arrived(window, answer.facts)

    def advance(self, until: float) -> None:
        self.tokens = min(BURST, self.tokens + (until - self.now) * RATE)
        self.now = until


def check(shapes: list[Shape], count: int, latency_s: float, times_limit: float, *, seeds: int) -> None:
    """`count` objects a variant: each delivered once, no request above the promise, and no slower than `times_limit`."""
    for seed in range(seeds):
        rng = random.Random(seed)
        variants = [shape(count, rng) for shape in shapes]
        pages = math.ceil(sum(map(len, variants)) / 100)
        fullest_second = max(Counter(created for each in variants for created in each).values())
        limit_s = max((pages - BURST) / RATE, latency_s, fullest_second / 100 * latency_s)
        simulation = Simulation(variants, latency_s=latency_s, seed=seed)

        outcome = simulation.run()

        assert set(simulation.delivered.values()) == {1}
        assert simulation.delivered.total() == sum(map(len, variants))
        assert outcome.requests <= 1.1 * pages + 20
        assert outcome.seconds <= times_limit * limit_s


# Tens of pages and few: an answer or more to find out where the objects are, and the rest at once. Latency is random,
# so even one request may take twice its mean.
@pytest.mark.parametrize("latency_s", [0.15, 2])
@pytest.mark.parametrize(
    ("shape", "count", "times_limit"),
    [
        (over(10 * YEAR), 10, 2),
        (over(10 * YEAR), 100, 2),
        (over(10 * YEAR), 101, 3.5),
        (over(MONTH), 101, 3.5),
        (over(10 * YEAR), 1_000, 6),
        (over(MONTH), 1_000, 7.5),
    ],
)
def test_small_accounts_take_few_answers(shape: Shape, count: int, times_limit: float, latency_s: float) -> None:
    check([shape], count, latency_s, times_limit, seeds=10)


def test_what_fits_a_page_is_one_request() -> None:
    assert Simulation([over(10 * YEAR)(100, random.Random(1))], latency_s=0.15, seed=1).run().requests == 1


@pytest.mark.parametrize(
    ("shape", "quick_times_limit", "heavy_times_limit"),
    [
        (over(10 * YEAR), 1.1, 2.1),
        (over(MONTH), 1.1, 2.2),
        (doubling_each_year, 1.1, 2.1),
        (with_a_gap_of_90_days, 1.1, 2.1),
        (bursts_each_month, 1.12, 3.5),
        (with_a_second_of_2000, 1.25, 1.8),
        (half_in_one_second, 1.35, 1.1),
    ],
)
def test_410_pages_come_at_nearly_the_allowed_rate(
    shape: Shape, quick_times_limit: float, heavy_times_limit: float
) -> None:
    check([shape], 41_000, 0.15, quick_times_limit, seeds=3)
    check([shape], 41_000, 2, heavy_times_limit, seeds=3)


@pytest.mark.parametrize("shape", [over(10 * YEAR), over(MONTH), bursts_each_month, nothing])
@pytest.mark.parametrize("count", [101, 1_000, 10_000])
def test_two_variants_share_one_promise(shape: Shape, count: int) -> None:
    check([over(MONTH), shape], count, 0.15, 14, seeds=5)
    check([over(MONTH), shape], count, 2, 14, seeds=5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "quick_times_limit", "heavy_times_limit"),
    [
        (over(10 * YEAR), 1.03, 1.1),
        (over(MONTH), 1.03, 1.1),
        (doubling_each_year, 1.03, 1.1),
        (bursts_each_month, 1.03, 1.4),
    ],
)
def test_4100_pages_come_at_the_allowed_rate(shape: Shape, quick_times_limit: float, heavy_times_limit: float) -> None:
    check([shape], 410_000, 0.15, quick_times_limit, seeds=2)
    check([shape], 410_000, 2, heavy_times_limit, seeds=2)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [over(10 * YEAR), over(MONTH), bursts_each_month, doubling_each_year])
@pytest.mark.parametrize("count", [500, 2_000, 5_000, 20_000])
def test_the_promise_holds_at_every_size(shape: Shape, count: int) -> None:
    for latency_s in (0.15, 0.6, 2, 5):
        check([shape], count, latency_s, 30, seeds=20)
        check([over(MONTH), shape], count // 2, latency_s, 30, seeds=20)
