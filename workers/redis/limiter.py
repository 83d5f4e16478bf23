"""Hands out a Stripe account's request budget to all workers and hosts. workers/redis/limiter.lua keeps the buckets.

Other clients of the account share Stripe's limit, and only a 429 shows how much they use. Stripe's own bucket also
hides for seconds that we send too much. In a simulation beside a client with half of the limit, "back to full within 5
s of each cut" got 2 to 3.5% of our requests answered with 429. This rule got 0.3 to 0.8%, while using at least 96% of
what was left: fall to the rate that *got through* since the last cut, climb slowly around that level, and slower after
each cut that soon follows. So a lone 429 is forgotten after 5 s. After another client leaves, full speed takes up to 30
s. (tests/workers/redis/test_limiter_simulation.py)
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import structlog

# Stripe allows 100 requests/s live and 25 in a sandbox (https://docs.stripe.com/rate-limits). The rest is for the
# merchant.
LIVE_ACCOUNT_RPS = 80.0
TEST_ACCOUNT_RPS = 20.0

# Half a second's worth may go at once. Stripe's bucket holds about a second's. The other half is for requests that the
# network bunches together, and for a Redis that lost everything and starts full.
BURST_S = 0.5
# How far ahead one may reserve. Reserved requests cannot be slowed down any more, and a single read queues behind them.
# Callers that return from the waiting line may reserve farther ahead than newcomers, so that these do not overtake
# them.
NEWCOMER_REACH_S = 0.1
RETURNING_REACH_S = 0.2
# A read that a person or an event waits for skips the line: it goes directly behind what is reserved.
URGENT_REACH_S = 60.0

ACCOUNT, ENDPOINT = 1, 2
# A 429 without a reason is a lock_timeout, a busy object, so speed is not to blame. It still cuts a little: if a proxy
# removed the header, we would otherwise never slow down. An unknown reason counts as none.
REASONLESS_CUT = (ENDPOINT, 0.05)
CUTS = {
    "global-rate": (ACCOUNT, 0.2),
    "global-concurrency": (ACCOUNT, 0.2),
    "endpoint-rate": (ENDPOINT, 0.2),
    "endpoint-concurrency": (ENDPOINT, 0.2),
    "resource-specific": (ENDPOINT, 0.2),
}

# While Redis is unavailable, each process uses this share of the rates: a few together stay within the budget.
AWAY_SHARE = 0.25
AWAY_RETRY_S = 5.0  # with redis-py's retries, a failed call takes seconds: one caller tries this often

KEY_PREFIX = "billstack:budget:"

_SCRIPT = Path(__file__).with_name("limiter.lua").read_text()

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reservation:
    """Permission to send `count` requests after `wait_s`.

    `rate` is the rate in force (requests/s, the endpoint's or the account's); `free` is how many tokens are left.
    """

    wait_s: float
    rate: float
    tokens: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class Bucket:
    """The state of one bucket. Rates are requests/s. Negative tokens mean that the future is reserved or cut away."""

    configured: float
    rate: float
    tokens: float
    lately: float  # granted a second, over about the last five seconds
    cut_s: float | None  # seconds since the last cut


@dataclass(frozen=True, slots=True)
class Rates:
    """Configured requests a second. `account_rps` is None for the default of the account's mode."""

    account_rps: float | None = None
    endpoint_rps: float = 20.0

    def account(self, livemode: bool) -> float:
        return self.account_rps or (LIVE_ACCOUNT_RPS if livemode else TEST_ACCOUNT_RPS)


