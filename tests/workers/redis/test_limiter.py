"""The rules of the request budget, on a clock that the tests turn; and on a real Valkey under many threads."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import fakeredis
import pytest
import redis

from workers.redis.limiter import AWAY_RETRY_S, BURST_S, NEWCOMER_REACH_S, FallbackLimiter, Limiter, Rates, Reservation

ACCOUNT = "acct_1"
CUSTOMERS = "list_customers"
PRICES = "list_prices"
RATES = Rates(account_rps=80.0, endpoint_rps=20.0)
NOT_LIMITED = 100_000.0


@dataclass
class Clock:
    now: float = 1_760_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


@pytest.fixture
def client(server: fakeredis.FakeServer) -> Iterator[redis.Redis]:
    with fakeredis.FakeRedis(server=server) as connection:
        yield connection


@pytest.fixture
def limiter(client: redis.Redis, clock: Clock) -> Limiter:
    return Limiter(client, RATES, sleep=clock.sleep, now=clock)


def reserve(limiter: Limiter, endpoint: str = CUSTOMERS, *, urgent: bool = False) -> Reservation:
    return limiter.reserve(ACCOUNT, endpoint, livemode=True, urgent=urgent)


def slow_down(limiter: Limiter, reason: str | None, endpoint: str = CUSTOMERS) -> None:
    limiter.slow_down(ACCOUNT, endpoint, reason, livemode=True)


def spend_burst(limiter: Limiter, endpoint: str = CUSTOMERS) -> int:
    """How many may be sent without waiting."""
    count = 0
    while reserve(limiter, endpoint).wait_s == 0:
        count += 1
    return count


def rate_at(limiter: Limiter, clock: Clock, seconds: float, endpoint: str = CUSTOMERS) -> float:
    """The rate in force that many seconds from now."""
    clock.sleep(seconds)
    return reserve(limiter, endpoint, urgent=True).rate


# ---- looked at by a person


def test_a_look_shows_how_both_buckets_stand(limiter: Limiter, clock: Clock):
    spend_burst(limiter)

    account, customers, prices = limiter.look(ACCOUNT, [CUSTOMERS, PRICES], livemode=True)

    assert (account.configured, account.rate, account.cut_s) == (80, 80, None)
    assert (customers.configured, customers.rate) == (20, 20)
    assert account.tokens == pytest.approx(40 - 11)
    assert customers.tokens == pytest.approx(-1), "one is reserved ahead"
    assert (prices.tokens, prices.lately) == (10, 0), "never used: full"


def test_a_look_changes_nothing(limiter: Limiter, client: redis.Redis, clock: Clock):
    spend_burst(limiter)
    slow_down(limiter, "endpoint-rate")
    before = {key: (client.hgetall(key), client.pttl(key) > 0) for key in client.scan_iter()}
    clock.sleep(1)

    limiter.look(ACCOUNT, [CUSTOMERS, PRICES], livemode=True)

    assert {key: (client.hgetall(key), client.pttl(key) > 0) for key in client.scan_iter()} == before


def test_requests_lately_come_to_the_rate_that_is_sent(limiter: Limiter, clock: Clock):
    for _ in range(20 * 30):
        clock.sleep(reserve(limiter).wait_s)
    account, customers = limiter.look(ACCOUNT, [CUSTOMERS], livemode=True)
    clock.sleep(5)
    _, later = limiter.look(ACCOUNT, [CUSTOMERS], livemode=True)

    assert customers.lately == pytest.approx(20, rel=0.05)
    assert account.lately == pytest.approx(customers.lately, rel=0.01)
    assert later.lately == pytest.approx(customers.lately * 0.368, rel=0.01), "a silence fades it"


def test_a_look_shows_the_last_cut_and_the_way_back(limiter: Limiter, clock: Clock):
    reserve(limiter)
    slow_down(limiter, "endpoint-rate")
    clock.sleep(0.5)

    account, customers = limiter.look(ACCOUNT, [CUSTOMERS], livemode=True)

    assert (account.rate, account.cut_s) == (80, None)
    assert customers.cut_s == pytest.approx(0.5, abs=0.001)
    assert 16 <= customers.rate < 20


# ---- one bucket, two buckets


def test_half_a_second_of_requests_may_go_at_once_and_the_next_are_evenly_spaced(limiter: Limiter):
    at_once = [reserve(limiter) for _ in range(10)]

    next_ones = [reserve(limiter), reserve(limiter)]

    assert [reservation.wait_s for reservation in at_once] == [0.0] * 10
    assert [reservation.tokens for reservation in at_once] == list(range(9, -1, -1))
    assert [reservation.wait_s for reservation in next_ones] == pytest.approx([0.05, 0.10])


def test_several_tokens_are_given_at_once_while_as_many_stay_free(limiter: Limiter):
    counts = [limiter.reserve(ACCOUNT, CUSTOMERS, livemode=True, most=4).count for _ in range(6)]

    assert counts == [4, 3, 1, 1, 1, 1]


def test_tokens_given_together_are_no_more_than_those_given_one_by_one(limiter: Limiter, clock: Clock):
    sent, until = 0, clock() + 10
    while clock() < until:
        reservation = limiter.reserve(ACCOUNT, CUSTOMERS, livemode=True, most=4)
        clock.now += reservation.wait_s
        sent += reservation.count

    assert sent <= 10 * 20 + 10 + 1


def test_one_endpoint_at_its_limit_leaves_the_account_to_the_others(limiter: Limiter):
    spend_burst(limiter, CUSTOMERS)

    prices = reserve(limiter, PRICES)

    assert prices.wait_s == 0


def test_all_endpoints_together_stay_inside_the_account(limiter: Limiter):
    at_once = [reserve(limiter, f"endpoint_{number % 6}") for number in range(40)]

    next_one = reserve(limiter, "endpoint_7")

    assert [reservation.wait_s for reservation in at_once] == [0.0] * 40
    assert next_one.wait_s == pytest.approx(1 / 80)


def test_over_ten_seconds_exactly_the_configured_rate_and_one_burst_are_sent(limiter: Limiter, clock: Clock):
    start = clock.now

    for _ in range(10 + 10 * 20):
        clock.sleep(reserve(limiter).wait_s)

    assert clock.now - start == pytest.approx(10, abs=0.001)


def test_two_teams_on_one_account_share_its_budget(client: redis.Redis, clock: Clock):
    one, other = (Limiter(client, RATES, now=clock) for _ in range(2))
    spend_burst(one)

    assert reserve(other).wait_s > 0


@pytest.mark.parametrize(("account_id", "livemode"), [("acct_2", True), (ACCOUNT, False)])
def test_other_accounts_and_the_other_mode_have_budgets_of_their_own(limiter: Limiter, account_id: str, livemode: bool):
    spend_burst(limiter)

    assert limiter.reserve(account_id, CUSTOMERS, livemode=livemode).wait_s == 0


@pytest.mark.parametrize(("livemode", "expected"), [(True, 80.0), (False, 20.0)])
def test_the_account_rate_defaults_to_what_its_mode_allows(client: redis.Redis, livemode: bool, expected: float):
    limiter = Limiter(client, Rates(endpoint_rps=NOT_LIMITED))

    assert limiter.reserve(ACCOUNT, CUSTOMERS, livemode=livemode).rate == expected


# ---- standing in line


def test_nobody_reserves_far_ahead_but_all_get_their_turn(limiter: Limiter, clock: Clock):
    start = clock.now
    waits = []

    for _ in range(50):
        waits.append(reserve(limiter).wait_s)  # asks again at once, as many fetchers together would

    assert max(waits) <= 0.2
    assert clock.now + waits[-1] - start == pytest.approx((50 - 20 * BURST_S) / 20, abs=0.25)


def test_who_is_sent_away_takes_no_token(client: redis.Redis, clock: Clock):
    places: list[float] = []
    limiter = Limiter(client, RATES, sleep=lambda wait_s: leave(places, wait_s), now=clock)
    reserve_all_within_reach(limiter)
    for _ in range(20):
        with pytest.raises(Gone):
            reserve(limiter)

    clock.sleep(NEWCOMER_REACH_S)  # only what had been reserved within reach is to be worked off

    assert reserve(limiter).wait_s == pytest.approx(0.05, abs=0.001)
    assert places == sorted(places)  # and each was given a later place than the one before


def test_an_urgent_read_goes_right_behind_what_is_reserved(client: redis.Redis, clock: Clock):
    limiter = Limiter(client, RATES, sleep=lambda wait_s: leave([], wait_s), now=clock)
    reserve_all_within_reach(limiter)

    assert reserve(limiter, urgent=True).wait_s <= NEWCOMER_REACH_S + 0.05 + 1e-6


class Gone(Exception):
    """A caller that was sent to stand in line, and left."""


def leave(places: list[float], wait_s: float) -> None:
    """For a limiter's `sleep`."""
    places.append(wait_s)
    raise Gone


