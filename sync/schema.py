"""Creates and upgrades the database from schema.sql, one host at a time."""

import re
from pathlib import Path
from typing import LiteralString, cast

import psycopg
from psycopg import sql

from sync import row_counts
from sync.errors import SchemaError

SCHEMA_VERSION = 3
_SCHEMA_SQL = Path(__file__).parent.parent / "schema.sql"
# Any fixed number of our own: everyone who upgrades this database takes this lock first.
_UPGRADE_LOCK = 0x62696C6C  # "bill"
_LONGEST_NAME = 63  # bytes; Postgres cuts the rest without a word


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


def upgrade(connection: psycopg.Connection) -> None:
    """Brings the control schema and every team's schema to this program's version, in one transaction.

    Safe at every deploy and from several hosts at once. Raises SchemaError for a database of a newer version.
    """
    control, _, _ = _parts()
    with connection.transaction():
        lock(connection)
        _refuse_newer(_version(connection))
        connection.execute(control)
        connection.execute(
            """
            INSERT INTO billstack.schema_version (version) VALUES (%s)
            ON CONFLICT (one_row) DO UPDATE SET version = excluded.version, applied_at = now()
            """,
            (SCHEMA_VERSION,),
        )
        teams = connection.execute("SELECT team_id FROM billstack.connections ORDER BY team_id").fetchall()
        for (team_id,) in teams:
            if _exists(connection, schema_name(team_id)):
                create_team_schema(connection, team_id)


def create_team_schema(connection: psycopg.Connection, team_id: str) -> None:
    """Creates what is missing of one team's schema, inside the caller's transaction.

    A role that the team reads it with may read new tables too.
    """
    _, team, _ = _parts()
    name = schema_name(team_id)
    lock(connection)
    connection.execute(sql.SQL(team).format(team=sql.Identifier(name), team_name=sql.Literal(name)))
    if _has_reader(connection, team_id):
        grant_reader(connection, team_id)


def ensure_team_schema(connection: psycopg.Connection, team_id: str) -> None:
    """Leaves one that is there alone: to go over it again would lock tables that a backfill is writing."""
    lock(connection)
    if not _exists(connection, schema_name(team_id)):
        create_team_schema(connection, team_id)


def grant_reader(connection: psycopg.Connection, team_id: str) -> None:
    connection.execute(reader_grants(team_id))


def reader_grants(team_id: str) -> sql.Composed:
    """What the team's role may read, as statements."""
    _, _, reader = _parts()
    names = {"team": sql.Identifier(schema_name(team_id)), "reader": sql.Identifier(reader_name(team_id))}
    return sql.SQL(reader).format(**names)


def drop_team_schema(connection: psycopg.Connection, team_id: str) -> None:
    """Drops one team's mirror with all its rows."""
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema_name(team_id))))
    row_counts.forget(connection, schema_name(team_id))


def check_version(connection: psycopg.Connection) -> None:
    """Raises SchemaError, saying what to run, unless the database is of exactly this program's version."""
    version = _version(connection)
    _refuse_newer(version)
    if version != SCHEMA_VERSION:
        raise SchemaError("the database is not set up for this version: run `flask --app api init-db`")


def lock(connection: psycopg.Connection) -> None:
    """Until the transaction ends, nobody else changes schemas and roles: Postgres fails some of that when done at once."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_UPGRADE_LOCK,))


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


def _refuse_newer(version: int | None) -> None:
    if version is not None and version > SCHEMA_VERSION:
        raise SchemaError(
            f"the database has schema version {version}, this program knows {SCHEMA_VERSION}: deploy the newer program"
        )


def _version(connection: psycopg.Connection) -> int | None:
    (table,) = connection.execute("SELECT to_regclass('billstack.schema_version')").fetchone() or (None,)
    if table is None:
        return None
    row = connection.execute("SELECT version FROM billstack.schema_version").fetchone()
    return row[0] if row else None


def _exists(connection: psycopg.Connection, schema: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone() is not None


def _parts() -> tuple[LiteralString, ...]:
    """The control part of schema.sql, and the templates of a team's schema and of its reader's rights."""
    _, *parts = re.split(r"^-- part: .*$", _SCHEMA_SQL.read_text(), flags=re.MULTILINE)
    # LiteralString: our own file, never a caller's text.
    return tuple(cast(LiteralString, part) for part in parts)
