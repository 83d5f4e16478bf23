"""Creates a team's schema from schema.sql, and checks that the database has this program's version (see upgrade.py)."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import LiteralString, cast

import psycopg
from psycopg import errors, sql

from sync.database import dbt, row_counts
from sync.errors import SchemaError
from sync.object_types import DEFAULT_TYPES, ObjectType, in_order
from sync.round_trip import Call, Rows
from sync.sql import Queries

SCHEMA_VERSION = 5
# The oldest program that may still use a database of this version, which matters during a rolling deploy.
OLDEST_PROGRAM = 3
_SCHEMA_SQL = Path(__file__).parents[2] / "schema.sql"
# An arbitrary number of our own, for the time before there is a table with a row to lock.
_UPGRADE_LOCK = 0x62696C6C  # "bill"
_LONGEST_NAME = 63  # bytes; Postgres silently cuts longer names

_QUERIES = Queries(Path(__file__).with_name("versions.sql"))
_PLAIN = _QUERIES.bind()


def schema_name(team_id: str) -> str:
    """The Postgres schema of one team's mirror: `team_k3v9…` -> `stripe_team_k3v9…`."""
    return f"stripe_{team_id}"


def reader_name(team_id: str) -> str:
    """The Postgres role that reads one team's mirror: `team_k3v9…` -> `stripe_team_k3v9…_reader`.

    Raises ValueError for an id that is too long: Postgres would cut the name, and two teams might share a role.
    """
    name = f"{schema_name(team_id)}_reader"
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError("this team's id is too long for the name of a Postgres role")
    return name


def create_team_schema(connection: psycopg.Connection, team_id: str) -> None:
    """Creates what one team's schema lacks, inside the caller's transaction.

    If the team has a reader role, grants it access to new tables too.
    """
    name = schema_name(team_id)
    lock(connection)
    make_tables(connection, name, types_with_tables(connection, team_id))
    make_views(connection, name)
    mark(connection, name)
    dbt.refresh_views(connection, name)
    if _has_reader(connection, team_id):
        grant_reader(connection, team_id)


def make_dbt_views(connection: psycopg.Connection, team_id: str) -> str:
    """Creates the views for dbt, or brings them up to date, inside the caller's transaction. Returns their schema.

    Raises SchemaError if the team has no mirror, or if something of a person's own is in the way.
    """
    name = schema_name(team_id)
    lock(connection)
    if team_version(connection, team_id) is None:
        raise SchemaError(f"{team_id} has no mirror yet: connect it to Stripe first")
    dbt.make_views(connection, name)
    if _has_reader(connection, team_id):
        grant_reader(connection, team_id)
    return dbt.views_schema(name)


def drop_dbt_views(connection: psycopg.Connection, team_id: str) -> bool:
    """Returns False if there are none."""
    lock(connection)
    return dbt.drop_views(connection, schema_name(team_id))


def types_with_tables(connection: psycopg.Connection, team_id: str) -> list[ObjectType]:
    """The types that every team mirrors, plus those that this team mirrors or mirrored before."""
    added = connection.execute(_PLAIN["added_types"], {"team_id": team_id}).fetchall()
    return in_order({*DEFAULT_TYPES, *(name for (name,) in added)})


def make_tables(connection: psycopg.Connection, name: str, types: Iterable[ObjectType]) -> None:
    """Creates every team table that the schema lacks, including the tables of these types."""
    names = {"team": sql.Identifier(name), "team_name": sql.Literal(name)}
    for part in ("team", *(f"type {each.name}" for each in types), "settled"):
        connection.execute(sql.SQL(parts()[part]).format(**names))


def tables_of(object_type: ObjectType) -> list[str]:
    """The table of the type's objects, and those of what Stripe tells of them only in other lists."""
    return re.findall(r"^CREATE TABLE IF NOT EXISTS {team}\.(\w+)", parts()[f"type {object_type.name}"], re.MULTILINE)


def make_views(connection: psycopg.Connection, name: str) -> None:
    """Creates the views of numbers over the schema's tables.

    Raises SchemaError if something else has the name of a view: it is never replaced.
    """
    template = parts()["numbers"]
    views = re.findall(r"^CREATE OR REPLACE VIEW {team}\.(\w+)", template, flags=re.MULTILINE)
    taken = connection.execute(_PLAIN["taken_names"], {"schema": name, "names": views}).fetchall()
    if taken:
        raise SchemaError(
            f"{name}.{taken[0][0]} does not belong to BillStack, which needs its name: rename it and run init-db"
        )
    connection.execute(sql.SQL(template).format(team=sql.Identifier(name)))


def mark(connection: psycopg.Connection, name: str) -> None:
    """Records the tables' version in the schema's comment, which moves with the tables, even into a backup."""
    marked = _QUERIES.bind(team=name, comment=sql.Literal(f"billstack {SCHEMA_VERSION}"))
    connection.execute(marked["mark"])


def ensure_team_schema(connection: psycopg.Connection, team_id: str) -> None:
    """Does nothing if the schema exists: another pass would lock tables that a backfill is writing."""
    if team_version(connection, team_id) is not None:  # nobody waits for an upgrade of other teams
        return
    lock(connection)
    if team_version(connection, team_id) is None:
        create_team_schema(connection, team_id)


def ensure_tables(connection: psycopg.Connection, team_id: str, types: Iterable[ObjectType]) -> None:
    """Creates the tables of newly mirrored types, inside the caller's transaction."""
    lock(connection)
    make_tables(connection, schema_name(team_id), types)
    dbt.refresh_views(connection, schema_name(team_id))
    if _has_reader(connection, team_id):
        grant_reader(connection, team_id)