def reserve_all_within_reach(limiter: Limiter) -> None:
    with suppress(Gone):
        while True:
            reserve(limiter)


# ---- cuts


@pytest.mark.parametrize(
    ("reason", "same_endpoint", "other_endpoint"),
    [
        ("endpoint-rate", 16, 20),
        ("endpoint-concurrency", 16, 20),
        ("resource-specific", 16, 20),
        ("global-rate", 16, 16),
        ("global-concurrency", 16, 16),
        (None, 19, 20),
        ("something-new", 19, 20),
    ],
)
def test_the_reason_says_which_bucket_is_cut(
    client: redis.Redis, clock: Clock, reason: str | None, same_endpoint: float, other_endpoint: float
):
    limiter = Limiter(client, Rates(account_rps=20.0, endpoint_rps=20.0), now=clock)

    slow_down(limiter, reason, CUSTOMERS)

    assert reserve(limiter, CUSTOMERS, urgent=True).rate == pytest.approx(same_endpoint, abs=0.01)
    assert reserve(limiter, PRICES, urgent=True).rate == pytest.approx(other_endpoint, abs=0.01)


def test_a_bucket_is_cut_at_most_once_a_second(limiter: Limiter, clock: Clock):
    for _ in range(10):
        slow_down(limiter, "endpoint-rate")
        clock.sleep(0.09)

    assert reserve(limiter, urgent=True).rate > 16


