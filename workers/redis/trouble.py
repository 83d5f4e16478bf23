"""Problems with Postgres that the status cannot see by itself. Workers note them in Redis, and they expire when over.

refused    Postgres refused a process another connection: all of its own are taken, or it was just unavailable
full       Postgres could not write because its disk is full
"""

import contextlib
import time
from collections.abc import Mapping, Sequence

import redis
from psycopg import errors

REFUSED, FULL = "refused", "full"
KINDS = (REFUSED, FULL)
# As long as a part takes to fail, be found free, and begin again. A lasting problem is noted all the time.
_LASTS_S = 30
_NOTED_AT_MOST_EVERY_S = 1.0

_SENTENCES: Mapping[str, str] = {
    REFUSED: (
        "Postgres refused connections within the last half minute, and the backfill is waiting for them: raise its"
        " max_connections, or give BillStack fewer (docs/operations.md, Connections)."
    ),
    FULL: "Postgres' disk is full: BillStack cannot write anything. It continues by itself once there is room.",
}


class Trouble:
    """Thread-safe."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection
        self._noted_at: dict[str, float] = {}

    def note(self, kind: str) -> None:
        now = time.monotonic()
        if now - self._noted_at.get(kind, float("-inf")) < _NOTED_AT_MOST_EVERY_S:
            return
        self._noted_at[kind] = now
        with contextlib.suppress(redis.RedisError):
            self._redis.set(_key(kind), "1", ex=_LASTS_S)

    def note_error(self, error: BaseException) -> None:
        """Notes that Postgres is full, if the error says so."""
        if isinstance(error, errors.DiskFull):
            self.note(FULL)

    def is_full(self) -> bool:
        """Raises redis.RedisError."""
        return bool(self._redis.exists(_key(FULL)))


def ask_for_trouble(connection: redis.Redis) -> list[bytes | None]:
    """In a pipeline the answer is among its results. Pass it to `sentences`."""
    found: list[bytes | None] = connection.mget([_key(kind) for kind in KINDS])  # type: ignore[assignment]
    return found


def sentences(found: Sequence[bytes | None]) -> list[str]:
    return [_SENTENCES[kind] for kind, noted in zip(KINDS, found, strict=True) if noted]


def _key(kind: str) -> str:
    return f"billstack:trouble:{kind}"
