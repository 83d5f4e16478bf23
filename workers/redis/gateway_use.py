"""Counts how many of a team's requests the mirror answered, how many Stripe did, and how long they took.

Each process adds up and sends its counts every few seconds, since a round trip for each request would cost as much as the
answer. They are kept by day, for a week. If Redis is unavailable they are lost, and nothing else.
"""

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import redis
import structlog

Source = Literal["mirror", "stripe"]

DAYS = 7
# What a request took, in milliseconds, is known as at most one of these.
BOUNDS_MS = (
    1,
    2,
    3,
    5,
    7,
    10,
    15,
    20,
    30,
    50,
    70,
    100,
    150,
    200,
    300,
    500,
    700,
    1000,
    2000,
    5000,
    10_000,
    30_000,
    90_000,
)
_FLUSH_EVERY_S = 5.0
# A Redis that hangs costs one request its timeout, and not each.
_TRY_AGAIN_S = 60.0
_DAY_S = 86_400
_KEY = "billstack:gateway:"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answered:
    """`p50_ms` and `p99_ms`: half, or 99 of 100, took at most so long. None without requests."""

    count: int = 0
    p50_ms: int | None = None
    p99_ms: int | None = None


class GatewayUse:
    """Thread-safe. `clock` is in seconds since 1970."""

    def __init__(self, connection: redis.Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = connection
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._flush_at = clock() + _FLUSH_EVERY_S

    def count(self, team_id: str, source: Source, took_s: float) -> None:
        now = self._clock()
        field = f"{source}:{_bound(took_s)}"
        with self._lock:
            self._counts.setdefault(_key(team_id, now), Counter())[field] += 1
            is_due = now >= self._flush_at
        if is_due:
            self.flush()

    def flush(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, {}
            self._flush_at = self._clock() + _FLUSH_EVERY_S
        if not counts:
            return
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for key, fields in counts.items():
                    for field, count in fields.items():
                        pipeline.hincrby(key, field, count)
                    pipeline.expire(key, (DAYS + 1) * _DAY_S)
                pipeline.execute()
        except redis.RedisError as exc:
            self._flush_at = self._clock() + _TRY_AGAIN_S
            log.warning("gateway.not_counted", reason=str(exc))

    def read(self, team_id: str) -> dict[Source, Answered]:
        """Of the last DAYS days, by who answered. Nothing while Redis is unavailable."""
        self.flush()
        now = self._clock()
        total: Counter[str] = Counter()
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for days_ago in range(DAYS):
                    pipeline.hgetall(_key(team_id, now - days_ago * _DAY_S))
                for found in pipeline.execute():
                    total.update({field.decode(): int(count) for field, count in found.items()})
        except redis.RedisError as exc:
            log.warning("gateway.not_counted", reason=str(exc))
        return {"mirror": _answered(total, "mirror"), "stripe": _answered(total, "stripe")}


def _key(team_id: str, now: float) -> str:
    return f"{_KEY}{team_id}:{int(now // _DAY_S)}"


def _bound(took_s: float) -> int:
    return BOUNDS_MS[min(bisect_left(BOUNDS_MS, took_s * 1000), len(BOUNDS_MS) - 1)]


def _answered(total: Mapping[str, int], source: Source) -> Answered:
    counts = [total.get(f"{source}:{bound}", 0) for bound in BOUNDS_MS]
    count = sum(counts)
    return Answered(count, _at(counts, count * 0.5), _at(counts, count * 0.99)) if count else Answered()


def _at(counts: list[int], rank: float) -> int:
    seen = 0
    for bound, count in zip(BOUNDS_MS, counts, strict=True):
        seen += count
        if seen >= rank:
            return bound
    return BOUNDS_MS[-1]
