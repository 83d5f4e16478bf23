"""Rate limits, counted in Redis. While Redis is unavailable, nothing is limited."""

import hashlib
from dataclasses import dataclass

import redis
import structlog

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limit:
    """`most` times in a window of `window_s` seconds that begins with the first request."""

    name: str
    most: int
    window_s: int

    def counter(self, who: str) -> str:
        """The counter's Redis key. It contains no address and no e-mail."""
        return f"billstack:limit:{self.name}:{hashlib.sha256(who.encode(errors='replace')).hexdigest()[:32]}"


# Stripe's own limit, 100 requests/s on average, so a program that pages through the mirror never meets it. A whole
# minute's worth may come at once.
API_KEY_REQUESTS = Limit("api-key", most=6000, window_s=60)


@dataclass(frozen=True, slots=True)
class Count:
    """A counter's state. The window ends in `reset_s` seconds."""

    limit: Limit
    spent: int
    reset_s: float

    @property
    def remaining(self) -> int:
        return max(0, self.limit.most - self.spent)


def spend(connection: redis.Redis, limit: Limit, who: str) -> Count | None:
    """Counts one request. None while Redis is unavailable."""
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
