"""Rebuilds a team's tables in the shape that schema.sql defines, while the team's mirror stays in use.

A changed table is created again beside the old one and filled. Only then is the old one locked, for an instant: changes
made in the meantime are copied, and the new table takes its place. ALTER TABLE would rewrite the table while everybody
is locked out, which takes minutes for millions of rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql

from sync.database import row_counts
from sync.errors import SchemaError
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("rebuild.sql"))
_PLAIN = _QUERIES.bind()


@dataclass(frozen=True, slots=True)
class TableShape:
    is_view: bool
    columns: str  # a hash; for a view, of its definition
    indexes: frozenset[str]
    triggers: frozenset[str]


Shape = Mapping[str, TableShape]  # by table


def shapes(connection: psycopg.Connection, schemas: list[str]) -> dict[str, dict[str, TableShape]]:
    """The shapes of these schemas, by name."""
    found: dict[str, dict[str, TableShape]] = {name: {} for name in schemas}
    for schema, table, is_view, columns, *names in connection.execute(_PLAIN["shapes"], {"schemas": schemas}):
        found[schema][table] = TableShape(is_view, columns, *map(frozenset, names))
    return found


def lacks(found: Shape, wanted: Shape) -> bool:
    """Whether anything in `wanted` is missing or different.

    Additional things belong to somebody else and are ignored.
    """
    return any(table not in found or _table_lacks(found[table], shape) for table, shape in wanted.items())


def _table_lacks(found: TableShape, wanted: TableShape) -> bool:
    return found.columns != wanted.columns or not (
        wanted.indexes <= found.indexes and wanted.triggers <= found.triggers
    )


def changed_tables(found: Shape, wanted: Shape) -> list[str]:
    return [table for table in _changed(found, wanted) if not wanted[table].is_view]


def changed_views(found: Shape, wanted: Shape) -> list[str]:
    return [view for view in _changed(found, wanted) if wanted[view].is_view]


def _changed(found: Shape, wanted: Shape) -> list[str]:
    return [name for name, shape in wanted.items() if name in found and found[name].columns != shape.columns]


def drop_views(connection: psycopg.Connection, schema: str) -> list[sql.Composed]:
    """Drops all of our views, because they read each other. Returns statements that restore their grants.

    Raises SchemaError if an administrator's view depends on one of them.
    """
    views = sorted(name for name, shape in shapes(connection, [schema])[schema].items() if shape.is_view)
    grants = [grant for view in views for grant in grants_on(connection, schema, view)]
    names = sql.SQL(", ").join(sql.Identifier(schema, view) for view in views)
    if views:
        _drop(connection, schema, ", ".join(views), _QUERIES.bind(views=names)["drop_views"])
    return grants


def grants_on(connection: psycopg.Connection, schema: str, table: str) -> list[sql.Composed]:
    rows = connection.execute(_PLAIN["grants"], {"table": f"{schema}.{table}"}).fetchall()
    return [
        sql.SQL("GRANT {} ON {} TO {}").format(
            sql.SQL(privilege),
            sql.Identifier(schema, table),
            sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee),
        )
        for grantee, privilege in rows
    ]


def _drop(connection: psycopg.Connection, schema: str, name: str, statement: LiteralString) -> None:
    try:
        connection.execute(statement)
    except errors.DependentObjectsStillExist as exc:
        raise SchemaError(
            f"{schema}.{name} changes, and something of your own depends on it"
            f" ({exc.diag.message_detail}): drop that, run init-db, and make it again"
        ) from exc


@dataclass(slots=True)
class Rebuild:
    """Rebuilds some tables of one schema inside the caller's transaction.

    `make` creates all tables of a schema with the given name.
    """

    connection: psycopg.Connection
    schema: str
    tables: list[str]
    wanted: Shape
    make: Callable[[str], None]
    _since: dict[str, str] = field(default_factory=dict)
    _columns: dict[str, list[str]] = field(default_factory=dict)

    @property
    def _next(self) -> str:
        return f"{self.schema}_next"

    def fill(self) -> None:
        """Creates the new tables and copies the rows. Nobody has to wait for it."""
        self._run("drop_next")
        self.make(self._next)
        for table in self.tables:
            self._columns[table] = self._columns_to_copy(table)
            if "raw" in self._columns[table]:  # a table of objects: each has an id, and no row is ever deleted
                self._since[table] = self._one("snapshot")
                self._run("copy_rows", table)
                self._run("analyze", table)

    def try_lock(self) -> None:
        """Raises LockNotAvailable while another transaction uses one of the tables."""
        names = sql.SQL(", ").join(sql.Identifier(self.schema, table) for table in self.tables)
        self.connection.execute(_QUERIES.bind(tables=names)["try_lock"])

    def swap(self) -> list[sql.Composed]:
        """Puts the new tables in place; they must be locked. Drops our views, and returns the grants to restore on them.

        Raises SchemaError if an administrator's view depends on one of the tables or on a view of ours.
        """
        grants_on_views = drop_views(self.connection, self.schema)
        for table in self.tables:
            self._copy_the_rest(table)
            grants, indexes = grants_on(self.connection, self.schema, table), self._other_indexes(table)
            self._drop(table)
            self._run("move_table", table)
            self._move_count(table)
            for statement in (*indexes, *grants):
                self.connection.execute(statement)
        self._run("drop_next")
        row_counts.forget(self.connection, self._next)
        return grants_on_views

    def _copy_the_rest(self, table: str) -> None:
        if table in self._since:
            self._run("forget_changed", table, since=self._since[table])
            self._run("copy_changed", table, since=self._since[table])
        else:
            self._run("copy_rows", table)

    def _drop(self, table: str) -> None:
        _drop(self.connection, self.schema, table, _QUERIES.bind(team=self.schema, table=table)["drop_table"])

    def _move_count(self, table: str) -> None:
        """The new table's triggers have already counted its rows."""
        for statement in ("forget_count", "forget_count_changes", "move_count", "move_count_changes"):
            self._run(statement, schema=self.schema, next_schema=self._next, table_name=table)

    def _other_indexes(self, table: str) -> list[Any]:
        ours = list(self.wanted[table].indexes)
        rows = self.connection.execute(
            _PLAIN["other_indexes"], {"schema": self.schema, "table": table, "ours": ours}
        ).fetchall()
        return [definition for (definition,) in rows]

    def _columns_to_copy(self, table: str) -> list[str]:
        names = {"old": f"{self.schema}.{table}", "new": f"{self._next}.{table}"}
        return [name for (name,) in self.connection.execute(_PLAIN["columns_to_copy"], names)]

    def _one(self, name: str) -> Any:
        row = self.connection.execute(_PLAIN[name]).fetchone()
        assert row is not None
        return row[0]

    def _run(self, name: str, table: str = "", **params: Any) -> None:
        columns = sql.SQL(", ").join(map(sql.Identifier, self._columns.get(table, ())))
        queries = _QUERIES.bind(team=self.schema, next=self._next, table=table, columns=columns)
        self.connection.execute(queries[name], params)
