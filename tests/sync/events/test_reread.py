"""What Stripe tells nobody of is listed again: the newest every few minutes, and no more than that."""

import pytest

from sync.events.reread import reread
from sync.object_types import OBJECT_TYPES
from sync.teams.mirrored_types import MirroredTypes
from tests.factories import NOW, Json
from tests.sync.backfilling import Backfilling
from tests.sync.conftest import Team
from tests.sync.mirrored import row
from tests.sync.simulated_stripe import Request, SimulatedStripe, error, simulated_stripe, source_of

SILENT = "balance_transaction"
BALANCE = OBJECT_TYPES[SILENT]


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe(counts={"customer": 2, "charge": 3, SILENT: 5, "checkout_session": 3})


@pytest.fixture
def run(team: Team, stripe: SimulatedStripe) -> Backfilling:
    """All is read once."""
    backfilling = Backfilling(team, stripe)
    backfilling.run(backfilling.start("customer", "charge", SILENT, "checkout_session"))
    return backfilling


def again(run: Backfilling) -> int:
    return reread(run.team.connection, run.team.id, source_of(run.stripe), is_over=lambda: False)


def make(stripe: SimulatedStripe, name: str) -> Json:
    stripe.clock.advance(60)
    about: Json = stripe.account.create(name)
    stripe.clock.advance(60)
    return about


def test_a_new_object_of_which_no_event_tells_is_found(run: Backfilling, stripe: SimulatedStripe) -> None:
    about = make(stripe, SILENT)

    assert again(run) == 1

    found = row(run.mirror, about["id"], BALANCE)
    assert found
    assert found.raw == about


def test_a_list_that_is_only_there_when_it_is_asked_for_is_mirrored_whole(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    about = make(stripe, "checkout_session")

    again(run)

    found = row(run.mirror, about["id"], OBJECT_TYPES["checkout_session"])
    assert found
    assert len(found.raw["line_items"]["data"]) == len(stripe.account.state.children("checkout_session", about["id"]))


def test_the_next_time_only_what_is_new_is_listed_and_nothing_is_rewritten(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    about = make(stripe, SILENT)
    again(run)
    before = row(run.mirror, about["id"], BALANCE)
    asked: list[Request] = []
    stripe.at_begin = asked.append

    assert again(run) == 0

    assert row(run.mirror, about["id"], BALANCE) == before
    assert all(int(request.params["created[gte]"]) > NOW - 3600 for request in asked)
    assert len(asked) == 2  # a type each


def test_a_type_that_the_key_may_not_read_holds_up_no_other(run: Backfilling, stripe: SimulatedStripe) -> None:
    about = make(stripe, "checkout_session")

    def refuse(request: Request) -> None:
        if request.path == BALANCE.path:
            request.instead = error(403)

    stripe.at_begin = refuse

    again(run)

    assert row(run.mirror, about["id"], OBJECT_TYPES["checkout_session"])


def test_a_type_that_was_never_read_to_its_end_or_is_no_longer_mirrored_is_left_alone(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    types = MirroredTypes(run.team.connection, run.team.id)
    types.stop(BALANCE, purge=False)
    types.add(["invoiceitem"])
    about = make(stripe, SILENT)

    again(run)

    assert row(run.mirror, about["id"], BALANCE) is None
    assert [object_type.name for object_type, _ in types.to_reread()] == ["checkout_session"]
