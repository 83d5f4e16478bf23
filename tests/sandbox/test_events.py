"""Every change leaves its events, listed and kept as Stripe keeps them."""

from typing import Any

from scripts.sandbox.account import Account
from scripts.sandbox.changes import Changer
from scripts.sandbox.shapes import API_VERSION
from tests.sandbox.conftest import EMPTY, NOW, SMALL, Clock


def types(account: Account) -> list[str]:
    return [event["type"] for event in account.events()]


def listed(account: Account, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = account.list("/v1/events", {"limit": 100, **params}).json()["data"]
    return found


def test_an_update_makes_an_event_with_the_whole_object_and_what_it_was_before(empty: Account) -> None:
    id = empty.create("customer", name="Ada", metadata={"a": "1"})["id"]

    after = empty.update("customer", id, name="Grace", metadata={"b": "2"})

    created, updated = empty.events()
    assert (created["type"], updated["type"]) == ("customer.created", "customer.updated")
    assert updated["data"]["object"] == after
    assert updated["data"]["previous_attributes"] == {"name": "Ada", "metadata": {"b": None}}
    assert (updated["created"], updated["api_version"], updated["livemode"]) == (NOW, API_VERSION, False)


def test_what_changes_nothing_makes_no_event(empty: Account) -> None:
    id = empty.create("customer", name="Ada")["id"]

    empty.update("customer", id, name="Ada")

    assert types(empty) == ["customer.created"]


def test_an_event_names_its_request_and_idempotency_key(empty: Account) -> None:
    answer = empty.handle("POST", "/v1/customers", {}, {"idempotency-key": "once"})

    request = empty.events()[0]["request"]
    assert request == {"id": answer.headers["Request-Id"], "idempotency_key": "once"}


def test_deletes_carry_the_last_state_and_a_canceled_subscription_says_so(empty: Account) -> None:
    product = empty.create("product", name="Plan")
    price = {"currency": "usd", "product": product["id"], "unit_amount": 5, "recurring": {"interval": "month"}}
    customer = empty.create("customer")["id"]
    subscription = empty.create("subscription", customer=customer, items=[{"price_data": price}])
    gone = empty.create("product", name="Gone")
    empty.delete("product", gone["id"])
    empty.delete("subscription", subscription["id"])

    deleted, canceled = empty.events()[-2:]
    assert (deleted["type"], deleted["data"]["object"]) == ("product.deleted", gone)
    assert canceled["type"] == "customer.subscription.deleted"
    assert canceled["data"]["object"]["status"] == "canceled"


def test_an_invoice_and_a_refund_make_the_events_stripe_makes(empty: Account) -> None:
    customer = empty.create("customer")["id"]
    invoice = empty.create("invoice", customer=customer)["id"]
    empty.act("invoice", invoice, "add_lines", lines=[{"amount": 5}])
    empty.act("invoice", invoice, "finalize")
    empty.act("invoice", invoice, "void")
    charge = empty.create("charge", amount=5, currency="usd")["id"]
    empty.handle("POST", "/v1/refunds", {"charge": charge})

    assert types(empty)[1:] == [
        "invoice.created",
        "invoice.updated",
        "invoice.finalized",
        "invoice.updated",
        "invoice.voided",
        "invoice.updated",
        "charge.succeeded",
        "refund.created",
        "charge.refunded",
    ]


def test_events_are_listed_by_type_group_and_time(empty: Account, clock: Clock) -> None:
    empty.create("customer")
    clock.now += 10
    empty.create("product", name="Plan")
    id = empty.create("customer")["id"]
    empty.delete("customer", id)

    assert [event["type"] for event in listed(empty)] == [
        "customer.deleted",
        "customer.created",
        "product.created",
        "customer.created",
    ]
    assert len(listed(empty, type="customer.created")) == 2
    assert len(listed(empty, type="customer.*")) == 3
    assert len(listed(empty, types=["product.created", "customer.deleted"])) == 2
    assert len(listed(empty, created={"gte": NOW + 10})) == 3
    oldest = empty.events()[0]["id"]
    assert [event["type"] for event in listed(empty, ending_before=oldest)][-1] == "product.created"


def test_an_event_is_retrieved_by_its_id(empty: Account) -> None:
    empty.create("customer")
    event = empty.events()[0]

    assert empty.handle("GET", f"/v1/events/{event['id']}", {}).json() == event


def test_events_are_gone_after_thirty_days(empty: Account, clock: Clock) -> None:
    empty.create("customer")
    old = empty.events()[0]["id"]
    clock.now += 30 * 86_400 + 1
    empty.create("customer")

    assert len(listed(empty)) == 1
    assert empty.handle("GET", f"/v1/events/{old}", {}).status == 404
    assert empty.list("/v1/events", {"types": [f"type.{at}" for at in range(21)]}).status == 400


def test_undelivered_events_are_those_that_an_endpoint_still_waits_for(empty: Account) -> None:
    empty.handle("POST", "/v1/webhook_endpoints", {"url": "http://x.example", "enabled_events": ["customer.created"]})
    empty.create("customer")
    empty.create("product", name="Plan")

    assert [event["type"] for event in listed(empty, delivery_success=False)] == ["customer.created"]
    empty.state.delivered(empty.events()[0]["id"])
    assert listed(empty, delivery_success=False) == []
    assert len(listed(empty, delivery_success=True)) == 2


def test_random_changes_are_the_same_for_a_seed_and_replaying_their_events_rebuilds_the_account() -> None:
    one, two = Account("demo", SMALL, Clock()), Account("demo", SMALL, Clock())
    before = {type: {each["id"]: each for each in one.objects(type)} for type in one.state.shelves}

    assert Changer(one, 5).make(400) == Changer(two, 5).make(400) == 400

    assert one.events() == two.events()
    for event in one.events():
        obj = event["data"]["object"]
        # A dispute or a refund that failed changes its charge without an event of the charge's own.
        if obj["object"] in ("dispute", "refund") and obj.get("charge"):
            before["charge"][obj["charge"]] = one.handle("GET", f"/v1/charges/{obj['charge']}", {}).json()
        if obj["object"] not in before:
            continue
        before[obj["object"]][obj["id"]] = obj
        if event["type"] in ("customer.deleted", "product.deleted", "invoice.deleted"):
            del before[obj["object"]][obj["id"]]
    for type in before:
        assert before[type] == {each["id"]: each for each in one.objects(type)}


def test_random_changes_need_no_objects_to_begin_with() -> None:
    account = Account("demo", EMPTY, Clock())

    assert Changer(account, 1).make(200) == 200
    assert {"customer.deleted", "invoice.finalized", "customer.subscription.created"} <= set(types(account))
