"""Creates a team's schema from schema.sql, and says whether the database is of this program's version (see upgrade.py)."""

import re
from functools import cache
from pathlib import Path
from typing import LiteralString, cast

import psycopg
from psycopg import sql

from sync.database import row_counts
from sync.errors import SchemaError
from sync.sql import Queries

SCHEMA_VERSION = 3
# The oldest program that may still work on a database of this version, for the time of a rolling deploy.
OLDEST_PROGRAM = 2
_SCHEMA_SQL = Path(__file__).parents[2] / "schema.sql"
# Any fixed number of our own, for the time before there is a table whose row can be locked.
_UPGRADE_LOCK = 0x62696C6C  # "bill"
_LONGEST_NAME = 63  # bytes; Postgres cuts the rest without a word

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
    """Creates what is missing of one team's schema, inside the caller's transaction.

    A role that the team reads it with may read new tables too.
    """
    name = schema_name(team_id)
    lock(connection)
    make_tables(connection, name)
    mark(connection, name)
    if _has_reader(connection, team_id):
        grant_reader(connection, team_id)


def make_tables(connection: psycopg.Connection, name: str) -> None:
    """All that a schema of that name lacks of a team's tables."""
    template = _parts()[1]
    connection.execute(sql.SQL(template).format(team=sql.Identifier(name), team_name=sql.Literal(name)))


def mark(connection: psycopg.Connection, name: str) -> None:
    """Keeps in the schema's comment which version its tables are of: it comes and goes with them, also in a backup."""
    marked = _QUERIES.bind(team=name, comment=sql.Literal(f"billstack {SCHEMA_VERSION}"))
    connection.execute(marked["mark"])


def ensure_team_schema(connection: psycopg.Connection, team_id: str) -> None:
    """Leaves one that is there alone: to go over it again would lock tables that a backfill is writing."""
    lock(connection)
    if team_version(connection, team_id) is None:
        create_team_schema(connection, team_id)


def grant_reader(connection: psycopg.Connection, team_id: str) -> None:
    connection.execute(reader_grants(team_id))


def reader_grants(team_id: str) -> sql.Composed:
    """What the team's role may read, as statements."""
    reader = _parts()[2]
    names = {"team": sql.Identifier(schema_name(team_id)), "reader": sql.Identifier(reader_name(team_id))}
    return sql.SQL(reader).format(**names)


def drop_team_schema(connection: psycopg.Connection, team_id: str) -> None:
    """Drops one team's mirror with all its rows."""
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema_name(team_id))))
    row_counts.forget(connection, schema_name(team_id))


def check_version(connection: psycopg.Connection) -> None:
    """Raises SchemaError, saying what to run, unless this program may work on the database."""
    version, oldest_program = control_version(connection)
    if version is None or version < SCHEMA_VERSION:
        raise SchemaError("the database is not set up for this version: run `flask --app api init-db`")
    if oldest_program > SCHEMA_VERSION:
        raise _newer(version)


def check_team(connection: psycopg.Connection, team_id: str) -> None:
    """Raises SchemaError unless this program may work on the team's tables. One that has none yet is fine."""
    check_version(connection)
    version = team_version(connection, team_id)
    if version is not None and version < SCHEMA_VERSION:
        raise SchemaError(f"the tables of {team_id} are of an older version: `flask --app api init-db` upgrades them")


def refuse_newer(connection: psycopg.Connection) -> None:
    version, _ = control_version(connection)
    if version is not None and version > SCHEMA_VERSION:
        raise _newer(version)


def _newer(version: int) -> SchemaError:
    return SchemaError(
        f"the database has schema version {version}, this program knows {SCHEMA_VERSION}: deploy the newer program"
    )


def control_version(connection: psycopg.Connection) -> tuple[int | None, int]:
    """The database's version, and the oldest program that may work on it. Version 2 and before did not say."""
    if not _is_there(connection):
        return None, 0
    row = connection.execute(_PLAIN["control_version"]).fetchone()
    return row if row else (None, 0)


def team_version(connection: psycopg.Connection, team_id: str) -> int | None:
    """Of the team's tables: 0 for those of version 2 and before; None while there are none."""
    row = connection.execute(_PLAIN["team_version"], {"schema": schema_name(team_id)}).fetchone()
    return row[0] if row else None


def lock(connection: psycopg.Connection) -> None:
    """Until the transaction ends, nobody else changes schemas and roles: Postgres fails some of that when done at once."""
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
    return _parts()[0]


@cache
def _parts() -> tuple[LiteralString, ...]:
    """The control part of schema.sql, and the templates of a team's schema and of its reader's rights."""
    _, *parts = re.split(r"^-- part: .*$", _SCHEMA_SQL.read_text(), flags=re.MULTILINE)
    # LiteralString: our own file, never a caller's text.
    return tuple(cast(LiteralString, part) for part in parts)
