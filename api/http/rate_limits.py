"""Rate limits, counted in Redis. While Redis is unavailable, nothing is limited."""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import redis
import structlog

_TAKE = Path(__file__).with_name("rate_limits.lua").read_text()

# Tokens that a process takes at once from a bucket that has plenty, and how long they are good for.
LEASED = 20
LEASE_S = 1.0
# Of so many callers within a second none is worth remembering.
_MOST_LEASES = 10_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limit:
    """A token bucket: `rate` tokens a second, of which it holds `most`."""

    name: str
    most: int
    rate: float

    def bucket(self, who: str) -> str:
        """The bucket's Redis key. It contains no address and no e-mail."""
        return f"billstack:limit:{self.name}:{hashlib.sha256(who.encode(errors='replace')).hexdigest()[:32]}"


# Stripe's own limit, 100 requests/s on average, so a program that pages through the mirror never meets it. A key that
# has used up its burst gets the next request through after 10 ms, which Stripe's libraries wait for by themselves.
API_KEY_REQUESTS = Limit("api-key", most=1000, rate=100.0)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request found in its bucket. `wait_s`: until there is a token; `full_s`: until the bucket is full."""

    limit: Limit
    is_allowed: bool
    remaining: int
    wait_s: float
    full_s: float


class Taker:
    """Takes tokens for one process. Thread-safe.

    From a bucket that has plenty it takes some more at once, which serve the next requests of the same caller without a
    round trip. They are lost after LEASE_S, so more than the limit permits never get through.
    """

    def __init__(self, connection: redis.Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._take = connection.register_script(_TAKE)
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: dict[str, _Lease] = {}

    def take(self, limit: Limit, who: str) -> Taken | None:
        """Takes one token. None while Redis is unavailable."""
        bucket = limit.bucket(who)
        with self._lock:
            lease = self._leases.get(bucket)
            if lease is not None and (found := lease.spend(limit, self._clock())) is not None:
                return found
        try:
            answered: Any = self._take(keys=[bucket], args=[limit.rate, limit.most, LEASED])
        except redis.RedisError as exc:
            log.warning("limit.not_counted", limit=limit.name, reason=str(exc))
            return None
        count, left, wait_ms, full_ms = answered
        if count > 1:
            self._keep(bucket, _Lease(count - 1, left, full_ms / 1000, self._clock() + LEASE_S))
        return Taken(limit, count > 0, left + max(0, count - 1), wait_ms / 1000, full_ms / 1000)

    def _keep(self, bucket: str, lease: "_Lease") -> None:
        with self._lock:
            if len(self._leases) >= _MOST_LEASES:
                self._leases.clear()
            self._leases[bucket] = lease


@dataclass(slots=True)
class _Lease:
    """`tokens` that were taken and not used, and what was `left` in the bucket then."""

    tokens: int
    left: int
    full_s: float
    ends_at: float

    def spend(self, limit: Limit, now: float) -> Taken | None:
        if not self.tokens or now >= self.ends_at:
            return None
        self.tokens -= 1
        return Taken(limit, True, self.left + self.tokens, 0.0, self.full_s)


def take(connection: redis.Redis, limit: Limit, who: str) -> Taken | None:
    """Takes one token. None while Redis is unavailable."""
    return _taker(connection).take(limit, who)


@lru_cache(4)
def _taker(connection: redis.Redis) -> Taker:
    """One for each process' connection."""
    return Taker(connection)
