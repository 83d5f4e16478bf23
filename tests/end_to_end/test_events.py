"""Webhooks on the Procfile's processes: an account that changes, deliveries in any order and number, deaths in between."""

import time
from collections.abc import Iterator

import pytest

from scripts.local.processes import wait_until
from tests.end_to_end.product import Installation, Product

# From the last delivery on. A killed worker's claims run out after 30 s.
QUIET_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def product(installation: Installation) -> Iterator[Product]:
    product = installation.new_team("events")
    product.client.call("POST", f"/api/billstack/teams/{product.team_id}/stripe/webhook", {})
    yield product
    product.sandbox.call("PUT", "deliveries")


@pytest.mark.parametrize("changes", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_events_in_any_order_during_a_backfill_end_with_an_equal_mirror(product, changes):
    product.sandbox.call("PUT", "deliveries", shuffle=True, duplicates=0.3, delay_s=4.0, seed=changes)
    product.client.start_backfill(product.team_id)
    product.sandbox.change(changes, account=product.account, seed=changes, over_s=changes / 100)

    product.wait_for(lambda status: status["result"]["charge"]["synced"] > 0)
    product.stack.processes.kill("events")
    assert wait_until(product.kill_work_horse, timeout_s=30)
    product.stack.redis.restart()

    delivered_at = wait_until_delivered(product)
    quiet_after_s = wait_until_quiet(product) - delivered_at
    status = product.wait_while_syncing()
    wait_until_quiet(product)
    assert status["syncStatus"] == "ready", status
    assert product.differences() == []
    assert quiet_after_s < QUIET_WITHIN_S
    assert product.sandbox.call("GET", "deliveries")["duplicated"] > changes / 5


def test_what_was_never_delivered_is_swept(product):
    product.wait_while_syncing()
    product.sandbox.call("PUT", "deliveries", loss=1.0)
    product.sandbox.change(50, account=product.account, seed=7)
    assert product.differences()

    product.sql("UPDATE billstack.connections SET sweep_due_at = now() WHERE team_id = %s RETURNING 1", product.team_id)

    wait_until_swept(product)
    wait_until_quiet(product)
    assert product.differences() == []


def wait_until_swept(product: Product, timeout_s: float = QUIET_WITHIN_S) -> None:
    """When Stripe's newest event is in the ledger."""
    (newest,) = product.stripe("GET", "/v1/events?limit=1")["data"]
    deadline = time.monotonic() + timeout_s
    while not product.sql("SELECT 1 FROM billstack.events WHERE id = %s", newest["id"]):
        assert time.monotonic() < deadline, "nobody has read Stripe's events"
        time.sleep(0.1)


def wait_until_delivered(product: Product, timeout_s: float = 180) -> float:
    """When the last delivery was answered."""
    deadline = time.monotonic() + timeout_s
    while any(
        (state := product.sandbox.call("GET", "deliveries"))[name]
        for name in ("waiting", "underWay", "changesUnderWay")
    ):
        assert time.monotonic() < deadline, state
        time.sleep(0.1)
    assert not state.get("failed"), state
    return time.monotonic()


def wait_until_quiet(product: Product, timeout_s: float = 180) -> float:
    """When no event was left to apply."""
    deadline = time.monotonic() + timeout_s
    while left := product.sql(
        "SELECT state, count(*) FROM billstack.events WHERE state IN ('pending', 'failed') GROUP BY 1"
    ):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    return time.monotonic()
