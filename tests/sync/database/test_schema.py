"""Creating and upgrading the database: from nothing, again, from several hosts at once, and never a newer one."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from scripts.local.servers import at_database
from sync.database import schema
from sync.database.upgrade import upgrade
from sync.errors import SchemaError
from sync.mirror.store import MirrorStore
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES, in_order
from tests.factories import NOW, charge
from tests.sync.mirrored import mirror, open_window, page_of

CHARGE = OBJECT_TYPES["charge"]


@pytest.fixture
def empty_database(postgres_server) -> Iterator[str]:
    """Nothing in it, not even our schema."""
    name = "billstack_schema_test"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield at_database(postgres_server.url, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def tables(connection: psycopg.Connection, name: str) -> set[str]:
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (name,))
    return {table for (table,) in rows}


def add_team(connection: psycopg.Connection, team_id: str) -> None:
    connection.execute("INSERT INTO billstack.teams (id, name) VALUES (%s, 'Test')", (team_id,))
    connection.execute(
        "INSERT INTO billstack.connections (team_id, account_id, livemode) VALUES (%s, 'acct_1', false)", (team_id,)
    )
    with connection.transaction():
        schema.create_team_schema(connection, team_id)


def test_a_database_is_made_from_nothing(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        with pytest.raises(SchemaError, match="init-db"):
            schema.check_version(connection)

        upgrade(connection)

        schema.check_version(connection)
        assert {"users", "teams", "connections", "backfills", "events"} <= tables(connection, "billstack")


def test_upgrading_again_changes_nothing(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        upgrade(connection)
        add_team(connection, "team_a")
        connection.execute("INSERT INTO stripe_team_a.customers (id, raw, as_of, as_of_until) VALUES ('c', '{}', 1, 1)")

        upgrade(connection)

        assert connection.execute("SELECT id FROM stripe_team_a.customers").fetchall() == [("c",)]
        schema.check_version(connection)


def test_what_a_backfill_met_before_the_upgrade_is_known_after_it(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        upgrade(connection)
        add_team(connection, "team_a")
        store = MirrorStore(connection, "team_a")
        key = open_window(store, CHARGE)
        connection.execute("DROP TABLE stripe_team_a.seen_pages")
        connection.execute("CREATE TABLE stripe_team_a.seen (type text, id text, PRIMARY KEY (type, id))")
        connection.execute(
            "INSERT INTO stripe_team_a.seen VALUES ('charge', 'ch_1'), ('charge', 'ch_2'), ('price', 'p_1')"
        )

        upgrade(connection)
        upgrade(connection)

        met = connection.execute("SELECT type, unnest(ids) FROM stripe_team_a.seen_pages ORDER BY 1, 2").fetchall()
        assert met == [("charge", "ch_1"), ("charge", "ch_2"), ("price", "p_1")]
        assert mirror(store, key, page_of([charge("ch_2"), charge("ch_3")], as_of=NOW), CHARGE).counted == 1
        assert "seen" not in tables(connection, "stripe_team_a")


def test_hosts_that_upgrade_at_once_wait_for_each_other(empty_database: str) -> None:
    errors: list[Exception] = []
    together = threading.Barrier(6)

    def deploy() -> None:
        try:
            with psycopg.connect(empty_database, autocommit=True) as connection:
                together.wait()
                upgrade(connection)
        except Exception as exc:
            errors.append(exc)

    hosts = [threading.Thread(target=deploy) for _ in range(6)]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join()

    assert errors == []
    with psycopg.connect(empty_database) as connection:
        schema.check_version(connection)


def test_a_newer_database_is_refused_and_left_as_it_is(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        upgrade(connection)
        newer = schema.SCHEMA_VERSION + 1
        connection.execute("UPDATE billstack.schema_version SET version = %s, oldest_program = %s", (newer, newer))

        for look in (upgrade, schema.check_version):
            with pytest.raises(SchemaError, match="deploy the newer program"):
                look(connection)

        found = connection.execute("SELECT version FROM billstack.schema_version").fetchone()
        assert found == (schema.SCHEMA_VERSION + 1,)


def test_a_newer_database_that_still_serves_this_program_is_worked_on_and_left_as_it_is(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        upgrade(connection)
        connection.execute("UPDATE billstack.schema_version SET version = version + 1")

        schema.check_version(connection)

        with pytest.raises(SchemaError, match="deploy the newer program"):
            upgrade(connection)


def test_an_older_database_is_upgraded_before_it_is_used(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        upgrade(connection)
        connection.execute("UPDATE billstack.schema_version SET version = 0")
        with pytest.raises(SchemaError, match="init-db"):
            schema.check_version(connection)

        upgrade(connection)

        schema.check_version(connection)


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA billstack")
        connection.execute("CREATE VIEW billstack.sessions AS SELECT 1 AS in_the_way")

        with pytest.raises(psycopg.Error):
            upgrade(connection)

        assert tables(connection, "billstack") == set()


def test_an_upgrade_brings_every_teams_schema_along_and_raises_none_from_the_dead(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        upgrade(connection)
        for team_id in ("team_a", "team_b", "team_gone"):
            add_team(connection, team_id)
        connection.execute("DROP TABLE stripe_team_a.rejects")
        connection.execute("DROP INDEX stripe_team_b.charges_status")
        schema.drop_team_schema(connection, "team_gone")

        upgrade(connection)

        assert "rejects" in tables(connection, "stripe_team_a")
        assert connection.execute("SELECT to_regclass('stripe_team_b.charges_status') IS NOT NULL").fetchone() == (
            True,
        )
        assert tables(connection, "stripe_team_gone") == set()


def test_a_teams_schema_has_a_table_for_every_type_under_its_own_name(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        upgrade(connection)
        add_team(connection, "team_k3v9")

        assert schema.schema_name("team_k3v9") == "stripe_team_k3v9"
        assert {object_type.table for object_type in in_order(DEFAULT_TYPES)} <= tables(connection, "stripe_team_k3v9")
        for object_type in in_order(DEFAULT_TYPES):
            indexes = connection.execute(
                "SELECT count(*) FROM pg_indexes WHERE schemaname = 'stripe_team_k3v9' AND tablename = %s",
                (object_type.table,),
            ).fetchone()
            assert indexes
            assert indexes[0] >= 2, "the primary key, and at least created"


def test_dropping_a_teams_schema_takes_no_other_with_it(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        upgrade(connection)
        for team_id in ("team_a", "team_ab"):
            add_team(connection, team_id)

        schema.drop_team_schema(connection, "team_a")
        schema.drop_team_schema(connection, "team_a")

        assert tables(connection, "stripe_team_a") == set()
        assert "customers" in tables(connection, "stripe_team_ab")


def test_raw_is_never_compressed_with_pglz(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        upgrade(connection)
        add_team(connection, "team_a")

        found = connection.execute(
            """
            SELECT DISTINCT attcompression::text, attstorage::text FROM pg_attribute
            WHERE attname = 'raw' AND attrelid = 'stripe_team_a.customers'::regclass
            """
        ).fetchall()

        assert found in ([("l", "x")], [("", "e")])


def test_a_database_of_the_version_before_gets_what_is_new(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        upgrade(connection)
        add_team(connection, "team_a")
        connection.execute("DROP TABLE billstack.activity")
        connection.execute("UPDATE billstack.schema_version SET version = 1")
        with pytest.raises(SchemaError, match="init-db"):
            schema.check_version(connection)

        upgrade(connection)

        schema.check_version(connection)
        assert "activity" in tables(connection, "billstack")
        assert connection.execute("SELECT team_id FROM billstack.connections").fetchall() == [("team_a",)]
