"""`/v1/plans` shows the recurring prices, and what is written there is a price's."""

from typing import Any

import pytest

from scripts.sandbox.account import Account
from scripts.sandbox.seeding import Recipe


@pytest.fixture
def account() -> Account:
    return Account("demo", Recipe(counts={"customer": 8, "product": 4, "price": 14, "subscription": 6}))


def ask(account: Account, method: str, path: str, **params: Any) -> Any:
    answer = account.handle(method, path, params)
    assert answer.status == 200, answer.json()
    return answer.json()


def test_the_list_has_all_recurring_prices_and_no_inline_one(account: Account) -> None:
    listed = [
        each
        for flag in ("true", "false")
        for each in ask(account, "GET", "/v1/prices", active=flag, type="recurring", limit="100")["data"]
    ]

    plans = ask(account, "GET", "/v1/plans", limit="100")["data"]

    assert {each["id"] for each in plans} == {each["id"] for each in listed}
    assert {each["object"] for each in plans} == {"plan"}


def test_what_is_written_as_a_plan_is_read_as_a_price(account: Account) -> None:
    made = ask(
        account,
        *("POST", "/v1/plans"),
        **{"id": "gold", "currency": "usd", "interval": "month", "product": {"name": "Gold"}, "amount": "900"},
        **{"usage_type": "metered", "transform_usage": {"divide_by": "10", "round": "up"}, "trial_period_days": "3"},
    )
    price = ask(account, "GET", "/v1/prices/gold")

    assert ask(account, "GET", "/v1/plans/gold") == made
    assert (price["unit_amount"], price["transform_quantity"]) == (900, {"divide_by": 10, "round": "up"})
    assert (price["recurring"]["usage_type"], price["recurring"]["trial_period_days"]) == ("metered", 3)
    ask(account, "POST", "/v1/plans/gold", nickname="Gold")
    assert ask(account, "GET", "/v1/prices/gold")["nickname"] == "Gold"
    assert ask(account, "DELETE", "/v1/plans/gold") == {"id": "gold", "object": "plan", "deleted": True}
    assert account.handle("GET", "/v1/prices/gold", {}).status == 404


@pytest.mark.parametrize("path", ["/v1/plans/none", "/v1/plans/{once}"])
def test_what_is_no_plan_is_not_found(account: Account, path: str) -> None:
    product = ask(account, "POST", "/v1/products", name="Once")["id"]
    once = ask(account, "POST", "/v1/prices", product=product, currency="usd", unit_amount="5")["id"]

    answer = account.handle("GET", path.format(once=once), {})

    assert answer.status == 404
    assert answer.json()["error"]["message"].startswith("No such plan: ")
