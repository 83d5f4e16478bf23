"""Searches a team's mirror; the branches of the one statement are in search.sql."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from api.dashboard.mirror_rows import MirrorRows
from api.dashboard.mirror_tables import TABLES
from sync.database.schema import schema_name
from sync.object_types import in_order
from sync.sql import BoundQueries, Queries

_QUERIES = Queries(Path(__file__).with_name("search.sql"))
_BY_START = {"invoices": ("by_number",), "customers": ("by_email", "by_name", "by_last_name")}


@dataclass(frozen=True, slots=True)
class Hit:
    """`kind` is the object's table."""

    kind: str
    id: str
    title: str | None
    detail: str | None
    is_deleted: bool


class SearchStore:
    """One team's objects, on one connection."""

    def __init__(self, connection: psycopg.Connection, team_id: str, mirrored: Collection[str]) -> None:
        self._connection = connection
        self._team_id = team_id
        self._schema = schema_name(team_id)
        self._tables = [each.table for each in in_order(mirrored)]

    def has_mirror(self) -> bool:
        """Every team's schema is made whole."""
        return MirrorRows(self._connection, self._team_id).has_table("customers")

    def search(self, text: str, limit: int) -> list[Hit]:
        """Objects with this id first, then those whose number, address or name starts with the text.

        Ids may begin or end with a space. A person who types one next to an id does not mean it.
        """
        branches = [_bound(self._schema, table)["by_id"] for table in self._tables]
        for table, names in _BY_START.items():
            branches += [_bound(self._schema, table)[name] for name in names if table in self._tables]
        params = {"texts": list({text, text.strip()}), "find": text.strip(), "limit": limit}
        return self._run(branches, params)[:limit]

    def by_ids(self, ids: Sequence[str], tables: Collection[str]) -> list[Hit]:
        """Objects of these tables with these ids."""
        branches = [_bound(self._schema, table)["by_id"] for table in self._tables if table in tables]
        return self._run(branches, {"texts": list(ids)}) if branches and ids else []

    def _run(self, branches: list[str], params: dict[str, object]) -> list[Hit]:
        statement = "\nUNION ALL\n".join(branches)
        with self._connection.cursor(row_factory=class_row(Hit)) as cursor:
            found = cursor.execute(statement.encode(), params).fetchall()
        once: dict[tuple[str, str], Hit] = {}
        for each in found:
            once.setdefault((each.kind, each.id), each)
        return list(once.values())


@cache
def _bound(schema: str, table: str) -> BoundQueries:
    title = TABLES[table].columns[0].key
    return _QUERIES.bind(team=schema, table=table, kind=sql.Literal(table), title=title)
