"""The views that dbt's package for Stripe reads, in a schema of their own for each team that asked for them.

A person's models depend on these views, so they are replaced and never dropped as long as their columns stay. While a
table is rebuilt or dropped, its views read an empty table instead, which has the same columns.
"""

import hashlib
from collections.abc import Collection
from functools import cache
from pathlib import Path

import psycopg
from psycopg import errors, sql

from sync.errors import SchemaError
from sync.object_types import OBJECT_TYPES
from sync.sql import BoundQueries, Queries

_VIEWS = Queries(Path(__file__).with_name("dbt.sql"))
_CATALOG = Queries(Path(__file__).with_name("dbt_catalog.sql"))
# Has the columns that the views read, and no rows.
_EMPTY = sql.Identifier("billstack", "mirror_row")
# Tables that hold no objects, each with what stands in for it.
_OTHERS = {
    "payout_balance_transactions": sql.SQL(
        "(SELECT NULL::text AS payout, NULL::text AS balance_transaction WHERE false)"
    )
}

VIEWS = _VIEWS.bind().names
ALL_TABLES = frozenset((*(each.table for each in OBJECT_TYPES.values()), *_OTHERS))


def views_schema(team_schema: str) -> str:
    """The Postgres schema of one team's views: `stripe_team_k3v9…` -> `stripe_team_k3v9…_dbt`."""
    return f"{team_schema}_dbt"


def statement(view: str) -> str:
    """What makes the view, for a team `x` without tables."""
    return _bound("stripe_x", frozenset())[view]


def has_views(connection: psycopg.Connection, team_schema: str) -> bool:
    name = {"schema": views_schema(team_schema)}
    return connection.execute(_catalog(team_schema)["find_schema"], name).fetchone() is not None


def make_views(connection: psycopg.Connection, team_schema: str) -> int:
    """Creates the schema and the views, or brings them up to date. Returns how many changed.

    Raises SchemaError if something of a person's own is in the way.
    """
    connection.execute(_catalog(team_schema)["make_schema"])
    return refresh_views(connection, team_schema)


def refresh_views(connection: psycopg.Connection, team_schema: str, *, without: Collection[str] = ()) -> int:
    """Makes the views read the tables that there are, except `without`. Does nothing if the team has no such views."""
    if not has_views(connection, team_schema):
        return 0
    name = views_schema(team_schema)
    tables = connection.execute(_catalog(team_schema)["tables"], {"schema": team_schema}).fetchall()
    queries = _bound(team_schema, frozenset(table for (table,) in tables) & ALL_TABLES - set(without))
    known: dict[str, str] = dict(connection.execute(_catalog(team_schema)["comments"], {"schema": name}).fetchall())
    changed = 0
    for view in VIEWS:
        comment = f"BillStack: {hashlib.sha256(queries[view].encode()).hexdigest()[:16]}"
        if known.get(view) != comment:
            _replace(connection, name, view, queries[view])
            connection.execute(_CATALOG.bind(dbt=name, view=view, comment=sql.Literal(comment))["mark"])
            changed += 1
    return changed


def drop_views(connection: psycopg.Connection, team_schema: str) -> bool:
    """Drops the schema with whatever is in it. Returns False if there is none."""
    is_there = has_views(connection, team_schema)
    if is_there:
        connection.execute(_catalog(team_schema)["drop_schema"])
    return is_there


def grant_views(connection: psycopg.Connection, team_schema: str, role: str) -> None:
    """Lets the role read the views, if there are any."""
    if has_views(connection, team_schema):
        connection.execute(_CATALOG.bind(dbt=views_schema(team_schema), reader=role)["grant"])


def _replace(connection: psycopg.Connection, name: str, view: str, statement: str) -> None:
    """A view whose columns change must be dropped first. That fails while something depends on it."""
    try:
        with connection.transaction():
            connection.execute(statement.encode())
    except errors.InvalidTableDefinition:
        try:
            connection.execute(_CATALOG.bind(dbt=name, view=view)["drop_view"])
        except errors.DependentObjectsStillExist as exc:
            raise SchemaError(
                f"{name}.{view} changes, and something of your own depends on it ({exc.diag.message_detail}): drop"
                " that, run init-db, and make it again"
            ) from exc
        connection.execute(statement.encode())
    except errors.WrongObjectType as exc:
        raise SchemaError(f"{name}.{view} is no view of BillStack, which needs its name: rename it") from exc


def _bound(team_schema: str, tables: frozenset[str]) -> BoundQueries:
    sources = {
        table: sql.Identifier(team_schema, table) if table in tables else _OTHERS.get(table, _EMPTY)
        for table in ALL_TABLES
    }
    team_id = sql.Literal(team_schema.removeprefix("stripe_"))
    return _VIEWS.bind(dbt=views_schema(team_schema), team_id=team_id, **sources)


@cache
def _catalog(team_schema: str) -> BoundQueries:
    return _CATALOG.bind(dbt=views_schema(team_schema))
