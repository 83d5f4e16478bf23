"""Reads a team's mirror for the explore pages; the statements are in mirror_rows.sql."""

from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from sync.database.schema import schema_name
from sync.sql import BoundQueries, Queries

_QUERIES = Queries(Path(__file__).with_name("mirror_rows.sql"))

Row = dict[str, Any]


class MirrorRows:
    """One team's mirror, on one connection."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self._connection = connection
        self._schema = schema_name(team_id)

    def has_mirror(self) -> bool:
        row = self._connection.execute(_bound(self._schema, "")["has_mirror"], {"schema": self._schema}).fetchone()
        return bool(row and row[0])

    def list_rows(self, table: str, conditions: list[str], *, limit: int, **params: Any) -> list[Row]:
        """The newest first. `conditions` are block names; `params` are their parameters."""
        queries = _bound(self._schema, table)
        statement = "\n".join(queries[block] for block in (table, *conditions, "page"))
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement, params | {"limit": limit}).fetchall()

    def find_row(self, table: str, id: str) -> Row | None:
        return next(iter(self.list_rows(table, ["where_id"], limit=1, id=id)), None)

    def raw(self, table: str, id: str) -> str:
        """An object's JSON as Stripe sent it, indented."""
        row = self._connection.execute(_bound(self._schema, table)["raw"], {"id": id}).fetchone()
        return str(row[0]) if row else ""


@cache
def _bound(schema: str, table: str) -> BoundQueries:
    return _QUERIES.bind(team=schema, table=table)
