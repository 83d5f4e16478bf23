"""SIGTERM to every process in the middle of work: each ends within ten seconds, and nothing is lost."""

import signal
import time

import pytest

from scripts.local.processes import wait_until
from tests.end_to_end.product import Installation

ENDS_WITHIN_S = 10.0
PARTS = ("web", "worker", "events", "scheduler")


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_process_that_is_asked_to_end_does_so_in_time_and_its_work_goes_on(installation: Installation, part: str):
    product = installation.new_team(f"stopping_{part}")
    product.client.call("POST", f"/api/billstack/teams/{product.team_id}/stripe/webhook", {})
    product.backfill()
    product.sandbox.call("POST", "changes", account=product.account, n=300, seed=7, over_s=3.0)
    product.client.start_backfill(product.team_id)
    product.wait_for(lambda status: status["result"]["charge"]["synced"] > 100)
    processes = product.stack.processes
    pid = processes.pids()[part]

    began = time.monotonic()
    processes.signal(part, signal.SIGTERM)
    assert wait_until(lambda: processes.pids().get(part) != pid, ENDS_WITHIN_S + 5)

    assert time.monotonic() - began <= ENDS_WITHIN_S
    status = product.wait_while_syncing(150)
    assert status["syncStatus"] == "ready", status
    product.wait_for(lambda _: not product.sandbox.call("GET", "deliveries")["changesUnderWay"])
    wait_until(lambda: not product.differences(), 60)
    assert product.differences() == []
