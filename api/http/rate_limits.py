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

# The most tokens that a process takes at once, and how long they are good for.
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

    From a bucket that has plenty it takes as many at once as the caller will probably need within LEASE_S. They serve its
    next requests without a round trip, and are lost after that time. In the long run, never more get through than the limit
    permits; of a burst, at most LEASED - 1 more a process.
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
            lease, now = self._leases.get(bucket), self._clock()
            if lease is not None and lease.spend(now):
                return Taken(limit, True, lease.left + lease.tokens, 0.0, lease.full_s)
            wanted = lease.next_size(now) if lease is not None else 1
        try:
            answered: Any = self._take(keys=[bucket], args=[limit.rate, limit.most, wanted])
        except redis.RedisError as exc:
            log.warning("limit.not_counted", limit=limit.name, reason=str(exc))
            return None
        count, left, wait_ms, full_ms = answered
        if not count:
            return Taken(limit, False, left, wait_ms / 1000, full_ms / 1000)
        lease = self._keep(bucket, _Lease(count - 1, left, full_ms / 1000, self._clock() + LEASE_S))
        return Taken(limit, True, lease.left + lease.tokens, 0.0, lease.full_s)

    def _keep(self, bucket: str, lease: "_Lease") -> "_Lease":
        with self._lock:
            # Another thread may have taken one meanwhile.
            before = self._leases.get(bucket)
            if before is not None and self._clock() < before.ends_at:
                lease.add(before)
            if len(self._leases) >= _MOST_LEASES:
                self._leases.clear()
            self._leases[bucket] = lease
            return lease


@dataclass(slots=True)
class _Lease:
    """`tokens` that were taken and not used, what was `left` in the bucket then, and how many are `used`."""

    tokens: int
    left: int
    full_s: float
    ends_at: float
    used: int = 1

    def spend(self, now: float) -> bool:
        if not self.tokens or now >= self.ends_at:
            return False
        self.tokens -= 1
        self.used += 1
        return True

    def add(self, other: "_Lease") -> None:
        self.tokens += other.tokens
        self.ends_at = min(self.ends_at, other.ends_at)

    def next_size(self, now: float) -> int:
        """What was used of this one, and twice that if it was used up early."""
        return min(LEASED, self.used if now >= self.ends_at else 2 * self.used)


def take(connection: redis.Redis, limit: Limit, who: str) -> Taken | None:
    """Takes one token. None while Redis is unavailable."""
    return _taker(connection).take(limit, who)


@lru_cache(4)
def _taker(connection: redis.Redis) -> Taker:
    """One for each process' connection."""
    return Taker(connection)
