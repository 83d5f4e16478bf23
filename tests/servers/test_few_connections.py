"""A host opens a stated number of connections to Postgres, under any load; a Postgres that is short of them is waited for."""

import threading
from collections import Counter
from typing import ClassVar

import psycopg
import pytest

from scripts.local.servers import EmbeddedPostgres, temporary_state_dir
from tests.end_to_end.product import Installation, Product, running_installation

SMALL = {"customer": 400, "product": 5, "price": 10, "subscription": 300, "invoice": 500, "charge": 600}
WEB, WORKERS = 14, 25  # workers/settings.py


class ShortOfConnections(EmbeddedPostgres):
    own_settings: ClassVar = {"max_connections": "25"}


class Watch:
    """Looks many times a second how many connections each application has, until the end of the block."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most: Counter[str] = Counter()

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _look(self) -> None:
        query = (
            "SELECT application_name, count(*) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 1"
        )
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stopped.wait(0.02):
                found = dict(connection.execute(query).fetchall())
                found["all"] = sum(count for name, count in found.items() if name.startswith("billstack"))
                self.most |= Counter(found)


def new_teams(installation: Installation, number: int) -> list[Product]:
    return [installation.new_team(f"team{each}", counts=SMALL) for each in range(number)]


def backfill_all(products: list[Product]) -> None:
    for product in products:
        product.client.start_backfill(product.team_id)
    for product in products:
        assert product.wait_while_syncing(240)["syncStatus"] == "ready"


@pytest.mark.slow
def test_a_host_under_twelve_backfills_keeps_to_its_numbers() -> None:
    with temporary_state_dir() as folder, running_installation(folder) as installation:
        products = new_teams(installation, 12)
        with Watch(installation.stack.postgres.url) as watch:
            backfill_all(products)
        assert [product.differences() for product in products] == [[]] * 12

    assert 0 < watch.most["billstack backfill"] < WORKERS, watch.most
    assert watch.most["billstack"] <= WEB + 1, f"the scheduler's among them: {watch.most}"
    assert watch.most["all"] <= 40, watch.most


@pytest.mark.slow
def test_backfills_end_exact_on_a_postgres_with_few_connections_left() -> None:
    """Before, a job needed more of them than there were, and the status said syncing for ever."""
    with (
        temporary_state_dir() as folder,
        running_installation(folder, postgres_kind=ShortOfConnections) as installation,
    ):
        products = new_teams(installation, 2)
        held = [psycopg.connect(installation.stack.postgres.url) for _ in range(5)]
        try:
            backfill_all(products)
        finally:
            for connection in held:
                connection.close()
        assert [product.differences() for product in products] == [[], []]


@pytest.mark.slow
def test_a_backfill_that_gets_no_connection_says_so() -> None:
    url: str
    with (
        temporary_state_dir() as folder,
        running_installation(folder, postgres_kind=ShortOfConnections) as installation,
    ):
        url = installation.stack.postgres.url
        product = installation.new_team("short", counts=SMALL)
        product.slow_stripe(300)
        product.client.start_backfill(product.team_id)
        taken: list[psycopg.Connection] = []
        try:
            while len(taken) < 25:
                try:
                    taken.append(psycopg.connect(url))
                except psycopg.OperationalError:
                    break
            product.wait_for(lambda status: any("refused connections" in each for each in status["warnings"]), 60)
        finally:
            for connection in taken:
                connection.close()
        product.slow_stripe(0)
        status = product.wait_for(lambda status: status["syncStatus"] == "ready" and not status["warnings"], 120)

        assert status["warnings"] == []
        assert product.differences() == []
