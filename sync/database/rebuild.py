"""Rebuilds a team's tables in the shape that schema.sql defines, while the team's mirror stays in use.

A changed table is created again beside the old one and filled. Only then is the old one locked, for an instant: changes
made in the meantime are copied, and the new table takes its place. ALTER TABLE would rewrite the table while everybody
is locked out, which takes minutes for millions of rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors, sql

from sync.database import row_counts
from sync.errors import SchemaError
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("rebuild.sql"))
_PLAIN = _QUERIES.bind()


@dataclass(frozen=True, slots=True)
class TableShape:
    columns: str  # a hash
    indexes: frozenset[str]
    triggers: frozenset[str]


Shape = Mapping[str, TableShape]  # by table


def shapes(connection: psycopg.Connection, schemas: list[str]) -> dict[str, dict[str, TableShape]]:
    """The shapes of these schemas, by name."""
    found: dict[str, dict[str, TableShape]] = {name: {} for name in schemas}
    for schema, table, columns, *names in connection.execute(_PLAIN["shapes"], {"schemas": schemas}):
        found[schema][table] = TableShape(columns, *map(frozenset, names))
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
    return [table for table, shape in wanted.items() if table in found and found[table].columns != shape.columns]


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

    def swap(self) -> None:
        """The tables must be locked. Raises SchemaError if an administrator's view depends on one of them."""
        for table in self.tables:
            self._copy_the_rest(table)
            grants, indexes = self._grants(table), self._other_indexes(table)
            self._drop(table)
            self._run("move_table", table)
            self._move_count(table)
            for statement in (*indexes, *grants):
                self.connection.execute(statement)
        self._run("drop_next")
        row_counts.forget(self.connection, self._next)

    def _copy_the_rest(self, table: str) -> None:
        if table in self._since:
            self._run("forget_changed", table, since=self._since[table])
            self._run("copy_changed", table, since=self._since[table])
        else:
            self._run("copy_rows", table)

    def _drop(self, table: str) -> None:
        try:
            self._run("drop_table", table)
        except errors.DependentObjectsStillExist as exc:
            raise SchemaError(
                f"{self.schema}.{table} has new columns, and a view or other object of yours depends on it"
                f" ({exc.diag.message_detail}): drop that, run init-db, and create it again"
            ) from exc

    def _move_count(self, table: str) -> None:
        """The new table's triggers have already counted its rows."""
        for statement in ("forget_count", "forget_count_changes", "move_count", "move_count_changes"):
            self._run(statement, schema=self.schema, next_schema=self._next, table_name=table)

    def _grants(self, table: str) -> list[sql.Composed]:
        rows = self.connection.execute(_PLAIN["grants"], {"table": f"{self.schema}.{table}"}).fetchall()
        return [
            sql.SQL("GRANT {} ON {} TO {}").format(
                sql.SQL(privilege),
                sql.Identifier(self.schema, table),
                sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee),
            )
            for grantee, privilege in rows
        ]

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
