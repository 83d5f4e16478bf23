"""The records of backfills in the control schema: one method per statement of records.sql, and the requests to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row, dict_row

from sync.backfill.part_records import FINISH, OPENING_FENCE
from sync.backfill.windows import Split, Window
from sync.errors import Conflict, LeaseLost
from sync.ids import new_id
from sync.mirror.store import MirrorStore, WindowKey, window_lost
from sync.object_types import OBJECT_TYPES, in_order
from sync.sql import Queries
from sync.teams.mirrored_types import MirroredTypes

_QUERIES = Queries(Path(__file__).with_name("records.sql")).bind()

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
            self._run("insert_leases", backfill_id=backfill_id, parts=[*wanted, FINISH], afters=_afters(wanted))
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

    def take_windows(self, backfill_id: str, object_type: str, fence: int) -> list[Window]:
        """All windows of a type. Pages of an earlier holder that are not committed by now never will be."""
        self._run("mark_syncing", backfill_id=backfill_id, type=object_type)
        self._run("take_windows", backfill_id=backfill_id, type=object_type, fence=fence)
        rows = self._run("windows", backfill_id=backfill_id, type=object_type).fetchall()
        return [Window(*row) for row in rows]

    def close_windows(self, backfill_id: str, type_name: str, *, gte: int) -> None:
        """Closes windows of the range that will be read again."""
        self._run("close_windows", backfill_id=backfill_id, type=type_name, gte=gte)

    def backwards_types(self, backfill_id: str) -> list[str]:
        """Types whose lists are not newest first."""
        return [name for (name,) in self._run("backwards_types", backfill_id=backfill_id)]

    def take_snapshot(self, backfill_id: str, object_type: str, number: int) -> None:
        """Marks the moment from which changes of parents are read again at the finish."""
        self._run("take_snapshot", backfill_id=backfill_id, type=object_type, number=number)

    def snapshot(self, backfill_id: str, object_type: str) -> int | None:
        row = self._one("snapshot", backfill_id=backfill_id, type=object_type)
        return row[0] if row else None

    def has_parents(self, backfill: Backfill, parent_type: str) -> bool:
        row = self._one("has_parents", backfill_id=backfill.id, team_id=backfill.team_id, parent_type=parent_type)
        assert row is not None
        return bool(row[0])

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

    def reopen_window(self, key: WindowKey, cursor: str, *, gte: int, lt: int) -> None:
        """Gives the rest of a window whose cursor was lost a new filter. Raises LeaseLost."""
        row = self._one(
            "reopen_window",
            backfill_id=key.backfill_id,
            type=key.type,
            number=key.number,
            fence=key.fence,
            cursor=cursor,
            gte=gte,
            lt=lt,
        )
        if not row:
            raise window_lost(key)

    def publish(self, backfill_id: str, object_type: str, progress: float) -> TypeState:
        row = self._one("publish", backfill_id=backfill_id, type=object_type, progress=progress)
        assert row is not None
        synced, shown, status = row
        return TypeState(object_type, status, int(synced), shown, None)

    def end_type(
        self, backfill_id: str, object_type: str, fence: int, *, status: TypeStatus, error: str | None = None
    ) -> None:
        """Raises LeaseLost if another worker holds the type now, or if a type that is `ready` has an open window."""
        if not self._one(
            "end_type", backfill_id=backfill_id, type=object_type, fence=fence, status=status, error=error
        ):
            raise LeaseLost(f"{object_type} now belongs to another worker, or a window of it is open again")

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

        Raises LeaseLost if the backfill was canceled, if another worker holds its finish now, or if a window is open.
        """
        params = {"state": state, "error": error, "warnings": list(warnings), "known_until": known_until}
        if not self._one("end_backfill", backfill_id=backfill_id, fence=fence, **params):
            raise LeaseLost(
                "the backfill was canceled, its finish belongs to another worker, or a window is open again"
            )

    def cancel(self, team_id: str) -> str | None:
        """Returns the id of the backfill that ran, if any. None of its pages is written after this."""
        with self.connection.transaction():
            row = self._one("cancel", team_id=team_id)
            if row is None:
                return None
            self._run("fence_off", backfill_id=row[0])
        canceled: str = row[0]
        return canceled

    def history(self, team_id: str, limit: int) -> list[dict[str, Any]]:
        """The newest first, with the states of their types."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(_QUERIES["history"], {"team_id": team_id, "limit": limit}).fetchall()

    def _one(self, name: str, **params: Any) -> tuple[Any, ...] | None:
        return self._run(name, **params).fetchone()

    def _run(self, name: str, **params: Any) -> psycopg.Cursor[tuple[Any, ...]]:
        return self.connection.execute(_QUERIES[name], params)


def _afters(types: Sequence[str]) -> list[str | None]:
    """For each type and the finish, the part that must be done before it."""
    parents = [OBJECT_TYPES[name].parent for name in types]
    return [*(parent.type if parent else None for parent in parents), None]


def _same_or_conflict(running: tuple[Any, ...], wanted: list[str], created_after: datetime | None) -> Started:
    backfill_id, objects, running_created_after, _ = running
    if objects == wanted and running_created_after == created_after:
        return Started(backfill_id, already_running=True)
    raise Conflict(
        "another backfill of this team is running: wait for it, or cancel it first",
        code="backfill_in_progress",
        details={"backfillId": backfill_id},
    )
