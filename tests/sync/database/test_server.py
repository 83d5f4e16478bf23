"""A database on which the mirror would come out wrong is refused, and what can be set is set."""

from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from scripts.local.servers import at_database
from sync.database.server import refuse_unfit
from sync.database.session import begin_session
from sync.errors import ConfigError


@pytest.fixture
def make_database(postgres_server):
    """A database with these options; gives a way to connect."""
    made = []

    def make(options: str) -> Callable[[], psycopg.Connection]:
        name = f"unfit_{len(made)}"
        with psycopg.connect(postgres_server.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} " + options).format(sql.Identifier(name)))
        made.append(name)
        url = at_database(postgres_server.url, name)
        return lambda: psycopg.connect(url, autocommit=True, client_encoding="utf8")

    yield make
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_an_encoding_that_loses_what_stripe_sends_is_refused(make_database, encoding: str) -> None:
    connect = make_database(f"TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'")

    with pytest.raises(ConfigError, match=f"has the encoding {encoding}.*ENCODING 'UTF8'") as refused:
        refuse_unfit(connect, "DATABASE_URL")

    assert "\n" not in refused.value.message


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
def test_a_databases_default_isolation_does_not_reach_us(make_database, isolation: str) -> None:
    connect = make_database("TEMPLATE template0")
    with connect() as connection:
        name = sql.Identifier(connection.info.dbname)
        statement = sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = {}")
        connection.execute(statement.format(name, sql.Literal(isolation)))

    with connect() as ours, connect() as another:
        begin_session(ours)
        ours.execute("CREATE TABLE numbers (number integer)")
        ours.execute("INSERT INTO numbers VALUES (1)")
        with ours.transaction():
            assert ours.execute("SELECT sum(number) FROM numbers").fetchone() == (1,)
            another.execute("UPDATE numbers SET number = 2")
            assert ours.execute("UPDATE numbers SET number = number + 1 RETURNING number").fetchone() == (3,)
        assert ours.execute("SHOW transaction_isolation").fetchone() == ("read committed",)


@pytest.mark.parametrize(("default", "ours"), [("off", "on"), ("local", "local"), ("on", "on")])
def test_a_default_not_to_wait_for_the_disk_does_not_reach_us(make_database, default: str, ours: str) -> None:
    connect = make_database("TEMPLATE template0")
    with connect() as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = {}").format(name, sql.Literal(default)))

    with connect() as connection:
        begin_session(connection)

        assert connection.execute("SHOW synchronous_commit").fetchone() == (ours,)


def test_postgres_may_be_away_when_a_process_starts() -> None:
    def connect() -> psycopg.Connection:
        raise psycopg.OperationalError("away")

    refuse_unfit(connect, "DATABASE_URL")


def test_postgres_may_go_away_while_a_process_starts(make_database) -> None:
    """As behind a pooler, which lends a connection that Postgres has just ended."""
    connect = make_database("TEMPLATE template0")

    def connect_to_what_is_gone() -> psycopg.Connection:
        connection = connect()
        with connect() as another:
            another.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
        return connection

    refuse_unfit(connect_to_what_is_gone, "DATABASE_URL")
