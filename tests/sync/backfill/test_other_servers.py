"""Servers that answer almost like Stripe: they ignore `created`, or list the oldest first."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.sync.backfilling import Backfilling
from tests.sync.conftest import Team
from tests.sync.simulated_stripe import Request, SimulatedStripe, simulated_stripe

CUSTOMERS = 130


def oldest_first(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda each: each["created"])


def newest_first(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return oldest_first(found)[::-1]


def careless(simulated: SimulatedStripe, order: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Its list of customers takes a cursor and a limit, and nothing else."""

    def answer(request: Request) -> None:
        if request.path != "/v1/customers":
            return
        found = order(simulated.account.objects("customer"))
        after = request.params.get("starting_after")
        start = next((at + 1 for at, each in enumerate(found) if each["id"] == after), 0)
        page = found[start : start + int(request.params["limit"])]
        body = {"object": "list", "data": page, "has_more": start + len(page) < len(found), "url": request.path}
        request.instead = (200, {}, json.dumps(body).encode())

    simulated.at_begin = answer


@pytest.mark.parametrize("order", [oldest_first, newest_first])
def test_every_object_is_counted_once(team: Team, order: Callable[..., Any]) -> None:
    stripe = simulated_stripe(counts={"customer": CUSTOMERS}, profile="last-month")
    careless(stripe, order)
    backfills = Backfilling(team, stripe)

    backfill_id = backfills.start("customer")

    assert backfills.run(backfill_id) == "ready"
    assert backfills.synced(backfill_id) == {"customer": CUSTOMERS}
    assert backfills.differences("customer") == []


def test_what_comes_while_it_is_read_is_read_too(team: Team) -> None:
    """In the tail, which begins with what is known already."""
    stripe = simulated_stripe(counts={"customer": CUSTOMERS}, profile="last-month")
    careless(stripe, oldest_first)
    backfills = Backfilling(team, stripe)
    backfill_id = backfills.start("customer")
    backfills.work_on(backfill_id, "opening")
    stripe.clock.advance(5)
    for number in range(3):
        stripe.account.create("customer", name=str(number))
    stripe.account.state.events.timeline = type(stripe.account.state.events.timeline)()  # their events are lost

    assert backfills.run(backfill_id) == "ready"
    assert backfills.synced(backfill_id) == {"customer": CUSTOMERS + 3}


def test_a_list_that_is_not_newest_first_is_told(team: Team) -> None:
    stripe = simulated_stripe(counts={"customer": CUSTOMERS}, profile="last-month")
    careless(stripe, oldest_first)
    backfills = Backfilling(team, stripe)

    backfill_id = backfills.start("customer")
    backfills.run(backfill_id)

    (warnings,) = team.connection.execute("SELECT warnings FROM billstack.backfills").fetchone()
    assert "not newest first" in " ".join(warnings)
