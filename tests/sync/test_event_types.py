"""Events about other objects bring what they change: the mirrored object that they only name is fetched, once for many."""

import inspect
import re
import typing

import pytest
import stripe.params._webhook_endpoint_create_params as endpoint_params

from scripts.sandbox.answers import encode
from sync.event_types import LISTENED_TYPES, REFERENCES
from sync.events import certain
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from tests.factories import DAY, NOW, Json, event
from tests.sync.conftest import Team
from tests.sync.events.test_applying import Worker
from tests.sync.mirrored import row
from tests.sync.simulated_stripe import Request, SimulatedStripe, error, simulated_stripe

CHARGE = OBJECT_TYPES["charge"]
OLD_VERSION = "2020-08-27"


@pytest.fixture
def account() -> SimulatedStripe:
    return simulated_stripe(
        counts={"customer": 2, "product": 1, "price": 2, "subscription": 2, "invoice": 3, "charge": 3}
    )


@pytest.fixture
def worker(team: Team, account: SimulatedStripe):
    """With every object in its mirror as it is now, at NOW - DAY, and nothing asked of Stripe yet."""
    with team.connect() as connection:
        working = Worker(team, account, connection)
        for name in OBJECT_TYPES:
            for about in account.account.objects(name, full=True):
                MirrorStore(connection, team.id).apply_event(
                    OBJECT_TYPES[name], about["id"], encode(about), created=NOW - DAY, checked_until=None
                )
        yield working


def mirrored(worker: Worker, about: Json, name: str) -> Json:
    found = row(MirrorStore(worker.ledger.connection, worker.team.id), about["id"], OBJECT_TYPES[name])
    assert found
    return found.raw


def what_happened(worker: Worker, *names: str) -> list[Json]:
    told = [each for each in worker.stripe.account.events() if each["created"] >= NOW]
    assert [each["type"] for each in told] == list(names)
    return told


def naming(object_name: str, field: str, object_id: typing.Any, **fields: typing.Any) -> Json:
    """An event that says no more than what it names."""
    reference = REFERENCES[object_name]
    about = {"id": "x_1", "object": object_name, field: object_id}
    return event(about, (*reference.events, *reference.accompanied)[0], created=NOW + 10, **fields)


# End to end in the sandbox's own words ------------------------------------------------------------------------------------


def test_a_dispute_changes_its_charge_without_an_event_of_the_charge(worker: Worker) -> None:
    charge = next(each for each in worker.stripe.account.objects("charge") if not each["disputed"])
    worker.stripe.account.handle("POST", f"/v1/charges/{charge['id']}/dispute", {})

    assert worker.take(*what_happened(worker, "charge.dispute.created")) == {"fetched": 1}

    assert mirrored(worker, charge, "charge")["disputed"] is True
    assert worker.requests() == [f"/v1/charges/{charge['id']}"]


def test_a_refund_that_fails_gives_its_charge_back_what_was_refunded(worker: Worker) -> None:
    charge = worker.stripe.account.create("charge", amount=900, currency="usd")
    worker.stripe.account.handle("POST", "/v1/refunds", {"charge": charge["id"]})
    worker.take(*what_happened(worker, "charge.succeeded", "refund.created", "charge.refunded"))
    assert mirrored(worker, charge, "charge")["amount_refunded"] == 900
    worker.stripe.clock.advance(60)
    asked = len(worker.requests())

    worker.stripe.account.handle("POST", f"/v1/charges/{charge['id']}/fail_refund", {})
    told = worker.stripe.account.events()[-2:]
    assert [each["type"] for each in told] == ["refund.failed", "charge.refund.updated"]

    assert worker.take(*told) == {"fetched": 2}
    assert mirrored(worker, charge, "charge")["amount_refunded"] == 0
    assert len(worker.requests()) == asked + 1, "one fetch for both"


