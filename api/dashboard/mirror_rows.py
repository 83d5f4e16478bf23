"""Reads a team's mirror for the explore pages; the statements are in mirror_rows.sql."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from api.dashboard.asked import Asked
from api.dashboard.mirror_tables import TABLES
from api.dashboard.paging import NEWEST, Place, Sort, place_of
from sync.database.schema import schema_name
from sync.registry.row import CUSTOMER
from sync.sql import BoundQueries, Queries

_QUERIES = Queries(Path(__file__).with_name("mirror_rows.sql"))

Row = dict[str, Any]

_OWN_SELECTS = ("customers", "products", "prices", "subscriptions", "invoices", "charges")
_ALWAYS = ("id", "created", "deleted_at", "synced_at")
# Further columns that a kind of column needs.
_BESIDE = {"money": ("currency",)}


@dataclass(frozen=True, slots=True)
class Page:
    """`previous` and `next` are places in the list's order, or None at its ends."""

    rows: list[Row]
    previous: Place | None
    next: Place | None


class MirrorRows:
    """One team's mirror, on one connection."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self._connection = connection
        self._schema = schema_name(team_id)

    def has_table(self, table: str) -> bool:
        """Whether the team mirrors the type, or did so before."""
        params = {"schema": self._schema, "table": table}
        return self._connection.execute(_bound(self._schema, table)["has_table"], params).fetchone() is not None

    def list_rows(
        self, table: str, asked: Asked, *, limit: int, sort: Sort = NEWEST, after: Place | None = None
    ) -> list[Row]:
        """In that order, from the first row after a place."""
        conditions, params = _following(sort, after)
        rows = self._run(table, asked, (*conditions, f"by_{sort.order}"), params | {"limit": limit})
        if sort == NEWEST.reverse and after and not after.is_undated and len(rows) < limit:
            rows += self._run(table, asked, ("undated", "by_oldest"), {"limit": limit - len(rows)})
        return rows

    def read_page(
        self, table: str, asked: Asked, sort: Sort, size: int, *, after: Place | None, before: Place | None
    ) -> Page:
        if before is None:
            rows = self.list_rows(table, asked, limit=size + 1, sort=sort, after=after)
            previous = place_of(rows[0], sort) if after and rows else None
            return Page(rows[:size], previous, place_of(rows[size - 1], sort) if len(rows) > size else None)
        rows = self.list_rows(table, asked, limit=size + 1, sort=sort.reverse, after=before)
        if len(rows) <= size:  # the first page, which may have grown
            return self.read_page(table, asked, sort, size, after=None, before=None)
        rows = rows[:size][::-1]
        return Page(rows, place_of(rows[0], sort), place_of(rows[-1], sort))

    def find_row(self, table: str, id: str) -> Row | None:
        asked = Asked(conditions=("where_id",), params={"id": id})
        return next(iter(self.list_rows(table, asked, limit=1)), None)

    def count(self, table: str, asked: Asked, limit: int) -> int:
        """Up to `limit`."""
        return self._one(table, ("count", *asked.conditions, "end_count"), {**asked.params, "limit": limit}, asked)

    def count_live(self, table: str) -> int:
        """Of the whole table, without deleted ones."""
        return self._one(table, ("live",), {"schema": self._schema, "table": table})

    def raw(self, table: str, id: str) -> str:
        """An object's JSON as Stripe sent it, indented."""
        row = self._connection.execute(_bound(self._schema, table)["raw"], {"id": id}).fetchone()
        return str(row[0]) if row else ""

    def references(self, table: str, id: str) -> dict[str, str | None]:
        """The ids that the object names, by column."""
        if not TABLES[table].references:
            return {}
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(_bound(self._schema, table)["references"], {"id": id}).fetchone() or {}

    def _run(self, table: str, asked: Asked, ending: tuple[str, ...], params: Mapping[str, Any]) -> list[Row]:
        queries = _bound(self._schema, table, asked.reference)
        statement = "\n".join(queries[block] for block in (_select(table), *asked.conditions, *ending))
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement, {**asked.params, **params}).fetchall()

    def _one(self, table: str, blocks: tuple[str, ...], params: Mapping[str, Any], asked: Asked | None = None) -> int:
        queries = _bound(self._schema, table, asked.reference if asked else None)
        row = self._connection.execute("\n".join(queries[block] for block in blocks), params).fetchone()
        assert row is not None
        return int(row[0])


def _following(sort: Sort, after: Place | None) -> tuple[tuple[str, ...], dict[str, Any]]:
    if after is None:
        return (), {}
    block = f"after_{sort.order}{'_undated' if after.is_undated else ''}"
    return (block,), {"after_id": after.id} | ({} if after.is_undated else {"at": after.at})


def _select(table: str) -> str:
    """The block that begins the type's list. Some types have their own."""
    if table in _OWN_SELECTS:
        return table
    return "of_customers" if CUSTOMER in TABLES[table].columns else "plain"


@cache
def _bound(schema: str, table: str, reference: str | None = None) -> BoundQueries:
    known = TABLES[table]
    keys = dict.fromkeys(key for column in known.columns for key in (column.key, *_BESIDE.get(column.kind, ())))
    columns = [sql.Identifier("object", key) for key in keys if key not in _ALWAYS]
    amounts = (known.amount.stored or (known.amount.key,)) if known.amount else ("id",)
    return _QUERIES.bind(
        team=schema,
        table=table,
        columns=sql.SQL(", ").join(columns),
        amount=sql.SQL("coalesce({})").format(sql.SQL(", ").join(sql.Identifier("object", each) for each in amounts)),
        reference=reference or "id",
        references=sql.SQL(", ").join(map(sql.Identifier, known.references or ("id",))),
    )
