"""Who holds which part of a backfill: one method per statement of part_records.sql."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row

from sync.database.borrowing import same_connection
from sync.database.session import SILENT_S
from sync.errors import LeaseLost
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("part_records.sql")).bind()

# A holder renews twice a second. After SILENT_S without a renewal, Postgres is asked whether its connection is still
# open. If it is closed, the holder is dead and its part is free. If it is open, the process is paused or Postgres is
# slow. Then the lease lasts this long.
LEASE_S = 30
# Behind a pooler, Postgres cannot tell the two apart. A holder that is silent this long then counts as dead, and its
# late pages fail the fence check.
POOLED_LEASE_S = 10
_SILENCES = {"lease_s": LEASE_S, "pooled_s": POOLED_LEASE_S, "silent_s": SILENT_S}
FINISH = "finish"
# All types of a backfill that nobody has begun are one part, with their first fence (sync/backfill/opening.py).
OPENING = "opening"
OPENING_FENCE = 1


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of work of a backfill: an object type, the finish, or the opening."""

    backfill_id: str
    team_id: str
    part: str
    fence: int
    held: bool
    request_id: str | None
    untouched: bool  # nobody has begun the backfill


class PartStore:
    """Works on one connection. The caller begins and ends transactions."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def acquire(self, backfill_id: str, part: str) -> int | None:
        """The new holder's fence. None if another worker holds the part or nothing is left to do."""
        params = {"backfill_id": backfill_id, "part": part, "holder": _holder(), **_SILENCES}
        row = self._run_as_session("acquire", **params).fetchone()
        return row[0] if row else None

    def hold(self, backfill_id: str, part: str, fence: int) -> None:
        """Keeps the part from being canceled or taken over until the transaction ends. Raises LeaseLost."""
        if not self._one("hold", backfill_id=backfill_id, part=part, fence=fence):
            raise LeaseLost(f"the lease on {part} of {backfill_id} is gone")

    def renew(self, backfill_id: str, part: str, fence: int) -> None:
        """Raises LeaseLost if the backfill was canceled or the part taken over."""
        if not self._run_as_session("renew", backfill_id=backfill_id, part=part, fence=fence).fetchone():
            raise LeaseLost(f"the lease on {part} of {backfill_id} is gone")

    def give_back(self, backfill_id: str, part: str, fence: int, *, done: bool) -> bool:
        return self._one("give_back", backfill_id=backfill_id, part=part, fence=fence, done=done) is not None

    def due_parts(self, backfill_id: str | None = None) -> list[Part]:
        """Work that nobody holds and that could be done now, of one backfill or of all."""
        with self.connection.cursor(row_factory=class_row(Part)) as cursor:
            parts = cursor.execute(_QUERIES["due_parts"], {"backfill_id": backfill_id, **_SILENCES}).fetchall()
        return list(dict.fromkeys(replace(part, part=OPENING) if part.untouched else part for part in parts))

    def acquire_all(self, backfill_id: str) -> list[str]:
        """Takes the types of a backfill that nobody has begun, with OPENING_FENCE.

        Empty if another worker has begun.
        """
        rows = self._run_as_session("acquire_all", backfill_id=backfill_id, holder=_holder()).fetchall()
        return [part for (part,) in rows]

    def end_opening(self, backfill_id: str, parts: Sequence[str], read: Sequence[str]) -> list[str]:
        """Gives all parts back. Those that were `read` and have no open window are done, and are returned."""
        params = {"parts": list(parts), "read": list(read), "fence": OPENING_FENCE}
        rows = self._run("end_opening", backfill_id=backfill_id, **params).fetchall()
        return [part for part, done in rows if done]

    def let_go(self, backfill_id: str, part: str, fence: int) -> None:
        """Gives the part up. It is free as if the holder had died: SILENT_S after its last renewal."""
        self._run("let_go", backfill_id=backfill_id, part=part, fence=fence, opening=OPENING)

    def release_dead(self, backfill_id: str, part: str, fence: int) -> bool:
        """For the opening, releases all types that its holder had."""
        return self._one("release_dead", backfill_id=backfill_id, part=part, fence=fence, opening=OPENING) is not None

    def _one(self, name: str, **params: Any) -> tuple[Any, ...] | None:
        return self._run(name, **params).fetchone()

    def _run_as_session(self, name: str, **params: Any) -> psycopg.Cursor[tuple[Any, ...]]:
        """`own_pid` is the server process as this client knows it. A pooler gives each client a number of its own."""
        with same_connection(self.connection) as connection:
            return connection.execute(_QUERIES[name], params | {"own_pid": self._own_pid(connection)})

    def _own_pid(self, connection: psycopg.Connection) -> int:
        return connection.info.backend_pid

    def _run(self, name: str, **params: Any) -> psycopg.Cursor[tuple[Any, ...]]:
        return self.connection.execute(_QUERIES[name], params)


def _holder() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
