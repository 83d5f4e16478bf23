"""Samples of events in old and new API shapes, written from Stripe's documentation, apply without error."""

import itertools

import pytest

from sync.events.applying import apply_batch, record_event
from sync.events.ledger import Ledger
from sync.object_types import OBJECT_TYPES
from sync.stripe.sdk import API_VERSION
from tests import factories
from tests.factories import NOW, Json, customer, encoded, event, invoice, invoice_line, listed, subscription
from tests.sync.conftest import Team
from tests.sync.mirrored import row
from tests.sync.simulated_stripe import SimulatedStripe, mirrored_of, simulated_stripe, source_of

BASIL, ACACIA, OLDEST = "2025-03-31.basil", "2024-12-18.acacia", "2015-10-16"


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe(
        counts={"customer": 2, "product": 1, "price": 2, "subscription": 2, "invoice": 3, "charge": 2}
    )


@pytest.fixture
def apply(stripe, team: Team, ledger: Ledger):
    """Records these events and applies one batch; returns how many came to which end."""

    def run(*events: Json) -> dict[str, int]:
        for made in events:
            record_event(ledger, encoded(made), delivered=True)
        return dict(
            apply_batch(
                team.connection, team.id, source_of(stripe, attempts=1), mirrored_of(stripe), connect=team.connect
            )
        )

    return run


OLD_LINE = {
    "id": "il_1",
    "object": "line_item",
    "amount": 4900,
    "price": {"id": "price_1", "object": "price"},
    "plan": {"id": "p"},
}
OLD_PERIOD = {"current_period_start": NOW, "current_period_end": NOW + 86_400}
SAMPLES: list[tuple[str, str, Json]] = [
    # Before 2022-11-15 a charge embedded its refunds; before 2025-03-31 it named its invoice.
    ("charge.succeeded", OLDEST, factories.charge(refunds=listed(), invoice="in_1", source={"id": "card_1"})),
    ("charge.refunded", ACACIA, factories.charge(invoice="in_1", refunded=True)),
    ("charge.updated", BASIL, factories.charge(payment_intent="pi_1")),
    # `sources` and `subscriptions` stood in a customer until 2020-08-27.
    ("customer.created", OLDEST, customer(sources=listed(), subscriptions=listed(), default_card=None)),
    ("customer.updated", ACACIA, customer(invoice_settings={"default_payment_method": None})),
    ("customer.deleted", BASIL, customer()),
    # A product had attributes and SKUs; a price was a plan until 2020.
    ("product.updated", OLDEST, factories.product(attributes=["size"], skus=listed(), shippable=True)),
    ("product.created", BASIL, factories.product(marketing_features=[])),
    ("price.created", ACACIA, factories.price(tiers_mode=None, currency_options={})),
    ("price.deleted", BASIL, factories.price()),
    # The period stood on the subscription itself until 2025-03-31, a single plan beside it.
    ("customer.subscription.updated", OLDEST, subscription(plan={"id": "gold"}, quantity=1, **OLD_PERIOD)),
    ("customer.subscription.created", ACACIA, subscription(**OLD_PERIOD)),
    ("customer.subscription.deleted", BASIL, subscription(status="canceled")),
    ("customer.subscription.trial_will_end", API_VERSION, subscription(status="trialing")),
    # An invoice named charge, payment intent and subscription itself, `closed` and `forgiven` before that.
    ("invoice.payment_succeeded", OLDEST, invoice(closed=True, paid=True, charge="ch_1", lines=listed(OLD_LINE))),
    ("invoice.paid", ACACIA, invoice(subscription="sub_1", payment_intent="pi_1", lines=listed(OLD_LINE))),
    ("invoice.finalized", BASIL, invoice(lines=listed(invoice_line()), payments=listed())),
    ("invoice.upcoming", ACACIA, {key: value for key, value in invoice().items() if key != "id"}),
    ("invoice.voided", API_VERSION, invoice(status="void")),
]


@pytest.mark.parametrize("version", [OLDEST, ACACIA, BASIL, API_VERSION, None])
@pytest.mark.parametrize(
    ("type", "written", "about"), SAMPLES, ids=[f"{type}-{version}" for type, version, _ in SAMPLES]
)
def test_samples_of_old_and_new_shapes_apply_without_error(apply, type, written, about, version):
    """In the version that they were written for, and in any other that an endpoint could be pinned to."""
    outcomes = apply(event(about, type, api_version=version))

    assert set(outcomes) <= {"applied", "fetched", "skipped"}
    assert sum(outcomes.values()) == 1
    if "id" in about:
        assert (version == API_VERSION or type.endswith(("customer.deleted", "price.deleted"))) == (
            "applied" in outcomes
        )


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("seconds", [0, 5])
@pytest.mark.parametrize("kind", ["product", "customer"])
def test_an_object_whose_id_is_used_again_lives(apply, stripe, store, order, seconds, kind):
    account, gold = stripe.account, {"id": "gold", "name": "Gold"}
    for step in (lambda: account.create(kind, **gold), lambda: account.delete(kind, "gold")) * 2:
        step()
        stripe.clock.advance(seconds)
    account.create(kind, **gold, description="Once more")
    happened = [each for each in account.events() if each["data"]["object"]["id"] == "gold"]

    for number in order:
        apply(*happened[number * 2 : number * 2 + 2])

    found = row(store, "gold", OBJECT_TYPES[kind])
    assert found.deleted_at is None
    assert found.raw["description"] == "Once more"


def test_objects_in_doubt_are_fetched_side_by_side(apply, stripe):
    made = [stripe.account.create("customer", name=f"{number}") for number in range(30)]

    assert apply(*(event(each, api_version=ACACIA) for each in made)) == {"fetched": 30}

    assert sorted(request.path for request in stripe.requests) == sorted(f"/v1/customers/{each['id']}" for each in made)
