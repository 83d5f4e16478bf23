"""What the `flask --app api` commands share: a database connection, and errors in one line."""

from typing import Any

import click
import psycopg

from api.http.context import current_context
from sync.database.schema import check_version
from sync.database.session import begin_session
from sync.errors import SchemaError
from workers.context import connection_options


def connect() -> psycopg.Connection[Any]:
    """A connection outside the pool: the pool would wait for an unavailable Postgres instead of failing."""
    settings = current_context().settings
    url = settings.database_direct_url
    try:
        connection = psycopg.connect(url, **connection_options(url, "billstack-cli"))
    except psycopg.OperationalError as exc:
        variable = "DATABASE_URL" if url == settings.database_url else "DATABASE_DIRECT_URL"
        raise click.ClickException(f"Postgres cannot be reached through {variable}: {exc}") from exc
    begin_session(connection)
    return connection


def connect_checked() -> psycopg.Connection[Any]:
    """A connection to a database that has this program's schema version."""
    connection = connect()
    try:
        check_version(connection)
    except SchemaError as exc:
        connection.close()
        raise click.ClickException(exc.message) from exc
    return connection
