"""The types that a team mirrors: the default ones, and each that one of its backfills has named since."""

from collections.abc import Collection
from pathlib import Path

import psycopg

from sync.database.schema import drop_table, ensure_tables
from sync.object_types import DEFAULT_TYPES, REREAD_TYPES, ObjectType, in_order
from sync.round_trip import Call, Rows
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("mirrored_types.sql")).bind()


class MirroredTypes:
    """One team's types, on one connection. The caller begins and ends transactions."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self._connection = connection
        self._team_id = team_id

    def names(self) -> list[str]:
        """In the registry's order. Leaves out a type that only another version of the program knows."""
        return self.names_of(self._connection.execute(_QUERIES["added"], {"team_id": self._team_id}).fetchall())

    def call(self) -> Call:
        """Reads what `names_of` takes, together with other statements."""
        return Call(_QUERIES.numbered("added"), {"team_id": self._team_id})

    @staticmethod
    def names_of(rows: Rows) -> list[str]:
        return [each.name for each in in_order({*DEFAULT_TYPES, *(name for (name,) in rows)})]

    def add(self, names: Collection[str]) -> bool:
        """Creates missing tables. Returns False if the team mirrors all of the types already."""
        added = {name for name in names if name not in DEFAULT_TYPES} - set(self.names())
        if not added:
            return False
        self._connection.execute(_QUERIES["add"], {"team_id": self._team_id, "types": sorted(added)})
        ensure_tables(self._connection, self._team_id, in_order(added))
        return True

    def to_reread(self) -> list[tuple[ObjectType, int]]:
        """Types whose newest objects must be listed, with the second up to which they are known."""
        params = {"team_id": self._team_id, "types": list(REREAD_TYPES)}
        known: dict[str, int] = dict(self._connection.execute(_QUERIES["to_reread"], params).fetchall())
        return [(object_type, known[object_type.name]) for object_type in in_order(known)]

    def set_reread(self, object_type: ObjectType, until: int) -> None:
        params = {"team_id": self._team_id, "type": object_type.name, "until": until}
        self._connection.execute(_QUERIES["set_reread"], params)

    def stop(self, object_type: ObjectType, *, purge: bool) -> bool:
        """Keeps the rows unless `purge` drops them. Returns False if there was nothing to stop or drop."""
        params = {"team_id": self._team_id, "type": object_type.name}
        found = self._connection.execute(_QUERIES["forget" if purge else "stop"], params).fetchone()
        self._connection.execute(_QUERIES["forget_proof"], params)
        if found and purge:
            drop_table(self._connection, self._team_id, object_type)
        return found is not None
