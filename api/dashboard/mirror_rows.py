"""Reads a team's mirror for the explore pages; the statements are in mirror_rows.sql."""

from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from api.dashboard.mirror_tables import TABLES
from sync.database.schema import schema_name
from sync.registry.row import CUSTOMER
from sync.sql import BoundQueries, Queries

_QUERIES = Queries(Path(__file__).with_name("mirror_rows.sql"))

Row = dict[str, Any]

_OWN_SELECTS = ("customers", "products", "prices", "subscriptions", "invoices", "charges")
_ALWAYS = ("id", "created", "deleted_at", "synced_at")
# Further columns that a kind of column needs.
_BESIDE = {"money": ("currency",)}


class MirrorRows:
    """One team's mirror, on one connection."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self._connection = connection
        self._schema = schema_name(team_id)

    def has_table(self, table: str) -> bool:
        """Whether the team mirrors the type, or did so before."""
        params = {"schema": self._schema, "table": table}
        return self._connection.execute(_bound(self._schema, table)["has_table"], params).fetchone() is not None

    def list_rows(self, table: str, conditions: list[str], *, limit: int, **params: Any) -> list[Row]:
        """The newest first. `conditions` are block names; `params` are their parameters."""
        queries = _bound(self._schema, table)
        statement = "\n".join(queries[block] for block in (_select(table), *conditions, "page"))
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement, params | {"limit": limit}).fetchall()

    def find_row(self, table: str, id: str) -> Row | None:
        return next(iter(self.list_rows(table, ["where_id"], limit=1, id=id)), None)

    def raw(self, table: str, id: str) -> str:
        """An object's JSON as Stripe sent it, indented."""
        row = self._connection.execute(_bound(self._schema, table)["raw"], {"id": id}).fetchone()
        return str(row[0]) if row else ""


def _select(table: str) -> str:
    """The block that begins the type's list. Some types have their own."""
    if table in _OWN_SELECTS:
        return table
    return "of_customers" if CUSTOMER in TABLES[table].columns else "plain"


@cache
def _bound(schema: str, table: str) -> BoundQueries:
    keys = dict.fromkeys(key for column in TABLES[table].columns for key in (column.key, *_BESIDE.get(column.kind, ())))
    columns = [sql.Identifier("object", key) for key in keys if key not in _ALWAYS]
    return _QUERIES.bind(team=schema, table=table, columns=sql.SQL(", ").join(columns))