# The table ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("object_name", "field", "name"),
    [(object_name, field, name) for object_name, each in REFERENCES.items() for field, name in each.names.items()],
)
@pytest.mark.parametrize("form", ["id", "expanded", "other version"])
def test_what_an_event_names_is_fetched(worker: Worker, object_name: str, field: str, name: str, form: str) -> None:
    about = worker.stripe.account.objects(name)[0]
    worker.stripe.account.state.shelves[name].put({**about, "metadata": {"changed": "silently"}})
    given = {"id": about["id"], "object": name} if form == "expanded" and field != "id" else about["id"]
    version = {"api_version": OLD_VERSION} if form == "other version" else {}
    worker.stripe.clock.advance(20)

    assert worker.take(naming(object_name, field, given, **version)) == {"fetched": 1}

    assert mirrored(worker, about, name)["metadata"] == {"changed": "silently"}


def test_what_an_event_named_before_is_fetched_too(worker: Worker) -> None:
    """A payment method that was detached has no customer any more."""
    about = worker.stripe.account.objects("customer")[0]
    told = naming("payment_method", "customer", None)
    told["data"]["previous_attributes"] = {"customer": about["id"]}

    assert worker.take(told) == {"fetched": 1}
    assert worker.requests() == [f"/v1/customers/{about['id']}"]


@pytest.mark.parametrize("value", [None, "", 7, [], {}, {"id": None}, "x" * 300, True])
def test_what_names_nothing_is_skipped(worker: Worker, value: object) -> None:
    assert worker.take(naming("dispute", "charge", value)) == {"skipped": 1}
    assert worker.requests() == []


def test_stripe_sends_every_type_that_we_listen_to() -> None:
    """An endpoint with one event that Stripe does not know is refused whole."""
    known = re.findall(r'"([a-z0-9_.]+)"', inspect.getsource(endpoint_params))
    assert set(LISTENED_TYPES) <= set(known)
    assert len(LISTENED_TYPES) == len(set(LISTENED_TYPES))


# Reads are not without end ------------------------------------------------------------------------------------------------


def test_many_events_about_one_object_are_one_fetch(worker: Worker) -> None:
    charge = worker.stripe.account.objects("charge")[0]["id"]
    worker.stripe.clock.advance(20)

    assert worker.take(*[naming("dispute", "charge", charge) for _ in range(30)]) == {"fetched": 30}
    assert worker.take(naming("refund", "charge", charge)) == {"older": 1}, "it was read since"

    assert len(worker.requests()) == 1


def test_an_event_that_stripe_accompanies_asks_for_nothing_once_the_other_was_applied(worker: Worker) -> None:
    charge = worker.stripe.account.create("charge", amount=900, currency="usd")
    (own,) = what_happened(worker, "charge.succeeded")
    named = naming("payment_intent", "latest_charge", charge["id"]) | {"created": own["created"]}
    named["type"] = "payment_intent.succeeded"

    assert worker.take(own, named) == {"applied": 1, "older": 1}
    assert worker.requests() == []


def test_a_flood_of_events_that_name_others_does_not_hold_up_events_of_the_objects_themselves(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certain, "NAMED_AT_A_TIME", 2)
    charges = [each["id"] for each in worker.stripe.account.objects("charge")]
    customer = worker.stripe.account.objects("customer")[0]
    own = event({**customer, "name": "new"}, created=NOW + 60)

    assert worker.take(*[naming("dispute", "charge", each) for each in charges], own) == {"applied": 1, "fetched": 2}

    assert mirrored(worker, customer, "customer")["name"] == "new"
    assert worker.apply() == {}, "the third waits"
    worker.let_time_pass()
    assert worker.apply() == {"fetched": 1}
    attempts = worker.ledger.connection.execute("SELECT max(attempts) FROM billstack.events").fetchone()
    assert attempts == (1,), "what was put off did not fail"


def test_an_event_that_names_two_is_applied_once_both_are_there(worker: Worker) -> None:
    customer, subscription = (worker.stripe.account.objects(name)[0]["id"] for name in ("customer", "subscription"))
    told = naming("discount", "customer", customer)
    told["data"]["object"]["subscription"] = subscription

    def refuse_subscriptions(request: Request) -> None:
        if "subscriptions" in request.path:
            request.instead = error(503, message="Later.")

    worker.stripe.at_begin = refuse_subscriptions
    assert worker.take(told)["failed"] == 1
    assert worker.ends()[told["id"]] == ("failed", "Later.")

    worker.stripe.at_begin = lambda request: None
    worker.let_time_pass()
    assert worker.apply() == {"fetched": 1}
    assert worker.ends()[told["id"]] == ("applied", None)
