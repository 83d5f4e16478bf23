"""Lists that take no `created` are read in Stripe's order, counted exactly, and begun again when their cursor is lost."""

import pytest

from sync.object_types import OBJECT_TYPES
from tests.sync.backfilling import Backfilling
from tests.sync.conftest import Team
from tests.sync.mirrored import seen, versions
from tests.sync.simulated_stripe import Request, SimulatedStripe, error, simulated_stripe

LINK, FEATURE = OBJECT_TYPES["payment_link"], OBJECT_TYPES["feature"]


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe(counts={"customer": 1, "payment_link": 10, "feature": 4, "quote": 5, "meter": 3})


@pytest.fixture
def run(team: Team, stripe: SimulatedStripe) -> Backfilling:
    return Backfilling(team, stripe, page_size=3)


def test_all_of_a_list_without_created_is_mirrored_and_counted(run: Backfilling, stripe: SimulatedStripe) -> None:
    asked: list[Request] = []
    stripe.at_begin = asked.append

    backfill_id = run.start("quote", "payment_link", "meter", "feature")
    assert run.run(backfill_id) == "ready"

    assert run.differences("quote", "payment_link", "meter", "feature") == []
    assert run.synced(backfill_id) == {"quote": 5, "payment_link": 10, "meter": 3, "feature": 4}
    lists = [request for request in asked if request.path == LINK.path]
    assert not any(name.startswith("created") for request in lists for name in request.params)
    assert len(lists) == 4


def test_a_lost_cursor_begins_the_list_again_and_counts_nothing_twice(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    gone: list[str] = []

    def lose(request: Request) -> None:
        cursor = request.params.get("starting_after")
        if request.path == LINK.path and cursor and len(gone) < 2:
            gone.append(cursor)
            request.instead = error(400, "resource_missing", param="starting_after")

    stripe.at_begin = lose

    backfill_id = run.start("payment_link")
    assert run.run(backfill_id) == "ready"

    assert len(gone) == 2
    assert run.differences("payment_link") == []
    assert run.synced(backfill_id) == {"payment_link": len(seen(run.mirror, LINK))} == {"payment_link": 10}


def test_what_is_made_meanwhile_is_there_at_the_end_although_no_event_tells_of_it(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    made: list[str] = []

    def make(request: Request) -> None:
        if request.path == FEATURE.path and "starting_after" in request.params and not made:
            made.append(stripe.account.create("feature")["id"])

    stripe.at_begin = make

    assert run.run(run.start("feature")) == "ready"

    assert made
    assert run.differences("feature") == []


def test_a_second_run_rewrites_no_row(run: Backfilling, stripe: SimulatedStripe) -> None:
    types = ("quote", "payment_link", "meter", "feature")
    run.run(run.start(*types))
    before = versions(run.team.connection, run.team.schema)

    assert run.run(run.start(*types)) == "ready"

    assert versions(run.team.connection, run.team.schema) == before
