"""A process has a stated number of connections to Postgres, and waits for one that Postgres refuses."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import TransactionStatus

from sync.database.borrowing import borrowing
from workers import pool as pools
from workers.context import connection_options
from workers.pool import Pool, PoolTimeout


@pytest.fixture
def url(new_database):
    return new_database()


@pytest.fixture
def new_pool(url):
    with contextlib.ExitStack() as stack:

        def create(size=2, wait_s=5.0, **options) -> Pool:
            made = Pool(url, size=size, wait_s=wait_s, options=connection_options(url, "pool test"), **options)
            stack.callback(made.close)
            return made

        yield create


def count(admin, url) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pool test' AND datname = %s"
    return admin.execute(query, (urlsplit(url).path.strip("/"),)).fetchone()[0]


@pytest.fixture
def admin(postgres_server):
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        yield connection


def limit(admin, url, most: int) -> None:
    admin.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name_of(url), sql.Literal(most)))


def name_of(url) -> sql.Identifier:
    return sql.Identifier(urlsplit(url).path.strip("/"))


@pytest.fixture
def plain_user(admin, url):
    """Limits of a database do not hold for superusers."""
    admin.execute("CREATE ROLE pool_test LOGIN")
    admin.execute(sql.SQL("GRANT ALL ON DATABASE {} TO pool_test").format(name_of(url)))
    yield urlsplit(url)._replace(netloc="pool_test@").geturl()
    admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM pool_test").format(name_of(url)))
    admin.execute("DROP ROLE pool_test")


def test_forty_threads_share_two_connections(new_pool, admin, url):
    pool = new_pool(size=2)

    def work(_: int) -> int:
        with pool.connection() as connection:
            return connection.execute("SELECT pg_backend_pid() FROM pg_sleep(0.01)").fetchone()[0]

    with ThreadPoolExecutor(40) as threads:
        pids = list(threads.map(work, range(200)))

    assert len(set(pids)) == 2
    assert count(admin, url) == 2


def test_the_one_that_came_back_last_is_lent_first(new_pool):
    """Its server process has the tables and plans at hand."""
    pool = new_pool(size=3)
    held = [pool.getconn() for _ in range(3)]
    for each in held:
        pool.putconn(each)

    with pool.connection() as first, pool.connection() as second:
        assert [first, second] == [held[2], held[1]]
    with pool.connection() as again:
        assert again is first


def test_none_in_time_is_a_timeout_and_leaves_the_line(new_pool):
    pool = new_pool(size=1)

    with pool.connection(), pytest.raises(PoolTimeout), pool.connection(timeout=0.1):
        pass
    with pool.connection(timeout=0.1) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_who_gives_back_and_wants_it_again_does_not_keep_others_from_it(new_pool):
    pool, stopped = new_pool(size=1), threading.Event()

    def greedy() -> None:
        while not stopped.is_set():
            with pool.connection():
                time.sleep(0.005)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(greedy)
        try:
            for _ in range(20):
                with pool.connection(timeout=30):
                    pass
        finally:
            stopped.set()


def test_a_refused_connection_is_waited_for(admin, url, plain_user):
    refusals: list[float] = []
    pool = Pool(
        plain_user,
        size=2,
        wait_s=10,
        options=connection_options(plain_user, "pool test"),
        refused=lambda: refusals.append(time.monotonic()),
    )
    limit(admin, url, 0)
    timer = threading.Timer(1.5, lambda: None)
    with ThreadPoolExecutor(1) as threads, contextlib.closing(pool):
        asked = threads.submit(lambda: _user(pool))
        timer.start()
        timer.join()
        limit(admin, url, -1)

        assert asked.result() == "pool_test"
    assert refusals


def _user(pool: Pool) -> str:
    with pool.connection() as connection:
        return connection.execute("SELECT current_user").fetchone()[0]


def test_while_postgres_refuses_what_others_give_back_is_taken(admin, url, plain_user):
    pool = Pool(plain_user, size=2, wait_s=5, options=connection_options(plain_user, "pool test"))
    limit(admin, url, 1)
    with contextlib.closing(pool), ThreadPoolExecutor(1) as threads:
        with pool.connection():
            asked = threads.submit(_user, pool)
            time.sleep(0.5)
            assert not asked.done()
        assert asked.result() == "pool_test"


def test_a_refusal_that_lasts_is_a_timeout_and_the_log_says_why(admin, url, plain_user, caplog):
    pool = Pool(plain_user, size=2, wait_s=3, options=connection_options(plain_user, "pool test"))
    limit(admin, url, 0)

    with contextlib.closing(pool), pytest.raises(PoolTimeout), pool.connection():
        pass

    assert "too many connections" in caplog.text


def test_after_a_restart_of_postgres_all_dead_ones_are_replaced_at_once(new_pool, admin):
    """psycopg's pool pauses after each dead one that it finds; seven of them would take longer than a request waits."""
    pool = new_pool(size=7)
    with contextlib.ExitStack() as lent:
        pids = [lent.enter_context(pool.connection()).info.backend_pid for _ in range(7)]
    for pid in pids:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    began = time.monotonic()
    with pool.connection() as connection:
        assert connection.info.backend_pid not in pids
    assert time.monotonic() - began < 3