class Limiter:
    """The budget in Redis. Thread-safe; raises redis.RedisError. In tests, `now` replaces Redis' clock."""

    def __init__(
        self,
        client: redis.Redis,
        rates: Rates,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._rates = rates
        self._sleep = sleep
        self._now = now
        self._script = client.register_script(_SCRIPT)

    def reserve(
        self, account_id: str, endpoint: str, *, livemode: bool, urgent: bool = False, most: int = 1
    ) -> Reservation:
        """Takes a token from the account and the endpoint. Wait `wait_s`, at most 0.2 s unless urgent, then send.

        Takes up to `most` tokens if at least as many stay free, which saves round trips.
        If demand exceeds the budget, the caller first waits in line and takes nothing until its turn.
        """
        reach_s = URGENT_REACH_S if urgent else NEWCOMER_REACH_S
        while True:
            arguments = (BURST_S, reach_s, most)
            granted, wait_us, milli_rate, tokens = self._call("reserve", account_id, endpoint, livemode, arguments)
            if granted:
                return Reservation(wait_us / 1e6, milli_rate / 1e3, tokens, granted)
            self._sleep(wait_us / 1e6)
            reach_s = max(reach_s, RETURNING_REACH_S)

    def slow_down(self, account_id: str, endpoint: str, reason: str | None, *, livemode: bool) -> None:
        """Call this for each 429 from Stripe. `reason` is its Stripe-Rate-Limited-Reason."""
        cut = CUTS.get(reason or "", REASONLESS_CUT)
        if self._call("cut", account_id, endpoint, livemode, cut):
            log.info("budget.cut", account=account_id, endpoint=endpoint, reason=reason)

    def look(self, account_id: str, endpoints: Sequence[str], *, livemode: bool) -> list[Bucket]:
        """The state of the account's bucket, then of its endpoints' in the given order. Changes nothing."""
        account_rps, endpoint_rps = self._configured(livemode)
        account_key = _account_key(account_id, livemode)
        found = self._script(
            keys=[account_key, *(f"{account_key}:{endpoint}" for endpoint in endpoints)],
            args=["look", self._time(), account_rps, endpoint_rps, BURST_S],
        )
        configured = [account_rps, *(endpoint_rps for _ in endpoints)]
        return [_bucket(rps, *values) for rps, values in zip(configured, found, strict=True)]

    def _call(self, action: str, account_id: str, endpoint: str, livemode: bool, arguments: tuple[float, ...]) -> Any:
        account_key = _account_key(account_id, livemode)
        return self._script(
            keys=[account_key, f"{account_key}:{endpoint}"],
            args=[action, self._time(), *self._configured(livemode), *arguments],
        )

    def _configured(self, livemode: bool) -> tuple[float, float]:
        return self._rates.account(livemode), self._rates.endpoint_rps

    def _time(self) -> float | str:
        return "" if self._now is None else self._now()


def _account_key(account_id: str, livemode: bool) -> str:
    # Stripe's limits apply per account and mode, whichever key is used. The braces keep an account on one cluster node.
    return f"{KEY_PREFIX}{{{account_id}}}:{'live' if livemode else 'test'}"


def _bucket(configured: float, milli_rate: int, milli_tokens: int, milli_lately: int, cut_ms: int) -> Bucket:
    cut_s = None if cut_ms < 0 else cut_ms / 1e3
    return Bucket(configured, milli_rate / 1e3, milli_tokens / 1e3, milli_lately / 1e3, cut_s)


class FallbackLimiter:
    """A Limiter that continues without Redis, at a quarter of the rates in each process."""

    def __init__(self, limiter: Limiter, rates: Rates, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limiter = limiter
        self._rates = rates
        self._clock = clock
        self._lock = threading.Lock()
        self._ask_again_at: float | None = None  # None: Redis answered last time
        self._next_at: dict[tuple[str, ...], float] = {}

    def reserve(
        self, account_id: str, endpoint: str, *, livemode: bool, urgent: bool = False, most: int = 1
    ) -> Reservation:
        if self._may_ask():
            try:
                reservation = self._limiter.reserve(account_id, endpoint, livemode=livemode, urgent=urgent, most=most)
                self._ask_again_at = None
                return reservation
            except redis.RedisError as exc:
                self._note_away(exc)
        return self._reserve_alone(account_id, endpoint, livemode)

    def slow_down(self, account_id: str, endpoint: str, reason: str | None, *, livemode: bool) -> None:
        """Does nothing while Redis is unavailable: a quarter of the rate is slow enough."""
        if self._ask_again_at is None:
            try:
                self._limiter.slow_down(account_id, endpoint, reason, livemode=livemode)
            except redis.RedisError as exc:
                self._note_away(exc)

    def _may_ask(self) -> bool:
        """While Redis is unavailable, one caller tries it again and the others continue without it."""
        with self._lock:
            if self._ask_again_at is None:
                return True
            if self._clock() < self._ask_again_at:
                return False
            self._ask_again_at = self._clock() + AWAY_RETRY_S
            return True

    def _note_away(self, exc: redis.RedisError) -> None:
        self._ask_again_at = self._clock() + AWAY_RETRY_S
        log.warning("budget.redis_away", reason=str(exc))

    def _reserve_alone(self, account_id: str, endpoint: str, livemode: bool) -> Reservation:
        """Spaces requests evenly, without bursts, because it does not know what the other processes send."""
        account = (account_id, str(livemode))
        rates = {
            account: self._rates.account(livemode) * AWAY_SHARE,
            (*account, endpoint): self._rates.endpoint_rps * AWAY_SHARE,
        }
        with self._lock:
            now = self._clock()
            starts = {key: max(now, self._next_at.get(key, now)) for key in rates}
            for key, rate in rates.items():
                self._next_at[key] = starts[key] + 1 / rate
        return Reservation(max(starts.values()) - now, min(rates.values()), 0.0)
