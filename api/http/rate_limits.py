"""Rate limits, counted in Redis. While Redis is unavailable, nothing is limited."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import structlog

_TAKE = Path(__file__).with_name("rate_limits.lua").read_text()

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


def take(connection: redis.Redis, limit: Limit, who: str) -> Taken | None:
    """Takes one token. None while Redis is unavailable."""
    try:
        answered: Any = connection.register_script(_TAKE)(keys=[limit.bucket(who)], args=[limit.rate, limit.most])
    except redis.RedisError as exc:
        log.warning("limit.not_counted", limit=limit.name, reason=str(exc))
        return None
    allowed, remaining, wait_ms, full_ms = answered
    return Taken(limit, bool(allowed), remaining, wait_ms / 1000, full_ms / 1000)
