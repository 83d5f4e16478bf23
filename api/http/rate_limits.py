"""Limits how often somebody may do something, counted in Redis; while Redis is away, everybody may."""

import hashlib
from dataclasses import dataclass

import redis
import structlog

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limit:
    """`most` times in a window of `window_s` seconds, which begins with the first."""

    name: str
    most: int
    window_s: int

    def counter(self, who: str) -> str:
        """The Redis key that counts. Addresses and e-mails do not stand in it."""
        return f"billstack:limit:{self.name}:{hashlib.sha256(who.encode(errors='replace')).hexdigest()[:32]}"


# As fast on average as Stripe's own limit of 100 requests/s, so that a program that pages through the mirror never
# meets it; the whole minute's worth may go at once.
API_KEY_REQUESTS = Limit("api-key", most=6000, window_s=60)


@dataclass(frozen=True, slots=True)
class Count:
    """Where a counter stands; `reset_s` is how long its window still lasts."""

    limit: Limit
    spent: int
    reset_s: float

    @property
    def remaining(self) -> int:
        return max(0, self.limit.most - self.spent)


def spend(connection: redis.Redis, limit: Limit, who: str) -> Count | None:
    """Counts one more. None while Redis is away."""
    key = limit.counter(who)
    try:
        with connection.pipeline() as pipeline:
            pipeline.set(key, 0, ex=limit.window_s, nx=True)
            pipeline.incr(key)
            pipeline.pttl(key)
            _, spent, left_ms = pipeline.execute()
    except redis.RedisError as exc:
        log.warning("limit.not_counted", limit=limit.name, reason=str(exc))
        return None
    return Count(limit, spent, left_ms / 1000)