def drop_table(connection: psycopg.Connection, team_id: str, object_type: ObjectType) -> None:
    """Drops the type's tables with all their rows, inside the caller's transaction."""
    lock(connection)
    tables = tables_of(object_type)
    dbt.refresh_views(connection, schema_name(team_id), without=tables)
    for table in tables:
        name = sql.Identifier(schema_name(team_id), table)
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name))
    row_counts.forget_table(connection, schema_name(team_id), object_type.table)


def grant_reader(connection: psycopg.Connection, team_id: str) -> None:
    connection.execute(reader_grants(connection, team_id))
    dbt.grant_views(connection, schema_name(team_id), reader_name(team_id))


def reader_grants(connection: psycopg.Connection, team_id: str) -> sql.Composed:
    """The statements that grant the team's role its read access."""
    name = schema_name(team_id)
    types = types_with_tables(connection, team_id)
    tables = [sql.Identifier(name, table) for each in types for table in tables_of(each)]
    names = {"team": sql.Identifier(name), "reader": sql.Identifier(reader_name(team_id))}
    return sql.SQL(parts()["reader"]).format(tables=sql.SQL(", ").join(tables), **names)


def drop_team_schema(connection: psycopg.Connection, team_id: str) -> None:
    """Drops one team's mirror with all its rows."""
    dbt.drop_views(connection, schema_name(team_id))
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema_name(team_id))))
    row_counts.forget(connection, schema_name(team_id))


def check_version(connection: psycopg.Connection) -> None:
    """Raises SchemaError, which says what to run, unless this program may use the database."""
    _check_control(*control_version(connection))


def _check_control(version: int | None, oldest_program: int) -> None:
    if version is None or version < SCHEMA_VERSION:
        raise SchemaError("the database is not set up for this version: run `flask --app api init-db`")
    if oldest_program > SCHEMA_VERSION:
        raise _newer(version)


def check_team(connection: psycopg.Connection, team_id: str) -> None:
    """Raises SchemaError unless this program may use the team's tables. A team without tables is fine."""
    try:
        rows = connection.execute(_PLAIN["both_versions"], {"schema": schema_name(team_id)}).fetchall()
    except errors.UndefinedTable:
        rows = []
    check_versions(team_id, rows)


def versions_call(team_id: str) -> Call:
    """Reads what `check_versions` takes, together with other statements."""
    return Call(_PLAIN.numbered("both_versions"), {"schema": schema_name(team_id)})


def check_versions(team_id: str, rows: Rows) -> None:
    """Like check_team."""
    control, oldest_program, version = rows[0] if rows else (None, 0, None)
    _check_control(control, oldest_program)
    if version is not None and version < SCHEMA_VERSION:
        raise SchemaError(f"the tables of {team_id} have an older version: upgrade them with `flask --app api init-db`")


def refuse_too_new(connection: psycopg.Connection) -> None:
    """Raises SchemaError if the database is too new for this program. One that is too old will be upgraded."""
    version, oldest_program = control_version(connection)
    if version is not None and oldest_program > SCHEMA_VERSION:
        raise _newer(version)


def refuse_newer(connection: psycopg.Connection) -> None:
    version, _ = control_version(connection)
    if version is not None and version > SCHEMA_VERSION:
        raise _newer(version)


def _newer(version: int) -> SchemaError:
    return SchemaError(
        f"the database has schema version {version}, but this program knows only {SCHEMA_VERSION}: deploy"
        " the newer program"
    )


def control_version(connection: psycopg.Connection) -> tuple[int | None, int]:
    """The database's version, and the oldest program that may use it. Versions up to 2 did not record that."""
    if not _is_there(connection):
        return None, 0
    row = connection.execute(_PLAIN["control_version"]).fetchone()
    return row if row else (None, 0)


def team_version(connection: psycopg.Connection, team_id: str) -> int | None:
    """The version of the team's tables. 0 up to version 2; None if there are no tables."""
    row = connection.execute(_PLAIN["team_version"], {"schema": schema_name(team_id)}).fetchone()
    return row[0] if row else None


def lock(connection: psycopg.Connection) -> None:
    """Lets nobody else change schemas and roles until the transaction ends. Postgres fails some concurrent changes."""
    if not connection.execute(_PLAIN["has_locks"]).fetchone():
        connection.execute(_PLAIN["lock_first"], {"number": _UPGRADE_LOCK})
    if connection.execute(_PLAIN["has_locks"]).fetchone():
        connection.execute(_PLAIN["lock_schemas"])


def _has_reader(connection: psycopg.Connection, team_id: str) -> bool:
    row = connection.execute(
        """
        SELECT 1
        FROM billstack.database_access, pg_roles
        WHERE team_id = %s AND rolname = %s
        """,
        (team_id, reader_name(team_id)),
    ).fetchone()
    return row is not None


def _is_there(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT to_regclass('billstack.schema_version') IS NOT NULL").fetchone()
    return row == (True,)


def control_part() -> LiteralString:
    return parts()["control"]


@cache
def parts() -> Mapping[str, LiteralString]:
    """The parts of schema.sql by name: control, team, type ..., settled, reader."""
    _, *found = re.split(r"^-- part: (.*?) -+$", _SCHEMA_SQL.read_text(), flags=re.MULTILINE)
    # LiteralString: our own file, never a caller's text.
    return {name: cast(LiteralString, text) for name, text in zip(found[::2], found[1::2], strict=True)}
