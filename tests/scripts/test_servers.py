"""The embedded servers: real ones, started, killed and abandoned."""

import psycopg
import redis


def test_each_test_gets_a_database_with_the_schema(database_url):
    with psycopg.connect(database_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'billstack'").fetchone()
        connection.execute("CREATE TABLE left_behind ()")

    assert tables != (0,)


def test_the_next_test_does_not_see_the_last_ones_tables(database_url):
    with psycopg.connect(database_url) as connection:
        left = connection.execute("SELECT to_regclass('left_behind')").fetchone()

    assert left == (None,)


def test_each_test_gets_an_empty_redis(redis_url):
    with redis.Redis.from_url(redis_url) as connection:
        assert connection.dbsize() == 0
        connection.set("left", "behind")
