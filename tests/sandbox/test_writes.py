"""Objects are created, changed and deleted as Stripe lets one, and refused as Stripe refuses."""

from typing import Any

import pytest

from scripts.sandbox.account import Account
from tests.sandbox.conftest import NOW, Clock


def refused(account: Account, method: str, path: str, **params: Any) -> dict[str, Any]:
    answer = account.handle(method, path, params)
    assert answer.status == 400, answer.body
    error: dict[str, Any] = answer.json()["error"]
    return error


def new_price(account: Account, **params: Any) -> dict[str, Any]:
    product = account.create("product", name="Plan")
    given = {"currency": "usd", "unit_amount": 900, "product": product["id"], "recurring": {"interval": "month"}}
    return account.create("price", **{**given, **params})


def new_subscription(account: Account, items: int = 1) -> dict[str, Any]:
    customer = account.create("customer")
    return account.create(
        "subscription", customer=customer["id"], items=[{"price": new_price(account)["id"]} for _ in range(items)]
    )


def test_a_created_customer_is_what_was_asked_for(empty: Account) -> None:
    customer = empty.create(
        "customer", email="a@example.com", name="Ada 🚀", metadata={"project_id": "proj_1"}, address={"city": "Łódź"}
    )

    assert customer["email"] == "a@example.com"
    assert customer["metadata"] == {"project_id": "proj_1"}
    assert customer["address"] == {"city": "Łódź"}
    assert empty.retrieve("customer", customer["id"]).json() == customer


def test_metadata_is_merged_and_an_empty_value_removes_its_key(empty: Account) -> None:
    id = empty.create("customer", metadata={"a": "1", "b": "2"})["id"]

    assert empty.update("customer", id, metadata={"b": "", "c": "3"})["metadata"] == {"a": "1", "c": "3"}
    assert empty.update("customer", id, metadata="")["metadata"] == {}


def test_an_empty_text_unsets(empty: Account) -> None:
    id = empty.create("customer", name="Ada")["id"]

    assert empty.update("customer", id, name="")["name"] is None


def test_a_deleted_customer_is_retrievable_as_deleted_and_in_no_list(account: Account) -> None:
    id = account.objects("customer")[0]["id"]
    stub = {"id": id, "object": "customer", "deleted": True}

    assert account.delete("customer", id) == stub
    assert account.retrieve("customer", id).json() == stub
    assert id not in {each["id"] for each in account.objects("customer")}
    assert account.handle("DELETE", f"/v1/customers/{id}", {}).status == 404
    assert account.handle("POST", f"/v1/customers/{id}", {"name": "x"}).status == 404


def test_deleting_a_customer_cancels_its_subscriptions_at_once(empty: Account) -> None:
    subscription = new_subscription(empty)

    empty.delete("customer", subscription["customer"])

    canceled = empty.retrieve("subscription", subscription["id"]).json()
    assert (canceled["status"], canceled["ended_at"]) == ("canceled", NOW)
    types = [event["type"] for event in empty.events()]
    assert types[-2:] == ["customer.subscription.deleted", "customer.deleted"]


def test_a_product_with_a_price_cannot_be_deleted_and_archiving_it_leaves_the_price(empty: Account) -> None:
    price = new_price(empty)
    product = price["product"]

    assert "cannot be deleted" in refused(empty, "DELETE", f"/v1/products/{product}")["message"]
    empty.update("product", product, active=False)
    assert empty.retrieve("price", price["id"]).json()["active"] is True


def test_a_deleted_product_is_missing(empty: Account) -> None:
    id = empty.create("product", name="Gone")["id"]

    assert empty.delete("product", id) == {"id": id, "object": "product", "deleted": True}
    answer = empty.retrieve("product", id)
    assert (answer.status, answer.json()["error"]["code"]) == (404, "resource_missing")


def test_an_update_of_a_product_moves_its_updated_second(empty: Account, clock: Clock) -> None:
    id = empty.create("product", name="Plan")["id"]
    clock.now += 60

    assert empty.update("product", id, name="Better")["updated"] == NOW + 60
    clock.now += 60
    assert empty.update("product", id, name="Better")["updated"] == NOW + 60


def test_prices_cannot_be_deleted_but_flipped(empty: Account) -> None:
    id = new_price(empty)["id"]

    assert empty.handle("DELETE", f"/v1/prices/{id}", {}).status == 404
    assert empty.update("price", id, active=False)["active"] is False
    assert empty.list("/v1/prices", {"active": False}).json()["data"][0]["id"] == id


@pytest.mark.parametrize("amount", [0, 2**31 + 5, 99_999_999_999])
def test_amounts_may_be_large(empty: Account, amount: int) -> None:
    price = new_price(empty, unit_amount=amount)

    assert (price["unit_amount"], price["unit_amount_decimal"]) == (amount, str(amount))


def test_an_inline_price_is_made_for_its_item_and_stands_in_no_list(empty: Account) -> None:
    customer, product = empty.create("customer")["id"], empty.create("product", name="Plan")["id"]
    data = {"currency": "usd", "product": product, "unit_amount": 5, "recurring": {"interval": "year"}}

    subscription = empty.create("subscription", customer=customer, items=[{"price_data": data}])

    price = subscription["items"]["data"][0]["price"]
    assert empty.retrieve("price", price["id"]).json() == price
    assert empty.list("/v1/prices", {}).json()["data"] == []
    assert empty.list("/v1/prices", {"active": False}).json()["data"] == []


