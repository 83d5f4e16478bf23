"""A running backfill's hash in Redis, which the status shows between reads of Postgres.

It holds only durable values (sync/backfill/lease.py), which Postgres has too. If Redis loses the hash, only the
displayed speed is lost.
"""

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

import msgspec
import redis
import structlog

from sync.backfill.progress import SteadyEta
from sync.backfill.records import TypeState
from sync.stripe.retries import Retry
from workers.queues import BACKFILLS
from workers.redis.beats import ask_for_alive
from workers.redis.trouble import ask_for_trouble, sentences

# Longer than anybody looks at a finished backfill, and short enough not to pile up.
_TTL_S = 24 * 3600
_RATE_SMOOTHING = 0.3
_SHOW_EVERY_S = 0.5
# A part's field, beside the fields of the types.
_RETRY = "retry:"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ShownType:
    """A type in the status. `rate` is objects a second; `eta_s` is until its lists are read, once that is steady."""

    synced: int
    progress: float
    rate: float
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class ShownRetry:
    """A part's failed request that will be retried. `next_at` is in epoch seconds."""

    retry: Retry
    next_at: float


@dataclass(frozen=True, slots=True)
class Shown:
    """Redis' part of a running backfill's status: progress by type and retries by part.

    Also how many backfill workers are alive, or None while Redis is unavailable. `trouble` is in sentences.
    """

    types: dict[str, ShownType] = field(default_factory=dict)
    retries: dict[str, ShownRetry] = field(default_factory=dict)
    workers: int | None = None
    trouble: list[str] = field(default_factory=list)


class Progress:
    """Writes a backfill's hash, one field per type. An unavailable Redis does not stop the mirroring."""

    def __init__(self, connection: redis.Redis, backfill_id: str) -> None:
        self._redis = connection
        self._key = _key(backfill_id)
        self._last: dict[str, tuple[float, int, float]] = {}
        self._etas: defaultdict[str, SteadyEta] = defaultdict(SteadyEta)

    def show(self, state: TypeState) -> None:
        rate = self._rate(state)
        shown = ShownType(state.synced, state.progress, rate, self._eta_s(state, rate))
        _put(self._redis, self._key, state.type, shown)

    def _eta_s(self, state: TypeState, rate: float) -> float | None:
        if state.progress <= 0:
            return None
        remaining = state.synced * (1 - state.progress) / state.progress
        return self._etas[state.type].look(time.monotonic(), remaining=remaining, rate=rate)

    def _rate(self, state: TypeState) -> float:
        now = time.monotonic()
        if state.status != "syncing":
            return 0.0
        at, synced, rate = self._last.get(state.type, (now, state.synced, 0.0))
        if now > at:
            latest = (state.synced - synced) / (now - at)
            rate = latest if not rate else rate + _RATE_SMOOTHING * (latest - rate)
        self._last[state.type] = (now, state.synced, rate)
        return rate


class ShownRetries:
    """Shows the request of a part that failed most often, among those that wait for their next attempt. Thread-safe."""

    def __init__(self, connection: redis.Redis, backfill_id: str, part: str) -> None:
        self._redis = connection
        self._key = _key(backfill_id)
        self._field = _RETRY + part
        self._lock = threading.Lock()
        self._waiting: dict[object, ShownRetry] = {}
        self._shown: ShownRetry | None = None
        self._shown_at = 0.0

    def follow(self, part: str) -> None:
        """From now on, requests belong to this part."""
        with self._lock:
            self._field = _RETRY + part
            self._waiting.clear()

    def waits(self, request: object, retry: Retry) -> None:
        with self._lock:
            self._waiting[request] = ShownRetry(retry, time.time() + retry.wait_s)
            worst = max(self._waiting.values(), key=lambda each: each.retry.attempt)
            # While Stripe is down, many requests fail each second, and each one says the same.
            if self._shown is None or time.monotonic() - self._shown_at >= _SHOW_EVERY_S:
                self._show(worst)

    def is_over(self, request: object) -> None:
        with self._lock:
            if self._waiting.pop(request, None) and not self._waiting:
                self._show(None)

    def _show(self, retry: ShownRetry | None) -> None:
        self._shown, self._shown_at = retry, time.monotonic()
        _put(self._redis, self._key, self._field, retry)


def read_live(connection: redis.Redis, backfill_id: str) -> Shown:
    """One round trip. Empty if Redis lost the hash or is unavailable."""
    try:
        with connection.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(_key(backfill_id))
            ask_for_alive(pipeline, BACKFILLS)
            ask_for_trouble(pipeline)
            fields, alive, trouble = pipeline.execute()
    except redis.RedisError:
        return Shown()
    return _decoded({name.decode(): value for name, value in fields.items()}, len(alive), sentences(trouble))


def _decoded(fields: dict[str, bytes], workers: int, trouble: list[str]) -> Shown:
    retries = {name: value for name, value in fields.items() if name.startswith(_RETRY) and value != b"null"}
    return Shown(
        {
            name: msgspec.json.decode(value, type=ShownType)
            for name, value in fields.items()
            if not name.startswith(_RETRY)
        },
        {name.removeprefix(_RETRY): msgspec.json.decode(value, type=ShownRetry) for name, value in retries.items()},
        workers,
        trouble,
    )


def _put(connection: redis.Redis, key: str, name: str, value: ShownType | ShownRetry | None) -> None:
    try:
        with connection.pipeline(transaction=False) as pipeline:
            pipeline.hset(key, name, msgspec.json.encode(value).decode())
            pipeline.expire(key, _TTL_S)
            pipeline.execute()
    except redis.RedisError as exc:
        log.warning("progress.not_shown", reason=str(exc))


def _key(backfill_id: str) -> str:
    return f"billstack:progress:{backfill_id}"
