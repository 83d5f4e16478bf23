"""The records of backfills in the control schema: one method per statement of records.sql, and the requests to them."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

from sync.backfill.windows import Split, Window
from sync.database.borrowing import same_connection
from sync.database.session import SILENT_S
from sync.errors import Conflict, LeaseLost
from sync.ids import new_id
from sync.mirror.store import MirrorStore, WindowKey
from sync.object_types import OBJECT_TYPES, in_order
from sync.sql import Queries
from sync.teams.mirrored_types import MirroredTypes

_QUERIES = Queries(Path(__file__).with_name("records.sql")).bind()

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

TypeStatus = Literal["pending", "syncing", "ready", "error"]


@dataclass(frozen=True, slots=True)
class Backfill:
    """`started` and `upper` are seconds on Stripe's clock. None until the first job has asked for it."""

    id: str
    team_id: str
    objects: list[str]
    created_after: datetime | None
    state: str
    request_id: str | None
    started: int | None
    upper: int | None

    @property
    def gte(self) -> int:
        """The oldest `created` that it covers. `created_after` is exclusive, and Stripe's seconds are whole."""
        return max(0, int(self.created_after.timestamp()) + 1) if self.created_after else 0


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


@dataclass(frozen=True, slots=True)
class TypeState:
    type: str
    status: TypeStatus
    synced: int
    progress: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Started:
    """`adds_types`: the team now mirrors additional types, so its webhook needs their events."""

    id: str
    already_running: bool
    adds_types: bool = False


