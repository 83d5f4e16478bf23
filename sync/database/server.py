"""What BillStack requires of Postgres, connected directly or through a pooler."""

from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import errors

from sync.errors import ConfigError
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("server.sql")).bind()
# What Postgres says to a change that it does not take, while it answers all else.
NO_WRITES = (errors.ReadOnlySqlTransaction, errors.DiskFull)
_READ_COMMITTED = "read committed"


def is_read_only(connection: psycopg.Connection) -> bool:
    """A standby, or a Postgres that was told to take no changes."""
    row = connection.execute(_QUERIES["is_read_only"]).fetchone()
    return row == (True,)


def refuse_unfit(connect: Callable[[], psycopg.Connection], name: str) -> None:
    """Raises a one-line ConfigError for a database or pooler on which the mirror would come out wrong.

    `connect` opens a connection without any settings, to the address in the setting `name`. Raises nothing while
    Postgres is unavailable: a process may start before it.
    """
    try:
        with connect() as connection:
            _refuse_unfit(connection, name)
    except psycopg.OperationalError:
        return


def _refuse_unfit(connection: psycopg.Connection, name: str) -> None:
    row = connection.execute(_QUERIES["server"]).fetchone()
    assert row
    encoding, isolation, commits, server_pid, user, database = row
    if encoding != "UTF8":
        raise ConfigError(
            f"{name}: the database {database} has the encoding {encoding}, which cannot hold Stripe's texts: create "
            "one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    if connection.info.backend_pid == server_pid:  # a pooler gives each client its own process number
        return
    if isolation != _READ_COMMITTED:
        raise ConfigError(
            f"{name}: transactions start as {isolation}, and the pooler does not let BillStack change that: run "
            f"ALTER ROLE {user} IN DATABASE {database} SET default_transaction_isolation = 'read committed'"
        )
    if commits == "off":
        raise ConfigError(
            f"{name}: commits do not wait for the disk, and the pooler does not let BillStack change that: run "
            f"ALTER ROLE {user} IN DATABASE {database} SET synchronous_commit = on"
        )
    try:
        with connection.transaction():
            connection.execute(_QUERIES["server"])
    except errors.ProtocolViolation as exc:
        raise ConfigError(
            f"{name}: the pooler lends a connection for only one statement: set its pool_mode to transaction or session"
        ) from exc
