"""What of Postgres' trouble a status cannot see for itself: workers note it in Redis, and it is forgotten when it is over.

refused    Postgres gave a process no further connection: all of its own are taken, or it was just away
full       Postgres could not write, for its disk is full
"""

import contextlib
import time
from collections.abc import Mapping, Sequence

import redis
from psycopg import errors

REFUSED, FULL = "refused", "full"
KINDS = (REFUSED, FULL)
# As long as a part takes that fails, is noticed to be free and begins again: a trouble that lasts is noted all the time.
_LASTS_S = 30
_NOTED_AT_MOST_EVERY_S = 1.0

_SENTENCES: Mapping[str, str] = {
    REFUSED: (
        "Postgres refused connections within the last half minute, and the backfill waits for them: let it take"
        " more (max_connections), or give BillStack fewer (docs/operations.md, Connections)."
    ),
    FULL: "Postgres' disk is full: nothing can be written, and all goes on by itself once there is room.",
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
        """If Postgres says with it that it is full."""
        if isinstance(error, errors.DiskFull):
            self.note(FULL)

    def is_full(self) -> bool:
        """Raises redis.RedisError."""
        return bool(self._redis.exists(_key(FULL)))


def ask_for_trouble(connection: redis.Redis) -> list[bytes | None]:
    """In a pipeline the answer comes among its results, for `sentences`."""
    found: list[bytes | None] = connection.mget([_key(kind) for kind in KINDS])  # type: ignore[assignment]
    return found


def sentences(found: Sequence[bytes | None]) -> list[str]:
    return [_SENTENCES[kind] for kind, noted in zip(KINDS, found, strict=True) if noted]


def _key(kind: str) -> str:
    return f"billstack:trouble:{kind}"
