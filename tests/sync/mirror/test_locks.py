"""A team's reader can hold no lock that somebody else waits for."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from sync.database.schema import lock, reader_name
from sync.mirror.store import MirrorStore, WindowKey
from sync.object_types import OBJECT_TYPES
from sync.teams.database_access import DatabaseAccess
from tests.sync.conftest import Team
from tests.sync.mirrored import open_window

CUSTOMER = OBJECT_TYPES["customer"]


@pytest.fixture
def reader(team: Team) -> Iterator[psycopg.Connection]:
    """In a transaction that is open and read-write."""
    with team.connect() as admin:
        access = DatabaseAccess(admin, team.id)
        access.open()
        with team.connect() as connection, connection.transaction():
            connection.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(team.schema)))
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(reader_name(team.id))))
            connection.execute("SET LOCAL transaction_read_only = off")
            yield connection
        access.remove()


@pytest.fixture
def key(store: MirrorStore) -> WindowKey:
    return open_window(store)


def hold_all_that_it_may(reader: psycopg.Connection, team: Team) -> None:
    """The advisory locks that writers took, which anybody may, and the strongest lock on each table that it may read."""
    for _, object_type in OBJECT_TYPES.items():
        reader.execute("SELECT pg_advisory_xact_lock(hashtext(%s), %s)", (f"stripe_{team.id}", object_type.ordinal))
    reader.execute("SELECT pg_advisory_xact_lock(hashtext('billstack.people'))")
    reader.execute("SELECT pg_advisory_xact_lock(%s)", (0x62696C6C,))
    reader.execute("LOCK TABLE customers IN ACCESS SHARE MODE")


def test_pages_events_and_upgrades_go_on_whatever_a_reader_holds(
    store: MirrorStore, key: WindowKey, team: Team, reader: psycopg.Connection
) -> None:
    hold_all_that_it_may(reader, team)

    with store.connection.transaction():
        store.connection.execute("SET LOCAL lock_timeout = '2s'")
        assert store.lock_window(CUSTOMER, key)
    with store.connection.transaction():
        store.connection.execute("SET LOCAL lock_timeout = '2s'")
        store.lock_type(CUSTOMER)
        lock(store.connection)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM billstack.turns FOR KEY SHARE",
        "SELECT FROM billstack.locks FOR KEY SHARE",
        "SELECT FROM customers FOR KEY SHARE",
        "LOCK TABLE customers IN SHARE MODE",
        "LOCK TABLE customers IN ROW EXCLUSIVE MODE",
    ],
)
def test_a_reader_may_lock_nothing_that_writers_wait_for(reader: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
        reader.execute(statement.encode())


def test_two_writers_of_a_type_do_not_wait_for_each_other(store: MirrorStore, key: WindowKey, team: Team) -> None:
    """Neighbouring connections take different turns; a third in their way would wait for a page, not for a deadlock."""
    store.connection.execute(
        "INSERT INTO billstack.windows (backfill_id, type, number, variant, gte, lt, floor, fence)"
        " SELECT backfill_id, type, number + 1, variant, gte, lt, floor, fence FROM billstack.windows WHERE number = %s",
        (key.number,),
    )
    other = WindowKey(key.backfill_id, key.type, key.number + 1, key.fence)
    with team.connect() as first, team.connect() as second:
        if (first.info.backend_pid - second.info.backend_pid) % 4 == 0:
            pytest.skip("Postgres gave these two connections process ids that share a turn")
        with first.transaction(), second.transaction():
            second.execute("SET LOCAL lock_timeout = '2s'")
            assert MirrorStore(first, team.id).lock_window(CUSTOMER, key)
            assert MirrorStore(second, team.id).lock_window(CUSTOMER, other)
