"""kill -9 of any process, and servers that go away, in the middle of a backfill: nothing is lost or counted twice."""

import os
import random
import signal
import time
from collections.abc import Callable

import psycopg
import pytest
import redis

from scripts.local.processes import wait_until
from tests.end_to_end.product import Installation, Product

# A killed worker's job is picked up within 60 s; the rest is the backfill itself on a busy machine.
PATIENCE_S = 150.0
EXACT = {"customer": 1250, "product": 15, "price": 42, "subscription": 890, "invoice": 3200, "charge": 4100}


def kill_process(name: str) -> Callable[[Product], None]:
    return lambda product: product.stack.processes.kill(name)


def kill_work_horse(product: Product) -> None:
    assert product.kill_work_horse()


def kill_postgres(product: Product) -> None:
    product.stack.postgres.kill()
    time.sleep(1)
    product.stack.postgres.start()


def kill_backends(product: Product) -> None:
    """After each, Postgres starts again by itself within a fraction of a second, without the last commits of pages."""
    for _ in range(4):
        assert wait_until(lambda: has_killed_a_backend(product.stack.postgres.url), timeout_s=30)


def has_killed_a_backend(url: str) -> bool:
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            others = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchall()
            os.kill(random.choice(others)[0], signal.SIGKILL)
    except (psycopg.OperationalError, IndexError, ProcessLookupError):
        return False
    return True


def restart_redis_empty(product: Product) -> None:
    product.stack.redis.restart()
    with redis.Redis.from_url(product.stack.redis.url) as connection:
        connection.flushall()


@pytest.fixture(scope="module")
def product(installation: Installation) -> Product:
    return installation.new_team("kills")


@pytest.mark.parametrize(
    "strike",
    [
        pytest.param(kill_work_horse, id="work-horse"),
        pytest.param(kill_process("worker"), id="worker", marks=pytest.mark.slow),
        pytest.param(restart_redis_empty, id="redis-empty"),
        pytest.param(kill_process("web"), id="web", marks=pytest.mark.slow),
        pytest.param(kill_process("scheduler"), id="scheduler", marks=pytest.mark.slow),
        pytest.param(kill_postgres, id="postgres", marks=pytest.mark.slow),
        pytest.param(kill_backends, id="postgres-backends", marks=pytest.mark.slow),
    ],
)
def test_a_backfill_survives_the_death_of_anything_with_an_exact_mirror_and_exact_counts(product, strike):
    product.client.start_backfill(product.team_id)
    product.wait_for(lambda status: status["result"]["charge"]["synced"] > 500)

    strike(product)

    status = product.wait_while_syncing(PATIENCE_S)
    assert {name: result["error"] for name, result in status["result"].items()} == dict.fromkeys(EXACT)
    assert status["syncStatus"] == "ready"
    assert {name: result["synced"] for name, result in status["result"].items()} == EXACT
    assert product.differences() == []
