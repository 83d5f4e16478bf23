"""Creates a database role for a team that wants to read its mirror with SQL."""

import shlex
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from flask import Response
from marshmallow import fields
from psycopg.conninfo import make_conninfo

from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body
from api.http.times import iso
from sync.errors import NotFound
from sync.teams.database_access import DatabaseAccess, Reader

blueprint = Blueprint(
    "database_access",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/database-access",
    description="A Postgres role that reads the team's mirror, for psql and reports.",
)


class AccessAnswer(Body):
    host = fields.String(
        required=True, metadata={"description": "the host that BillStack connects to; a folder means a Unix socket"}
    )
    port = fields.Integer(required=True)
    database = fields.String(required=True)
    user = fields.String(required=True)
    schema = fields.String(required=True, metadata={"description": "the role's search_path"})
    psql = fields.String(required=True, metadata={"description": "a command that asks for the password"})


class ExistingAnswer(AccessAnswer):
    exists = fields.Boolean(required=True)
    createdAt = fields.DateTime(required=True, allow_none=True)
    passwordSetAt = fields.DateTime(required=True, allow_none=True)


class OpenedAnswer(AccessAnswer):
    password = fields.String(required=True, metadata={"description": "shown this once"})
    url = fields.String(required=True, metadata={"description": "a connection URL that contains the password"})
    warnings = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "what the role may do beyond reading, and how to stop that"},
    )


@blueprint.endpoint("POST", "", Access.CHANGE_TEAM, answers={201: OpenedAnswer})
def open_access(team_id: str) -> tuple[dict[str, Any], int]:
    """Create the team's database role, or give it a new password

    Only this answer ever shows the password. Connections that used the previous password are closed. If BillStack's own
    database user may not create roles, the answer is 409 `may_not_create_roles`, with the SQL to run in `details`.
    """
    with current_context().pool.connection() as connection:
        access = DatabaseAccess(connection, team_id)
        password, warnings = access.open()
        where = whereabouts(connection, access)
        return {**where, "password": password, "url": _url(connection, where, password), "warnings": warnings}, 201


@blueprint.endpoint("GET", "", Access.READ_TEAM, answers={200: ExistingAnswer})
def show_access(team_id: str) -> dict[str, Any]:
    """Show whether the team has a database role, and where it connects to"""
    reader, where = find_access(team_id)
    since = {"createdAt": iso(reader.created_at), "passwordSetAt": iso(reader.password_set_at)} if reader else {}
    return {"exists": reader is not None, "createdAt": None, "passwordSetAt": None, **where, **since}


@blueprint.endpoint("DELETE", "", Access.CHANGE_TEAM, answers={204: "Dropped"})
def remove_access(team_id: str) -> Response:
    """Drop the team's database role and close its connections"""
    with current_context().pool.connection() as connection:
        if not DatabaseAccess(connection, team_id).remove():
            raise NotFound("there is no database role to remove")
    return Response(status=204)


def find_access(team_id: str) -> tuple[Reader | None, dict[str, Any]]:
    """The role, if there is one, and the address that it connects to."""
    with current_context().pool.connection() as connection:
        access = DatabaseAccess(connection, team_id)
        return access.find(), whereabouts(connection, access)


def whereabouts(connection: psycopg.Connection, access: DatabaseAccess) -> dict[str, Any]:
    """The server that BillStack itself is connected to, even if DATABASE_URL leaves parts of it to defaults."""
    info = connection.info
    conninfo = make_conninfo(
        host=info.host, port=info.port, dbname=info.dbname, user=access.role, **_encryption(connection)
    )
    return {
        "host": info.host,
        "port": info.port,
        "database": info.dbname,
        "user": access.role,
        "schema": access.schema,
        "psql": f"psql {shlex.quote(conninfo)}",
    }


def _url(connection: psycopg.Connection, where: dict[str, Any], password: str) -> str:
    is_socket = where["host"].startswith("/")
    query = _encryption(connection) | ({"host": where["host"], "port": str(where["port"])} if is_socket else {})
    host = "" if is_socket else f"{_bracketed(where['host'])}:{where['port']}"
    address = f"postgresql://{where['user']}:{password}@{host}/{quote(where['database'], safe='')}"
    return f"{address}?{urlencode(query)}" if query else address


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _encryption(connection: psycopg.Connection) -> dict[str, str]:
    """A reader over the network should encrypt as carefully as BillStack does."""
    mode = connection.info.get_parameters().get("sslmode")
    return {"sslmode": mode} if mode else {}
