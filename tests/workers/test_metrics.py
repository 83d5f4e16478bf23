"""Counters that many threads of many processes add to."""

from concurrent.futures import ThreadPoolExecutor

import redis

from workers.metrics import Meter


def test_requests_of_many_threads_lose_no_wait_and_fail_none(redis_url):
    connection = redis.Redis.from_url(redis_url)
    meter = Meter(connection)

    def ask(_: int) -> None:
        meter.budget_wait("list_charges", 1.0)
        meter.request("list_charges", 200)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(2000)))

    waits = connection.hgetall("billstack:metrics:budget_wait_seconds")
    assert [float(seconds) for seconds in waits.values()] == [2000.0]