def test_a_connection_that_postgres_ended_is_not_lent(new_pool, admin):
    pool = new_pool()
    with pool.connection() as connection:
        pid = connection.info.backend_pid
    admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
    while admin.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
        time.sleep(0.01)

    with pool.connection() as connection:
        assert connection.execute("SELECT pg_backend_pid()").fetchone()[0] != pid


def test_nobody_gets_a_connection_with_anothers_transaction(new_pool):
    pool = new_pool(size=1)
    with pool.connection() as connection:
        connection.execute("BEGIN")

    with pool.connection() as connection:
        assert connection.info.transaction_status == TransactionStatus.IDLE


def test_idle_ones_are_closed(new_pool, admin, url, monkeypatch):
    monkeypatch.setattr(pools, "IDLE_S", 1.0)
    pool = new_pool()
    with pool.connection(), pool.connection():
        assert count(admin, url) == 2
    until = time.monotonic() + 30
    while count(admin, url) and time.monotonic() < until:
        time.sleep(0.05)

    assert count(admin, url) == 0


def test_a_closed_pool_keeps_nothing(new_pool, admin, url):
    pool = new_pool()
    with pool.connection():
        pool.close()
    until = time.monotonic() + 30
    while count(admin, url) and time.monotonic() < until:
        time.sleep(0.05)

    assert count(admin, url) == 0


def test_who_borrows_holds_one_only_for_a_statement_or_a_transaction(new_pool):
    pool = new_pool(size=1, wait_s=0.2)
    with pool.connection(timeout=30):
        pass  # the short wait is for one that is lent, not for the first to be made
    ours, others = borrowing(pool.connection), borrowing(pool.connection)

    rows = ours.execute("SELECT 1")
    assert others.execute("SELECT 2").fetchone() == (2,)
    assert rows.fetchone() == (1,), "a cursor outlives the loan"
    with ours.transaction():
        first = ours.execute("SELECT pg_backend_pid(), txid_current()").fetchone()
        with ours.transaction():
            assert ours.execute("SELECT pg_backend_pid(), txid_current()").fetchone() == first
        with pytest.raises(PoolTimeout):
            others.execute("SELECT 2")
    assert others.execute("SELECT 2").fetchone() == (2,)


def test_a_borrowed_transaction_is_rolled_back_whole(new_pool):
    ours = borrowing(new_pool(size=1).connection)
    ours.execute("CREATE TABLE kept (number integer)")

    def insert_in_vain() -> None:
        with ours.transaction():
            ours.execute("INSERT INTO kept VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        insert_in_vain()

    assert ours.execute("SELECT count(*) FROM kept").fetchone() == (0,)