def test_after_a_cut_nothing_goes_for_half_a_second(limiter: Limiter):
    slow_down(limiter, "endpoint-rate")

    assert reserve(limiter, urgent=True).wait_s == pytest.approx(0.5 + 1 / 16, abs=0.001)


def test_a_lone_429_is_forgotten_after_five_seconds_of_calm(limiter: Limiter, clock: Clock):
    slow_down(limiter, "endpoint-rate")

    rates = [rate_at(limiter, clock, 0.5) for _ in range(10)]

    assert rates == sorted(rates)
    assert rates[4] == pytest.approx(18, abs=0.01)  # halfway after half of the time
    assert rates[-1] == 20


def test_a_second_cut_falls_to_what_got_through_since_the_first(limiter: Limiter, clock: Clock):
    slow_down(limiter, "endpoint-rate")
    for _ in range(20):  # of 10 requests/s that were sent for two seconds
        clock.sleep(0.1)
        reserve(limiter, urgent=True)
    before = reserve(limiter, urgent=True).rate

    slow_down(limiter, "endpoint-rate")

    assert before > 17
    assert reserve(limiter, urgent=True).rate == pytest.approx(
        before * 0.6 * 8 / 9, abs=0.01
    )  # 40% at most, and 20% below it
    assert rate_at(limiter, clock, 5) == pytest.approx(before * 0.6, abs=0.01)  # and it climbs half as fast


def test_cuts_that_never_end_leave_a_trickle_and_calm_brings_all_back(limiter: Limiter, clock: Clock):
    for _ in range(60):
        slow_down(limiter, "endpoint-rate")
        clock.sleep(1)

    assert 0.3 < reserve(limiter, urgent=True).rate < 0.5
    assert rate_at(limiter, clock, 30) == 20


# ---- what Redis does to it


def test_a_redis_that_lost_everything_starts_with_one_burst(limiter: Limiter, client: redis.Redis):
    spend_burst(limiter)
    client.flushall()

    assert spend_burst(limiter) == 20 * BURST_S


def test_a_redis_clock_that_was_set_back_stops_nobody(limiter: Limiter, clock: Clock):
    slow_down(limiter, "endpoint-rate")
    spend_burst(limiter)

    clock.sleep(-3600)

    assert reserve(limiter, urgent=True).wait_s < 1
    assert rate_at(limiter, clock, 1) == 20