class BackfillStore:
    """Works on one connection. The caller begins and ends transactions unless a method says otherwise."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def start(
        self, team_id: str, objects: Sequence[str] | None, created_after: datetime | None, *, request_id: str | None
    ) -> Started:
        """Records a backfill with its parts in one transaction, or finds that the same one is already running.

        Without `objects`, it covers all types that the team mirrors. A named type is mirrored from now on. If the same
        request failed within a day, its backfill is adopted with its windows, seen and counts. Raises Conflict
        `backfill_in_progress` while a different one runs.
        """
        with self.connection.transaction():
            # Two requests at once: the second waits here and then finds the first one's backfill.
            self.connection.execute("SELECT 1 FROM billstack.connections WHERE team_id = %s FOR UPDATE", (team_id,))
            mirrored = MirroredTypes(self.connection, team_id)
            wanted = [each.name for each in in_order(objects or mirrored.names())]
            running = self._one("running", team_id=team_id)
            if running:
                return _same_or_conflict(running, wanted, created_after)
            adds_types = mirrored.add(wanted)
            backfill_id = new_id("bf")
            request = {"team_id": team_id, "objects": wanted, "created_after": created_after}
            errored = self._one("adoptable", **request)
            self._run("insert_backfill", id=backfill_id, request_id=request_id, **request)
            self._run("insert_types", backfill_id=backfill_id, objects=wanted)
            self._run("insert_leases", backfill_id=backfill_id, parts=[*wanted, FINISH])
            mirror = MirrorStore(self.connection, team_id)
            if errored:
                self._adopt(backfill_id, errored[0])
            else:
                mirror.keep_checked()
                self._run("forget_windows", team_id=team_id)
                mirror.forget_seen()
            mirror.forget_rejects(wanted)
        return Started(backfill_id, already_running=False, adds_types=adds_types)

    def running(self, team_id: str) -> str | None:
        """The id of the team's running backfill."""
        row = self._one("running", team_id=team_id)
        return row[0] if row else None

    def _adopt(self, backfill_id: str, errored_id: str) -> None:
        for statement in ("adopt_start", "adopt_types", "adopt_leases", "adopt_windows"):
            self._run(statement, backfill_id=backfill_id, errored_id=errored_id)

    def get(self, backfill_id: str) -> Backfill | None:
        with self.connection.cursor(row_factory=class_row(Backfill)) as cursor:
            return cursor.execute(_QUERIES["backfill"], {"backfill_id": backfill_id}).fetchone()

    def fix_upper(self, backfill_id: str, now: int) -> tuple[int, int]:
        """(started, upper): Stripe's clock at the first job's first look, the same for all parts."""
        row = self._one("fix_upper", backfill_id=backfill_id, now=now)
        assert row is not None
        return row[0], row[1]

    def acquire(self, backfill_id: str, part: str) -> int | None:
        """The new holder's fence. None if another worker holds the part or nothing is left to do."""
        params = {"backfill_id": backfill_id, "part": part, "holder": _holder(), **_SILENCES}
        row = self._run_as_session("acquire", **params).fetchone()
        return row[0] if row else None

    def hold(self, backfill_id: str, part: str, fence: int) -> None:
        """Keeps the part from being canceled or taken over until the transaction ends. Raises LeaseLost."""
        if not self._one("hold", backfill_id=backfill_id, part=part, fence=fence):
            raise LeaseLost(f"the lease on {part} of {backfill_id} is gone")

    def take_windows(self, backfill_id: str, object_type: str, fence: int) -> list[Window]:
        """All windows of a type. Pages of an earlier holder that are not committed by now never will be."""
        self._run("mark_syncing", backfill_id=backfill_id, type=object_type)
        self._run("take_windows", backfill_id=backfill_id, type=object_type, fence=fence)
        rows = self._run("windows", backfill_id=backfill_id, type=object_type).fetchall()
        return [Window(*row) for row in rows]

    def close_windows(self, backfill_id: str, type_name: str, *, gte: int) -> None:
        """Closes windows of the range that will be read again."""
        self._run("close_windows", backfill_id=backfill_id, type=type_name, gte=gte)

    def insert_window(self, backfill_id: str, object_type: str, window: Window, fence: int) -> None:
        self._run(
            "insert_window",
            backfill_id=backfill_id,
            type=object_type,
            number=window.number,
            variant=window.variant,
            gte=window.gte,
            lt=window.lt,
            fence=fence,
        )

    def split(self, backfill_id: str, part: str, object_type: str, split: Split, fence: int) -> None:
        """Raises the giving window's floor and adds the new window. Raises LeaseLost."""
        key = {"backfill_id": backfill_id, "part": part, "type": object_type, "fence": fence}
        new = {"number": split.number, "variant": split.variant, "floor": split.floor, "mid": split.mid}
        if not self._one("split", **key, **new, giver=split.giver):
            raise LeaseLost("the window was taken over by another worker")

    def reopen_window(self, key: WindowKey, *, gte: int, lt: int) -> None:
        """Gives the rest of a window whose cursor was lost a new filter. Raises LeaseLost."""
        row = self._one(
            "reopen_window",
            backfill_id=key.backfill_id,
            type=key.type,
            number=key.number,
            fence=key.fence,
            gte=gte,
            lt=lt,
        )
        if not row:
            raise LeaseLost(f"window {key.number} of {key.type} now belongs to another worker, or is done")

    def renew(self, backfill_id: str, part: str, fence: int) -> None:
        """Raises LeaseLost if the backfill was canceled or the part taken over."""
        if not self._run_as_session("renew", backfill_id=backfill_id, part=part, fence=fence).fetchone():
            raise LeaseLost(f"the lease on {part} of {backfill_id} is gone")

    def publish(self, backfill_id: str, object_type: str, progress: float) -> TypeState:
        row = self._one("publish", backfill_id=backfill_id, type=object_type, progress=progress)
        assert row is not None
        synced, shown, status = row
        return TypeState(object_type, status, int(synced), shown, None)

    def give_back(self, backfill_id: str, part: str, fence: int, *, done: bool) -> bool:
        return self._one("give_back", backfill_id=backfill_id, part=part, fence=fence, done=done) is not None

    def end_type(
        self, backfill_id: str, object_type: str, fence: int, *, status: TypeStatus, error: str | None = None
    ) -> None:
        """Raises LeaseLost if another worker holds the type now."""
        if not self._one(
            "end_type", backfill_id=backfill_id, type=object_type, fence=fence, status=status, error=error
        ):
            raise LeaseLost(f"{object_type} now belongs to another worker")

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

    def open_windows(
        self, backfill: Backfill, now: int, variants: Sequence[tuple[str, int]]
    ) -> list[tuple[str, Window]]:
        """Fixes the backfill's upper end at `now` and creates the first window of each type and variant.

        Creates none for types that were lost in the meantime.
        """
        rows = self._run(
            "open_windows",
            backfill_id=backfill.id,
            now=now,
            gte=backfill.gte,
            fence=OPENING_FENCE,
            types=[name for name, _ in variants],
            variants=[variant for _, variant in variants],
            are_by_time=[OBJECT_TYPES[name].is_by_time for name, _ in variants],
        ).fetchall()
        return [(name, Window(*window)) for name, *window in rows]

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

    def types(self, backfill_id: str) -> list[TypeState]:
        with self.connection.cursor(row_factory=class_row(TypeState)) as cursor:
            return cursor.execute(_QUERIES["types"], {"backfill_id": backfill_id}).fetchall()

    def end(
        self,
        backfill_id: str,
        fence: int,
        *,
        state: str,
        error: str | None,
        warnings: Sequence[str],
        known_until: int | None = None,
    ) -> None:
        """`known_until`: the mirror has everything up to then on Stripe's clock. None if that was not ensured.

        Raises LeaseLost if the backfill was canceled, or if another worker holds its finish now.
        """
        params = {"state": state, "error": error, "warnings": list(warnings), "known_until": known_until}
        if not self._one("end_backfill", backfill_id=backfill_id, fence=fence, **params):
            raise LeaseLost("the backfill was canceled, or its finish now belongs to another worker")

    def cancel(self, team_id: str) -> str | None:
        """Returns the id of the backfill that ran, if any. None of its pages is written after this."""
        with self.connection.transaction():
            row = self._one("cancel", team_id=team_id)
            if row is None:
                return None
            self._run("fence_off", backfill_id=row[0])
        canceled: str = row[0]
        return canceled

    def history(self, team_id: str, limit: int) -> list[tuple[Any, ...]]:
        return self._run("history", team_id=team_id, limit=limit).fetchall()

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


def _same_or_conflict(running: tuple[Any, ...], wanted: list[str], created_after: datetime | None) -> Started:
    backfill_id, objects, running_created_after, _ = running
    if objects == wanted and running_created_after == created_after:
        return Started(backfill_id, already_running=True)
    raise Conflict(
        "another backfill of this team is running: wait for it, or cancel it first",
        code="backfill_in_progress",
        details={"backfillId": backfill_id},
    )


def _holder() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
