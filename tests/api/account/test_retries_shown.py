"""Requests that wait for their next attempt can be seen while they wait, and not afterwards."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from api.account.retries_shown import retries_shown
from sync.stripe.retries import Retry
from workers.redis.progress import ShownRetries, read_live

WORKING = {"invoice": {"state": "working"}}


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.fixture
def retries(connection: redis.Redis) -> ShownRetries:
    return ShownRetries(connection, "bf_1", "invoice")


def failed(attempt: int, *, wait_s: float = 8.0) -> Retry:
    return Retry("list_invoices", "/v1/invoices", 500, f"req_{attempt}", "An error occurred", attempt, 15, wait_s)


def shown(connection: redis.Redis, work: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return retries_shown(read_live(connection, "bf_1").retries, work)


def test_a_retry_is_shown_with_all_that_is_known_of_it(connection: redis.Redis, retries: ShownRetries) -> None:
    retries.waits("one", failed(3))

    found = shown(connection, WORKING)["invoice"]
    assert found.pop("nextTryAt").endswith("Z")
    assert found.pop("nextTryInSeconds") == pytest.approx(8, abs=2)
    assert found == {
        "path": "/v1/invoices",
        "status": 500,
        "message": "An error occurred",
        "requestId": "req_3",
        "attempt": 3,
        "attempts": 15,
    }


def test_a_retry_is_gone_once_no_request_waits(connection: redis.Redis, retries: ShownRetries) -> None:
    retries.waits("one", failed(1))
    retries.waits("two", failed(2))
    retries.is_over("one")
    still = shown(connection, WORKING)
    retries.is_over("two")
    retries.is_over("never failed")

    assert still
    assert shown(connection, WORKING) == {}


def test_what_a_dead_worker_left_is_not_shown(connection: redis.Redis, retries: ShownRetries) -> None:
    retries.waits("one", failed(3))

    assert shown(connection, {"invoice": {"state": "stopped"}}) == {}
    assert shown(connection, {}) == {}


def test_what_a_process_left_long_ago_is_not_shown(connection: redis.Redis, retries: ShownRetries) -> None:
    retries.waits("one", failed(3, wait_s=-200))

    assert shown(connection, WORKING) == {}


def test_redis_is_not_asked_for_each_of_many_retries(connection: redis.Redis, retries: ShownRetries) -> None:
    before = connection.info("commandstats").get("cmdstat_hset", {}).get("calls", 0)  # type: ignore[union-attr]
    started = time.monotonic()
    for number in range(200):
        retries.waits(number, failed(1))
    lasted_s = time.monotonic() - started

    calls = connection.info("commandstats")["cmdstat_hset"]["calls"] - before  # type: ignore[index]
    assert calls <= 2 + lasted_s / 0.5
