"""What programs ask of Stripe beyond the first six types: payments, sessions, previews, search."""

from typing import Any

import pytest

from scripts.sandbox.account import Account
from scripts.sandbox.seeding import Recipe

NOW = 1_780_000_000


@pytest.fixture(scope="module")
def account() -> Account:
    counts = {"customer": 12, "product": 2, "price": 6, "subscription": 5, "invoice": 8, "charge": 4}
    return Account("sales", Recipe(counts=counts, until=NOW), lambda: float(NOW))


def ask(account: Account, method: str, path: str, **params: Any) -> tuple[int, dict[str, Any]]:
    answer = account.handle(method, path, params)
    body = answer.json()
    return answer.status, body.get("error", body)


def test_a_payment_is_made_and_refunded(account: Account) -> None:
    status, intent = ask(
        account, "POST", "/v1/payment_intents", amount=900, currency="usd", payment_method="pm_card_visa", confirm=True
    )
    _, refund = ask(account, "POST", "/v1/refunds", payment_intent=intent["id"], amount=400)

    assert (status, intent["status"], intent["amount_received"]) == (200, "succeeded", 900)
    assert refund["charge"] == intent["latest_charge"]
    assert account.retrieve("charge", refund["charge"]).json()["amount_refunded"] == 400


def test_a_declined_payment_leaves_its_intent(account: Account) -> None:
    _, intent = ask(account, "POST", "/v1/payment_intents", amount=900, currency="usd")

    status, error = ask(
        account, "POST", f"/v1/payment_intents/{intent['id']}/confirm", payment_method="pm_card_chargeDeclined"
    )

    assert (status, error["code"], error["decline_code"]) == (402, "card_declined", "generic_decline")
    kept = account.retrieve("payment_intent", intent["id"]).json()
    assert kept == error["payment_intent"]
    assert kept["status"] == "requires_payment_method"


def test_a_payment_is_authorized_and_captured_in_part(account: Account) -> None:
    _, intent = ask(
        account,
        "POST",
        "/v1/payment_intents",
        amount=900,
        currency="usd",
        payment_method="pm_card_visa",
        confirm=True,
        capture_method="manual",
    )

    _, captured = ask(account, "POST", f"/v1/payment_intents/{intent['id']}/capture", amount_to_capture=300)

    assert intent["status"] == "requires_capture"
    assert (captured["status"], captured["amount_received"]) == ("succeeded", 300)
    assert ask(account, "POST", f"/v1/payment_intents/{intent['id']}/cancel")[1]["code"] == (
        "payment_intent_unexpected_state"
    )


def test_a_checkout_session_is_open_until_it_is_expired(account: Account) -> None:
    price = next(each for each in account.objects("price") if each["type"] == "recurring")
    _, session = ask(
        account,
        "POST",
        "/v1/checkout/sessions",
        mode="subscription",
        line_items=[{"price": price["id"], "quantity": 3}],
        expand=["line_items"],
    )

    assert session["amount_total"] == 3 * price["unit_amount"]
    assert session["line_items"]["data"][0]["price"] == price
    address = f"/v1/checkout/sessions/{session['id']}/expire"
    assert ask(account, "POST", address)[1]["status"] == "expired"
    assert ask(account, "POST", address)[0] == 400
    assert account.events()[-1]["type"] == "checkout.session.expired"


def test_a_portal_session_and_a_preview_are_kept_nowhere(account: Account) -> None:
    subscription = account.objects("subscription")[0]
    before = len(account.events()), len(account.objects("invoice"))

    _, session = ask(account, "POST", "/v1/billing_portal/sessions", customer=subscription["customer"])
    _, preview = ask(account, "POST", "/v1/invoices/create_preview", subscription=subscription["id"])

    assert session["object"] == "billing_portal.session"
    assert preview["id"].startswith("upcoming_in_")
    assert (len(account.events()), len(account.objects("invoice"))) == before


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ('email~"EXAMPLE"', lambda each: "example" in (each["email"] or "")),
        ("created>0 AND -delinquent:null", None),
        ("name:null OR created<5", lambda each: each["name"] is None),
        ("metadata['source']:'web'", lambda each: each["metadata"].get("source") == "web"),
        ("no query", None),
        ("created>yesterday", None),
        ("email:'a' AND name:'b' OR phone:'c'", None),
    ],
)
def test_search_finds_what_the_query_says(account: Account, query: str, holds: Any) -> None:
    status, found = ask(account, "GET", "/v1/customers/search", query=query, limit=100)

    if holds is None:
        assert status == 400
    else:
        wanted = {each["id"] for each in account.objects("customer") if holds(each)}
        assert {each["id"] for each in found["data"]} == wanted


def test_search_pages_by_token(account: Account) -> None:
    params = {"query": "created>0", "limit": 5}
    _, first = ask(account, "GET", "/v1/customers/search", **params, expand=["total_count"])
    _, second = ask(account, "GET", "/v1/customers/search", **params, page=first["next_page"])

    assert first["total_count"] == len(account.objects("customer"))
    assert first["has_more"]
    assert not {each["id"] for each in first["data"]} & {each["id"] for each in second["data"]}


def test_expand_stops_at_four_levels(account: Account) -> None:
    status, error = ask(account, "GET", "/v1/subscriptions", expand=["data.items.data.price.product"])

    assert (status, error["code"]) == (400, "property_expansion_max_depth")
    assert ask(account, "GET", "/v1/subscriptions", expand=["data.items.data.price"])[0] == 200
