"""Prices are mirrored with their tiers and currency options, which Stripe shows only on request."""

import pytest

from sync.events.applying import apply_batch, record_event
from sync.events.ledger import Ledger
from sync.object_types import OBJECT_TYPES
from tests.factories import Json, encoded
from tests.sync.backfilling import Backfilling
from tests.sync.conftest import Team
from tests.sync.mirrored import row
from tests.sync.simulated_stripe import SimulatedStripe, mirrored_of, simulated_stripe, source_of

PRICE = OBJECT_TYPES["price"]
TIERS = [{"up_to": 10, "unit_amount": 500}, {"up_to": "inf", "unit_amount": 300}]


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe(counts={"product": 1, "price": 2})


@pytest.fixture
def run(team: Team, stripe: SimulatedStripe) -> Backfilling:
    return Backfilling(team, stripe)


@pytest.fixture
def tiered(stripe: SimulatedStripe) -> Json:
    product = stripe.account.objects("product")[0]["id"]
    made: Json = stripe.account.create(
        "price", product=product, currency="usd", billing_scheme="tiered", tiers_mode="graduated", tiers=TIERS
    )
    return made


def test_a_backfill_asks_for_them_in_as_many_requests_as_before(
    run: Backfilling, stripe: SimulatedStripe, tiered: Json
) -> None:
    stripe.clock.advance(1)
    stripe.requests.clear()

    assert run.run(run.start("price")) == "ready"

    found = row(run.mirror, tiered["id"], PRICE)
    assert found
    assert [tier["unit_amount"] for tier in found.raw["tiers"]] == [500, 300]
    assert found.raw["currency_options"]["usd"]["unit_amount"] is None
    lists = [request for request in stripe.requests if request.path == "/v1/prices"]
    assert len(lists) == 4, "two variants, and a look for what is new of each"
    assert all({"data.tiers", "data.currency_options"} <= set(request.params.values()) for request in lists)


def test_an_event_does_not_take_them_away(run: Backfilling, stripe: SimulatedStripe, tiered: Json) -> None:
    stripe.clock.advance(1)
    run.run(run.start("price"))
    stripe.clock.advance(60)
    stripe.account.update("price", tiered["id"], nickname="Volume")
    event = stripe.account.events()[-1]
    assert "tiers" not in event["data"]["object"]

    connection, team_id = run.team.connection, run.team.id
    record_event(Ledger(connection, team_id), encoded(event), delivered=True)
    apply_batch(connection, team_id, source_of(stripe), mirrored_of(stripe))

    found = row(run.mirror, tiered["id"], PRICE)
    assert found
    assert found.raw["nickname"] == "Volume"
    assert found.raw["tiers"]
    assert run.differences("price") == []
