"""A team's read-only Postgres role. psql and any tool that speaks SQL can read the team's mirror with it.

Its grants decide what it may do. Statement timeouts and read-only transactions are only defaults, which a role can
change for itself.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors, sql
from psycopg.rows import class_row, dict_row

from sync.database.schema import grant_reader, lock, reader_grants, reader_name, schema_name
from sync.errors import Conflict
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("database_access.sql"))
# A role controls these settings in its own sessions, and everybody may read Postgres' catalogs. No SQL can change that.
WHAT_NO_SQL_ENDS = (
    "It may raise its own work_mem, set statement_timeout to 0, and see names and sizes of other teams' tables: SQL cannot"
    " forbid that. docs/psql.md says how the server's host limits it, and has SQL that ends long statements"
)
_PASSWORD_BYTES = 24  # 192 bits, in characters that need no quoting in a URL or a shell


@dataclass(frozen=True, slots=True)
class Reader:
    """Both are None for a role that an administrator created by hand."""

    created_at: datetime | None
    password_set_at: datetime | None


class DatabaseAccess:
    """One team's role, on one connection in autocommit mode. It begins and ends its own transactions."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self._connection = connection
        self._team_id = team_id
        self.role = reader_name(team_id)
        self.schema = schema_name(team_id)
        self._queries = _QUERIES.bind(role=self.role, schema=self.schema, database=connection.info.dbname)

    def find(self) -> Reader | None:
        with self._connection.cursor(row_factory=class_row(Reader)) as cursor:
            return cursor.execute(self._queries["find"], self._params()).fetchone()

    def open(self) -> tuple[str, list[str]]:
        """Creates the role, or gives it a new password and ends the sessions that used the previous one.

        Returns the password, which cannot be read again, and sentences on what the role may do beyond reading. Raises
        Conflict: `not_connected` (no mirror), `may_not_create_roles` with the SQL for an administrator, or
        `role_exists`.
        """
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        with self._translated(self._script_to_open), self._connection.transaction():
            lock(self._connection)
            self._require_mirror()
            self._ensure_role()
            self._set_password(password)
            grant_reader(self._connection, self._team_id)
            self._run("close_to_public")
            self._run("note", **self._params())
            warnings = self._holes()
        self._end_sessions()
        return password, warnings

    def remove(self) -> bool:
        """Returns False if there is none. Raises Conflict `may_not_create_roles` with the SQL for an administrator."""
        with self._translated(self._script_to_remove):
            try:
                self._close()
                self._end_sessions()
                self._drop()
            except errors.UndefinedObject:
                return False
        return True

    def _require_mirror(self) -> None:
        row = self._run("has_mirror", **self._params()).fetchone()
        if not (row and row[0]):
            raise Conflict("there is no mirror to read yet: connect Stripe first", code="not_connected")

    def _ensure_role(self) -> None:
        found = self._run("is_mighty", role=self.role).fetchone()
        if found is None:
            self._run("create_role")
            if not self._is_superuser():
                self._run("join_role")
        elif found[0]:
            raise Conflict(
                f"the database role {self.role} exists and may do more than read: an administrator must drop it first",
                code="role_exists",
            )
        self._run("set_up_role")
        if self._is_superuser():
            self._run("limit_files")

    def _set_password(self, password: str) -> None:
        verifier = self._connection.pgconn.encrypt_password(password.encode(), self.role.encode(), b"scram-sha-256")
        # ALTER ROLE accepts no parameters over the wire, so the client inserts them.
        with psycopg.ClientCursor(self._connection) as cursor:
            cursor.execute(self._queries["set_password"], {"verifier": verifier.decode()})

    def _holes(self) -> list[str]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            holes = cursor.execute(self._queries["holes"], self._params()).fetchone()
        assert holes is not None
        return list(_in_words(holes, self._connection.info.dbname))

    def _close(self) -> None:
        """Commits by itself. From then on no new session can begin, and the old ones can be ended for good."""
        with self._connection.transaction():
            lock(self._connection)
            self._run("close_role")

    def _end_sessions(self) -> None:
        self._run("end_sessions", role=self.role)

    def _drop(self) -> None:
        with self._connection.transaction():
            lock(self._connection)
            self._run("take_rights")
            self._run("forget", team_id=self._team_id)
            try:
                with self._connection.transaction():
                    self._run("drop_role")
            except errors.DependentObjectsStillExist:
                # Roles belong to the server. If a copy of this database also names the role, it stays, without login or
                # rights here.
                pass

    def _is_superuser(self) -> bool:
        return self._connection.info.parameter_status("is_superuser") == "on"

    @contextmanager
    def _translated(self, script: Any) -> Iterator[None]:
        try:
            yield
        except errors.InsufficientPrivilege as exc:
            raise Conflict(
                "BillStack's own database user may not do this: give it CREATEROLE, or let an administrator run the"
                " SQL in this answer",
                code="may_not_create_roles",
                details={"sql": script()},
            ) from exc

    def _script_to_open(self) -> str:
        statements = (self._queries["create_role"], self._queries["set_up_role"], self._grants())
        return "\n".join([*map(_without_comments, statements), f"\\password {self._quoted()}"])

    def _script_to_remove(self) -> str:
        return "\n".join(_without_comments(self._queries[name]) for name in ("take_rights", "drop_role"))

    def _grants(self) -> str:
        return reader_grants(self._connection, self._team_id).as_string(self._connection)

    def _quoted(self) -> str:
        return sql.Identifier(self.role).as_string(self._connection)

    def _params(self) -> dict[str, str]:
        return {"team_id": self._team_id, "role": self.role, "schema": self.schema}

    def _run(self, name: str, **params: Any) -> psycopg.Cursor[Any]:
        return self._connection.execute(self._queries[name], params or None)


def _in_words(holes: dict[str, Any], database: str) -> Iterator[str]:
    if holes["temporary_tables"]:
        quoted = sql.Identifier(database).as_string()
        yield (
            "It may create temporary tables, like everybody in this database. To stop that, its owner runs:"
            f" REVOKE TEMPORARY ON DATABASE {quoted} FROM PUBLIC"
        )
    for schema in holes["open_schemas"]:
        yield (
            f"It may create tables in the schema {schema}, like everybody. To stop that, its owner runs:"
            f" REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
        )
    if holes["large_objects"]:
        yield (
            "It may create large objects, like everybody in this database. To stop that, a superuser runs: REVOKE"
            " EXECUTE ON FUNCTION lo_creat(int), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC"
        )
    if holes["other_databases"]:
        names = ", ".join(holes["other_databases"])
        yield (
            f"It may sign in to other databases of this server, like everybody. To stop that, their owners run:"
            f" REVOKE CONNECT ON DATABASE {names} FROM PUBLIC; and grant it by name to the roles that work there"
        )
    if holes["readable"]:
        yield f"It may also read what everybody in this database may read: {', '.join(holes['readable'])}"
    yield WHAT_NO_SQL_ENDS


def _without_comments(statements: str) -> str:
    return "\n".join(line for line in statements.splitlines() if line and not line.startswith("--"))
