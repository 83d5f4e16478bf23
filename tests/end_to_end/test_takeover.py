"""What a dead worker worked on goes on within ten seconds; what only paused keeps what it holds; the status says which."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest
import redis

from scripts.benchmark.processes import tree
from scripts.local.processes import wait_until
from scripts.run_procfile import ROOT
from sync.database.session import SILENT_S
from sync.events.applying import record_event
from sync.events.ledger import Ledger
from tests.end_to_end.product import Installation, Product
from tests.factories import customer, encoded, event
from workers.queues import BACKFILLS
from workers.redis.beats import ask_for_alive
from workers.worker import PROCESSES

TAKEN_OVER_WITHIN_S = 10.0
EVENTS_APPLIED_WITHIN_S = 15.0
# Longer than a lease's holder may be silent before Postgres is asked whether its connection is still open.
PAUSE_S = 12.0


@pytest.fixture
def syncing(installation: Installation, request: pytest.FixtureRequest) -> Iterator[Product]:
    """A backfill whose charges take a while: Stripe answers slowly."""
    product = installation.new_team(f"takeover_{request.node.name.partition('[')[0][-20:]}")
    product.slow_stripe(1500)
    product.client.start_backfill(product.team_id, objects=["charge", "invoice"])
    product.wait_for(lambda status: status["result"]["charge"]["synced"] > 0)
    yield product
    product.slow_stripe(0)


def fences(product: Product) -> dict[str, int]:
    """Of the parts that somebody works on."""
    return dict(
        product.sql(
            "SELECT part, fence FROM billstack.leases JOIN billstack.backfills ON backfills.id = backfill_id"
            " WHERE team_id = %s AND held AND NOT done",
            product.team_id,
        )
    )


def finishes_exactly(product: Product) -> None:
    product.slow_stripe(0)
    status = product.wait_while_syncing()
    assert status["syncStatus"] == "ready", status
    assert {name: result["synced"] for name, result in status["result"].items()} == {"charge": 4100, "invoice": 3200}


@pytest.fixture
def other_pools(installation: Installation) -> Iterator[list[int]]:
    """Further workers, as on other hosts: starting one takes longer than a takeover on a machine that is busy."""
    command = [sys.executable, "-m", "workers", "backfills"]
    pools = [subprocess.Popen(command, env=installation.stack.env, cwd=ROOT) for _ in range(2)]
    with redis.Redis.from_url(installation.stack.redis.url) as connection:
        wait_until(lambda: len(ask_for_alive(connection, BACKFILLS)) == 3 * PROCESSES[BACKFILLS], timeout_s=60)
    yield [pool.pid for pool in pools]
    for pool in pools:
        for pid in tree(pool.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        pool.wait()


def pools_at_work(product: Product, pools: list[int]) -> list[int]:
    """The processes of all pools that hold a part."""
    holders = product.sql("SELECT holder FROM billstack.leases WHERE held AND NOT done")
    pids = {int(holder.rpartition(":")[2]) for (holder,) in holders}
    return [pid for pool in pools if pids & set(tree(pool)) for pid in tree(pool)]


@pytest.mark.slow
def test_the_parts_of_dead_workers_are_taken_over_within_ten_seconds(other_pools: list[int], syncing: Product):
    before = fences(syncing)
    killed = pools_at_work(syncing, [syncing.stack.processes.pids()["worker"], *other_pools])
    died_at = time.monotonic()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert killed

    syncing.wait_for(
        lambda _: all(fences(syncing).get(part, 0) > fence for part, fence in before.items()), timeout_s=40
    )

    assert time.monotonic() - died_at <= TAKEN_OVER_WITHIN_S
    finishes_exactly(syncing)


@pytest.mark.slow
def test_what_a_dead_worker_had_claimed_is_applied_within_fifteen_seconds(installation: Installation):
    """By the workers that are there. Nobody else sees the event before it is claimed."""
    product = installation.new_team("takeover_events")
    product.backfill()
    with psycopg.connect(product.stack.postgres.url) as dying:
        ledger = Ledger(dying, product.team_id)
        record_event(ledger, encoded(event(customer("cus_claimed"), id="evt_claimed")), delivered=True)
        assert len(ledger.claim(10)) == 1
        dying.commit()
    died_at = time.monotonic()

    product.wait_for(
        lambda _: product.sql("SELECT state FROM billstack.events WHERE id = 'evt_claimed'") == [("applied",)],
        timeout_s=40,
    )

    assert time.monotonic() - died_at <= EVENTS_APPLIED_WITHIN_S


@pytest.mark.slow
def test_the_status_tells_of_a_dead_worker_and_when_work_goes_on(syncing: Product):
    for pid in tree(syncing.stack.processes.pids()["worker"]):
        os.kill(pid, signal.SIGKILL)

    status = syncing.wait_for(
        lambda status: any(work["state"] == "stopped" for work in status["backfill"]["work"].values()), timeout_s=15
    )

    stopped = next(work for work in status["backfill"]["work"].values() if work["state"] == "stopped")
    assert stopped["silentSeconds"] >= SILENT_S
    assert 1 <= stopped["resumesWithinSeconds"] <= TAKEN_OVER_WITHIN_S
    assert status["backfill"]["etaSeconds"] is None
    finishes_exactly(syncing)


@pytest.mark.slow
def test_a_stopped_process_keeps_its_parts_and_goes_on_with_them(syncing: Product):
    pids = tree(syncing.stack.processes.pids()["worker"])
    before = fences(syncing)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(PAUSE_S)
        paused = syncing.client.status(syncing.team_id)["backfill"]
        assert {work["state"] for work in paused["work"].values()} == {"paused"}
        assert paused["objectsPerSecond"] == 0
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    assert fences(syncing) == before
    finishes_exactly(syncing)


@pytest.mark.slow
def test_a_postgres_that_is_slow_for_long_costs_nobody_a_lease(syncing: Product):
    """The row of a part that is renewed waits for a lock, as it would for a disk."""
    before = fences(syncing)
    with psycopg.connect(syncing.stack.postgres.url) as connection:
        connection.execute("SELECT part FROM billstack.leases WHERE NOT done FOR UPDATE")
        time.sleep(PAUSE_S)

    assert fences(syncing) == before
    finishes_exactly(syncing)
