"""What the budget makes of a simulated Stripe: real limiter, real Valkey, many fetchers, other clients; no real time."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest
import redis

from tests.workers.redis.simulated_time import SimulatedTime
from workers.redis.limiter import Limiter, Rates

ACCOUNT = "acct_1"
SIX_TYPES = tuple(f"list_{number}" for number in range(6))
FETCHERS = 64
LATENCY_S = 0.15
AWAKE_LATE_S = 0.005  # by about so much a thread oversleeps
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 11))]


class Bucket:
    """Stripe's own: holds one second's worth, and starts full."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.tokens = rate
        self.at = 0.0

    def has_token(self, now: float) -> bool:
        self.tokens = min(self.rate, self.tokens + self.rate * (now - self.at))
        self.at = now
        return self.tokens >= 1


@dataclass
class Stripe:
    """Answers None, or why it turned a request away."""

    account_rps: float = 100.0
    endpoint_rps: float = 25.0
    endpoints: dict[str, Bucket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.account = Bucket(self.account_rps)

    def request(self, now: float, endpoint: str) -> str | None:
        bucket = self.endpoints.setdefault(endpoint, Bucket(self.endpoint_rps))
        if not self.account.has_token(now):
            return "global-rate"
        if not bucket.has_token(now):
            return "endpoint-rate"
        self.account.tokens -= 1
        bucket.tokens -= 1
        return None


class Traffic:
    """Fetchers of ours and foreign clients, at one account of one Stripe; counts what ours got, second by second."""

    def __init__(self, redis_url: str, rates: Rates, stripe: Stripe, seed: int) -> None:
        self.time = SimulatedTime()
        self.stripe = stripe
        self.random = random.Random(seed)
        self.answered: Counter[int] = Counter()
        self.turned_away: Counter[int] = Counter()
        self.client = redis.Redis.from_url(redis_url)
        self.limiter = Limiter(self.client, rates, sleep=self.time.sleep, now=self.time.clock)

    def add_fetchers(self, endpoints: tuple[str, ...], each: int = FETCHERS) -> None:
        for endpoint in endpoints:
            for _ in range(each):
                self.time.start(partial(self.fetch, endpoint))

    def add_foreign(self, rps: float, endpoints: tuple[str, ...] = ("a", "b", "c", "d"), until: float = 1e9) -> None:
        self.time.start(partial(self.send_foreign, rps, endpoints, until))

    def add_urgent_reads(self, waits: list[float]) -> None:
        self.time.start(partial(self.read_urgently, waits))

    def fetch(self, endpoint: str) -> None:
        while True:
            reservation = self.limiter.reserve(ACCOUNT, endpoint, livemode=True)
            self.time.sleep(reservation.wait_s + abs(self.random.gauss(0, AWAKE_LATE_S)) + self.half_latency_s())
            reason = self.stripe.request(self.time.now, endpoint)
            (self.turned_away if reason else self.answered)[int(self.time.now)] += 1
            self.time.sleep(self.half_latency_s())
            if reason:
                self.limiter.slow_down(ACCOUNT, endpoint, reason, livemode=True)
                self.time.sleep(self.random.uniform(0, 0.5))

    def send_foreign(self, rps: float, endpoints: tuple[str, ...], until: float) -> None:
        while self.time.now < until:
            self.stripe.request(self.time.now, self.random.choice(endpoints))
            self.time.sleep(self.random.expovariate(rps))

    def read_urgently(self, waits: list[float]) -> None:
        while True:
            self.time.sleep(0.2)
            asked_at = self.time.now
            wait_s = self.limiter.reserve(ACCOUNT, "retrieve_customer", livemode=True, urgent=True).wait_s
            waits.append(self.time.now - asked_at + wait_s)

    def half_latency_s(self) -> float:
        return LATENCY_S / 2 * self.random.lognormvariate(0, 0.3)

    def share_of_429s(self) -> float:
        turned_away = self.turned_away.total()
        return turned_away / (turned_away + self.answered.total())

    def rate(self, since: int, until: int) -> float:
        """Answered requests a second."""
        return sum(self.answered[second] for second in range(since, until)) / (until - since)


NewTraffic = Callable[..., Traffic]


@pytest.fixture
def new_traffic(redis_url: str) -> Iterator[NewTraffic]:
    opened: list[Traffic] = []

    def open_traffic(rates: Rates | None = None, stripe: Stripe | None = None, seed: int = 1) -> Traffic:
        opened.append(Traffic(redis_url, rates or Rates(), stripe or Stripe(), seed))
        return opened[-1]

    yield open_traffic
    for traffic in opened:
        traffic.client.close()


@pytest.mark.parametrize(
    ("rates", "expected"), [(Rates(), 80), (Rates(account_rps=100, endpoint_rps=25), 100)], ids=["defaults", "all"]
)
def test_alone_on_the_account_all_of_the_rate_is_used_and_nothing_is_turned_away(
    new_traffic: NewTraffic, rates: Rates, expected: float
):
    traffic = new_traffic(rates)
    traffic.add_fetchers(SIX_TYPES)

    traffic.time.run(until=30)

    assert traffic.turned_away.total() == 0
    assert traffic.rate(1, 30) >= expected * 0.98


@pytest.mark.slow
def test_two_teams_on_one_account_share_it_without_429s(new_traffic: NewTraffic):
    traffic = new_traffic()
    for _ in range(2):
        traffic.add_fetchers(SIX_TYPES)

    traffic.time.run(until=20)

    assert traffic.turned_away.total() == 0
    assert traffic.rate(1, 20) >= 80 * 0.98


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("teams", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_beside_a_client_that_takes_half_of_the_account_at_most_one_in_a_hundred_is_turned_away(
    new_traffic: NewTraffic, teams: int, seed: int
):
    traffic = new_traffic(seed=seed)
    traffic.add_foreign(50)
    for _ in range(teams):
        traffic.add_fetchers(SIX_TYPES, each=FETCHERS // teams)

    traffic.time.run(until=100)

    assert traffic.share_of_429s() <= 0.01  # from the first request on, before anything is known of the other
    assert traffic.rate(0, 100) >= 50 * 0.9


@pytest.mark.parametrize("seed", SEEDS)
def test_beside_a_client_that_takes_half_of_one_endpoint_the_others_keep_their_rate(new_traffic: NewTraffic, seed: int):
    traffic = new_traffic(seed=seed)
    traffic.add_foreign(12.5, endpoints=SIX_TYPES[:1])
    traffic.add_fetchers(SIX_TYPES[:3])

    traffic.time.run(until=100)

    assert traffic.share_of_429s() <= 0.01
    assert traffic.rate(0, 100) >= (12.5 + 20 + 20) * 0.9


@pytest.mark.slow
def test_when_the_other_client_leaves_full_speed_is_back_within_30_seconds(new_traffic: NewTraffic):
    traffic = new_traffic()
    traffic.add_foreign(50, until=40)
    traffic.add_fetchers(SIX_TYPES)

    traffic.time.run(until=75)

    assert traffic.rate(70, 75) >= 80 * 0.98


def test_an_urgent_read_waits_a_quarter_of_a_second_at_most_beside_384_fetchers(new_traffic: NewTraffic):
    waits: list[float] = []
    traffic = new_traffic()
    traffic.add_fetchers(SIX_TYPES)
    traffic.add_urgent_reads(waits)

    traffic.time.run(until=20)

    assert len(waits) > 50
    assert max(waits) <= 0.25
