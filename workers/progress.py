"""The Redis hash of a running backfill: what the status shows between two looks into Postgres.

Only durable values come here (sync/lease.py), and Postgres has them too: a Redis that lost the hash costs nothing but the
speed that is shown.
"""

import time
from dataclasses import asdict, dataclass

import msgspec
import redis
import structlog

from sync.backfills import TypeState
from workers.beats import ask_for_alive
from workers.queues import BACKFILLS

# Long enough for any backfill's last look, short enough not to pile up.
_TTL_S = 24 * 3600
_RATE_SMOOTHING = 0.3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ShownType:
    """A type as the status shows it; `rate` in objects a second."""

    synced: int
    progress: float
    rate: float


class Progress:
    """Writes one backfill's hash, a field a type. A Redis that is away is no reason to stop mirroring."""

    def __init__(self, connection: redis.Redis, backfill_id: str) -> None:
        self._redis = connection
        self._key = _key(backfill_id)
        self._last: dict[str, tuple[float, int, float]] = {}

    def show(self, state: TypeState) -> None:
        shown = ShownType(state.synced, state.progress, self._rate(state))
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hset(self._key, state.type, msgspec.json.encode(asdict(shown)).decode())
                pipeline.expire(self._key, _TTL_S)
                pipeline.execute()
        except redis.RedisError as exc:
            log.warning("progress.not_shown", reason=str(exc))

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


def read_progress(connection: redis.Redis, backfill_id: str) -> dict[str, ShownType]:
    """By type; empty when Redis lost it or is away."""
    return read_live(connection, backfill_id)[0]


def read_live(connection: redis.Redis, backfill_id: str) -> tuple[dict[str, ShownType], int | None]:
    """As `read_progress`, and how many workers for backfills are alive; in one round trip. None: Redis is away."""
    try:
        with connection.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(_key(backfill_id))
            ask_for_alive(pipeline, BACKFILLS)
            fields, alive = pipeline.execute()
    except redis.RedisError:
        return {}, None
    return {name.decode(): msgspec.json.decode(value, type=ShownType) for name, value in fields.items()}, len(alive)


def _key(backfill_id: str) -> str:
    return f"billstack:progress:{backfill_id}"