def test_keys_expire_and_share_a_cluster_slot(limiter: Limiter, client: redis.Redis):
    reserve(limiter)

    keys = sorted(client.scan_iter())

    assert keys == [b"billstack:budget:{acct_1}:live", b"billstack:budget:{acct_1}:live:list_customers"]
    assert all(0 < client.pttl(key) <= 60_000 for key in keys)


def test_redis_away_is_an_error(limiter: Limiter, server: fakeredis.FakeServer):
    server.connected = False

    with pytest.raises(redis.RedisError):
        reserve(limiter)


def test_the_fallback_goes_on_at_a_quarter_while_redis_is_away(
    limiter: Limiter, server: fakeredis.FakeServer, clock: Clock
):
    fallback = FallbackLimiter(limiter, RATES, clock=clock)
    server.connected = False

    customers = [fallback.reserve(ACCOUNT, CUSTOMERS, livemode=True) for _ in range(3)]
    prices = fallback.reserve(ACCOUNT, PRICES, livemode=True)
    fallback.slow_down(ACCOUNT, CUSTOMERS, "global-rate", livemode=True)

    assert [reservation.wait_s for reservation in customers] == pytest.approx([0.0, 0.2, 0.4])
    assert customers[0].rate == 5.0
    assert prices.wait_s == pytest.approx(3 / 20)  # the account's quarter


def test_the_fallback_asks_redis_again_after_a_while(limiter: Limiter, server: fakeredis.FakeServer, clock: Clock):
    fallback = FallbackLimiter(limiter, RATES, clock=clock)
    server.connected = False
    fallback.reserve(ACCOUNT, CUSTOMERS, livemode=True)
    server.connected = True

    still_alone = fallback.reserve(ACCOUNT, CUSTOMERS, livemode=True)
    clock.sleep(AWAY_RETRY_S)
    back = fallback.reserve(ACCOUNT, CUSTOMERS, livemode=True)

    assert (still_alone.rate, back.rate) == (5.0, 20.0)


# ---- a real Valkey


def admitted_at_once(limiter: Limiter, threads: int, attempts: int) -> int:
    """How many of all attempts, made by many threads at one moment, get a token."""

    def attempt(number: int) -> bool:
        try:
            reserve(limiter, f"endpoint_{number}")
        except Gone:
            return False
        return True

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(attempt, range(attempts)))


def test_twenty_threads_get_exactly_what_is_there(redis_url: str, clock: Clock):
    with redis.Redis.from_url(redis_url) as client:
        limiter = Limiter(client, RATES, sleep=lambda wait_s: leave([], wait_s), now=clock)

        admitted = []
        for _ in range(3):
            admitted.append(admitted_at_once(limiter, threads=20, attempts=200))
            clock.sleep(1)

    assert admitted[0] == 80 * (BURST_S + NEWCOMER_REACH_S)
    # In a second 80 tokens come in: 8 pay for what was reserved ahead, 40 are kept, 8 may be reserved ahead again.
    assert admitted[1:] == [80 * (BURST_S + NEWCOMER_REACH_S)] * 2


def test_twenty_threads_send_at_the_configured_rate_on_redis_own_clock(redis_url: str):
    rates = Rates(account_rps=200.0, endpoint_rps=NOT_LIMITED)
    with redis.Redis.from_url(redis_url) as client:
        for _ in range(3):  # a busy machine may be too slow to send as many, but hardly three times
            client.flushdb()
            sent, elapsed_s = send_for(Limiter(client, rates), threads=20, seconds=1.5)
            assert sent <= 200 * (elapsed_s + BURST_S) + 1
            if sent >= 200 * 1.5 * 0.9:
                break

    assert sent >= 200 * 1.5 * 0.9


def send_for(limiter: Limiter, *, threads: int, seconds: float) -> tuple[int, float]:
    start = time.monotonic()

    def send() -> int:
        count = 0
        while time.monotonic() < start + seconds:
            time.sleep(reserve(limiter).wait_s)
            count += 1
        return count

    with ThreadPoolExecutor(threads) as pool:
        counts = [pool.submit(send) for _ in range(threads)]
    return sum(future.result() for future in counts), time.monotonic() - start