def test_a_subscription_keeps_its_periods_on_its_items(empty: Account) -> None:
    subscription = new_subscription(empty)

    assert "current_period_end" not in subscription
    item = subscription["items"]["data"][0]
    assert (item["current_period_start"], item["current_period_end"]) == (NOW, NOW + 30 * 86_400)


def test_items_are_changed_added_and_deleted_beyond_the_embedded_ten(empty: Account) -> None:
    subscription = new_subscription(empty, items=12)
    items = empty.state.children("subscription", subscription["id"])
    changes = [
        {"id": items[11]["id"], "quantity": 7},
        {"id": items[0]["id"], "deleted": "true"},
        {"price": new_price(empty)["id"]},
    ]

    after = empty.update("subscription", subscription["id"], items=changes)

    whole = empty.state.children("subscription", subscription["id"])
    assert [item["id"] for item in whole[:11]] == [item["id"] for item in items[1:]]
    assert whole[10]["quantity"] == 7
    assert len(whole) == 12
    assert after["items"]["has_more"] is True


def test_a_subscription_is_canceled_by_delete_and_stays(empty: Account) -> None:
    id = new_subscription(empty)["id"]

    assert empty.delete("subscription", id)["status"] == "canceled"
    assert empty.retrieve("subscription", id).json()["status"] == "canceled"
    assert empty.handle("DELETE", f"/v1/subscriptions/{id}", {}).status == 404
    assert "canceled subscription" in refused(empty, "POST", f"/v1/subscriptions/{id}", description="x")["message"]
    assert empty.update("subscription", id, metadata={"why": "price"})["metadata"] == {"why": "price"}


def test_an_invoice_goes_from_draft_to_open_to_paid_or_void(empty: Account) -> None:
    customer = empty.create("customer")["id"]
    paid, void = (empty.create("invoice", customer=customer)["id"] for _ in range(2))
    for id in (paid, void):
        empty.act("invoice", id, "add_lines", lines=[{"amount": 3_000_000_000, "description": "Work"}])
        opened = empty.act("invoice", id, "finalize")
        assert (opened["status"], opened["amount_due"]) == ("open", 3_000_000_000)

    assert empty.act("invoice", paid, "pay")["amount_remaining"] == 0
    assert empty.act("invoice", void, "void")["status_transitions"]["voided_at"] == NOW
    assert refused(empty, "POST", f"/v1/invoices/{paid}/void")["code"] == "invoice_not_editable"


def test_only_draft_one_off_invoices_can_be_deleted(empty: Account) -> None:
    subscription = new_subscription(empty)
    draft = empty.create("invoice", customer=subscription["customer"])["id"]
    bound = empty.create("invoice", customer=subscription["customer"], subscription=subscription["id"])["id"]
    opened = empty.create("invoice", customer=subscription["customer"])["id"]
    empty.act("invoice", opened, "finalize")

    assert empty.delete("invoice", draft)["deleted"] is True
    assert empty.retrieve("invoice", draft).status == 404
    refused(empty, "DELETE", f"/v1/invoices/{bound}")
    refused(empty, "DELETE", f"/v1/invoices/{opened}")


def test_lines_beyond_ten_are_cut_in_the_invoice_and_whole_in_their_list(empty: Account) -> None:
    invoice = empty.create("invoice", customer=empty.create("customer")["id"])["id"]
    lines = [{"amount": at, "description": f"Line {at}"} for at in range(13)]

    after = empty.act("invoice", invoice, "add_lines", lines=lines)

    page = empty.list(f"/v1/invoices/{invoice}/lines", {"limit": 100}).json()
    assert (len(after["lines"]["data"]), after["lines"]["has_more"]) == (10, True)
    assert [line["amount"] for line in page["data"]] == list(range(13))
    assert after["total"] == sum(range(13))


def test_a_charge_is_refunded_in_parts_and_no_further(empty: Account) -> None:
    charge = empty.create("charge", amount=1000, currency="usd", customer=empty.create("customer")["id"])["id"]

    empty.handle("POST", "/v1/refunds", {"charge": charge, "amount": 400})
    partly = empty.retrieve("charge", charge).json()
    empty.handle("POST", "/v1/refunds", {"charge": charge})
    wholly = empty.retrieve("charge", charge).json()

    assert (partly["amount_refunded"], partly["refunded"]) == (400, False)
    assert (wholly["amount_refunded"], wholly["refunded"]) == (1000, True)
    assert refused(empty, "POST", "/v1/refunds", charge=charge)["code"] == "charge_already_refunded"


@pytest.mark.parametrize(
    ("path", "params", "param"),
    [
        ("/v1/products", {}, "name"),
        ("/v1/customers", {"colour": "red"}, "colour"),
        ("/v1/customers", {"balance": "much"}, "balance"),
        ("/v1/subscriptions", {"customer": "cus_unknown", "items": [{"price": "price_x"}]}, "customer"),
        ("/v1/prices", {"currency": "usd", "unit_amount": "5", "product": "prod_unknown"}, "product"),
        ("/v1/invoices", {}, "customer"),
        ("/v1/webhook_endpoints", {"url": "nowhere", "enabled_events": ["*"]}, "url"),
    ],
)
def test_a_bad_parameter_is_named(empty: Account, path: str, params: dict[str, Any], param: str) -> None:
    assert refused(empty, "POST", path, **params)["param"] == param


def test_a_write_to_what_is_not_there_is_404(empty: Account) -> None:
    for path in ("/v1/customers/cus_x", "/v1/invoices/in_x/finalize", "/v1/webhook_endpoints/we_x"):
        assert empty.handle("POST", path, {}).json()["error"]["code"] == "resource_missing"
