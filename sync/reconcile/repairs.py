"""Records what a comparison repairs: the fields that differed. The repair's own transaction writes the record.

It costs a read for each object that differed, and nothing for the others.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from sync.database.schema import schema_name
from sync.mirror.store import FetchVerdict, MirrorStore
from sync.object_types import ObjectType
from sync.reconcile.differences import Difference, differences
from sync.sql import BoundQueries, Queries
from sync.stripe.answers import Answer

_QUERIES = Queries(Path(__file__).with_name("repairs.sql"))
# Of one comparison. A mirror that lost a whole table would otherwise fill another one.
MOST_RECORDED = 500
# The largest possible id: a list from here starts at the newest.
NEWEST_REPAIR = 2**63 - 1

RepairKind = Literal["missing", "stale", "notDeleted"]


@dataclass(frozen=True, slots=True)
class Repair:
    """`fields` are Differences as objects; `more_fields` differed besides."""

    id: int
    reconcile_id: str
    type: str
    object_id: str
    kind: RepairKind
    at: datetime
    fields: list[dict[str, str | None]]
    more_fields: int


class RecordingStore(MirrorStore):
    """A mirror store that records what its fetched objects change. `room` is how many records it may still write."""

    def __init__(self, connection: psycopg.Connection, team_id: str, reconcile_id: str, *, room: int) -> None:
        super().__init__(connection, team_id)
        self._reconcile_id = reconcile_id
        self._room = room
        self.recorded: int | None = None

    def put_fetched(
        self, object_type: ObjectType, object_id: str, answer: Answer, *, version: str | None, advance: bool = False
    ) -> FetchVerdict:
        with self.connection.transaction():
            before = self._state(object_type, object_id)
            verdict = super().put_fetched(object_type, object_id, answer, version=version, advance=advance)
            if verdict == "written":
                self._record(object_type, object_id, "stale" if before else "missing", before)
        return verdict

    def put_deleted(self, object_type: ObjectType, object_id: str, answer: Answer, *, version: str | None) -> bool:
        with self.connection.transaction():
            before = self._state(object_type, object_id)
            is_written = super().put_deleted(object_type, object_id, answer, version=version)
            if is_written:
                self._record(object_type, object_id, "notDeleted", before)
        return is_written

    def _state(self, object_type: ObjectType, object_id: str) -> tuple[Any, bool] | None:
        """The object, and whether its row is a tombstone."""
        queries = _bound(self.schema, object_type.table)
        return self.connection.execute(queries["state"], {"id": object_id}).fetchone()

    def _record(
        self, object_type: ObjectType, object_id: str, kind: RepairKind, before: tuple[Any, bool] | None
    ) -> None:
        if self._room <= 0:
            return
        after = self._state(object_type, object_id)
        fields, more = _fields(before, after) if before and after else ([], 0)
        values = {
            "team_id": self.team_id,
            "reconcile_id": self._reconcile_id,
            "type": object_type.name,
            "object_id": object_id,
            "kind": kind,
            "fields": Jsonb([asdict(each) for each in fields]),
            "more_fields": more,
        }
        row = self.connection.execute(_bound(self.schema, object_type.table)["record"], values).fetchone()
        assert row is not None
        self.recorded = row[0]


def _fields(before: tuple[Any, bool], after: tuple[Any, bool]) -> tuple[list[Difference], int]:
    """Of the objects, after the rows' `deleted`, which Stripe's own field of the same name need not show."""
    found, more = differences(before[0], after[0])
    if before[1] != after[1]:
        found.insert(0, Difference("deleted", *("true" if each[1] else "false" for each in (before, after))))
    return found, more


def forget_repairs(connection: psycopg.Connection, repair_ids: Collection[int]) -> None:
    """Deletes records of changes that turned out to be none of ours: Stripe made them while we looked."""
    connection.execute(_bound("billstack", "repairs")["forget"], {"repair_ids": list(repair_ids)})


def list_repairs(
    connection: psycopg.Connection, team_id: str, *, limit: int, before: int = NEWEST_REPAIR
) -> list[Repair]:
    """The newest first."""
    queries = _bound(schema_name(team_id), "customers")
    with connection.cursor(row_factory=class_row(Repair)) as cursor:
        values = {"team_id": team_id, "limit": limit, "before_repair": before}
        return cursor.execute(queries["list"], values).fetchall()


@cache
def _bound(schema: str, table: str) -> BoundQueries:
    return _QUERIES.bind(team=schema, table=table)
