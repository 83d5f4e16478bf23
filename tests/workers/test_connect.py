"""A team that gives its mirror up, and what is left for those who read it with SQL."""

import time

import psycopg
import pytest

from api.account.connecting import connect, disconnect
from sync.teams.database_access import DatabaseAccess


@pytest.fixture
def access(team_id, database):
    yield DatabaseAccess(database, team_id)
    DatabaseAccess(database, team_id).remove()


def sign_in(database, access, password) -> psycopg.Connection:
    info = database.info
    return psycopg.connect(host=info.host, port=info.port, dbname=info.dbname, user=access.role, password=password)


def reads(database, access, password) -> bool:
    try:
        with sign_in(database, access, password) as connection:
            connection.execute("SELECT id FROM customers")
    except psycopg.Error:
        return False
    return True


def connect_again(context, team_id):
    connect(context, team_id, secret_key="sk_test_demo", publishable_key=None, webhook_secret=None)


def test_a_disconnect_leaves_the_mirror_to_its_reader(context, team_id, database, access):
    password, _ = access.open()

    disconnect(context, team_id, purge=False)

    assert reads(database, access, password)


def test_a_purge_drops_the_role_and_a_reconnect_does_not_bring_it_back(context, team_id, database, access):
    password, _ = access.open()
    assert reads(database, access, password)

    disconnect(context, team_id, purge=True)
    roles = database.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (access.role,)).fetchall()
    connect_again(context, team_id)

    assert roles == []
    assert not reads(database, access, password)
    assert reads(database, access, access.open()[0])


def test_a_purge_does_not_wait_for_a_reader_at_work(context, team_id, database, access):
    password, _ = access.open()
    reader = sign_in(database, access, password)
    reader.execute("SELECT id FROM customers")
    assert reader.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS

    reader.execute("SET idle_in_transaction_session_timeout = '10s'")
    started = time.monotonic()
    disconnect(context, team_id, purge=True)

    assert time.monotonic() - started < 8
    assert database.execute("SELECT to_regnamespace(%s)", (access.schema,)).fetchone() == (None,)
    reader.close()


def test_a_role_that_was_made_by_hand_reads_nothing_after_a_purge(context, team_id, database, access):
    """Where BillStack could not drop it, it does not give it the next mirror."""
    password, _ = access.open()
    database.execute("DELETE FROM billstack.database_access")

    database.execute(f'DROP SCHEMA "{access.schema}" CASCADE')
    connect_again(context, team_id)

    assert not reads(database, access, password)
    assert access.find() is None
