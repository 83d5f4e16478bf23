"""The types that a team mirrors: the default ones, and each that one of its backfills has named since."""

from collections.abc import Collection
from pathlib import Path

import psycopg

from sync.database.schema import drop_table, ensure_tables
from sync.object_types import DEFAULT_TYPES, ObjectType, in_order
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("mirrored_types.sql")).bind()


class MirroredTypes:
    """One team's types, on one connection. The caller begins and ends transactions."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self._connection = connection
        self._team_id = team_id

    def names(self) -> list[str]:
        """In the registry's order. Leaves out a type that only another version of the program knows."""
        added = self._connection.execute(_QUERIES["added"], {"team_id": self._team_id}).fetchall()
        return [each.name for each in in_order({*DEFAULT_TYPES, *(name for (name,) in added)})]

    def add(self, names: Collection[str]) -> bool:
        """Creates missing tables. Returns False if the team mirrors all of the types already."""
        added = {name for name in names if name not in DEFAULT_TYPES} - set(self.names())
        if not added:
            return False
        self._connection.execute(_QUERIES["add"], {"team_id": self._team_id, "types": sorted(added)})
        ensure_tables(self._connection, self._team_id, in_order(added))
        return True

    def stop(self, object_type: ObjectType, *, purge: bool) -> bool:
        """Keeps the rows unless `purge` drops them. Returns False if there was nothing to stop or drop."""
        params = {"team_id": self._team_id, "type": object_type.name}
        found = self._connection.execute(_QUERIES["forget" if purge else "stop"], params).fetchone()
        self._connection.execute(_QUERIES["forget_proof"], params)
        if found and purge:
            drop_table(self._connection, self._team_id, object_type)
        return found is not None
