"""What a payout is made of, as Stripe tells it: by a list for each automatic payout."""

from collections.abc import Mapping
from typing import Any

import pytest

from scripts.sandbox.account import Account
from scripts.sandbox.seeding import Recipe
from scripts.sandbox.shapes import Json
from tests.sandbox.conftest import Clock

BALANCE = "/v1/balance_transactions"
DAY = 86_400


@pytest.fixture
def account(clock: Clock) -> Account:
    """Three charges whose money has come in, and nothing paid out yet."""
    made = Account("demo", Recipe(counts={"customer": 2, "charge": 3, "balance_transaction": 3}), clock)
    clock.now += 7 * DAY
    return made


def moved(account: Account, payout_id: str, **params: Any) -> list[Json]:
    found: list[Json] = account.list(BALANCE, {"payout": payout_id, **params}).json()["data"]
    return found


def refused(account: Account, params: Mapping[str, Any]) -> tuple[int, str, str | None]:
    answer = account.list(BALANCE, params)
    error = answer.json()["error"]
    return answer.status, error["message"], error.get("code")


def test_a_payout_pays_out_what_is_available_and_each_transaction_once(account: Account) -> None:
    first = account.create("payout")
    came_in = [
        each
        for each in account.objects("balance_transaction")
        if each["currency"] == first["currency"] and each["id"] != first["balance_transaction"]
    ]
    made = [account.create("payout") for _ in range(4)]

    assert first["automatic"]
    assert first["amount"] == sum(each["net"] for each in came_in)
    assert {each["id"] for each in moved(account, first["id"])} == {
        first["balance_transaction"],
        *(each["id"] for each in came_in),
    }
    assert not made[-1]["automatic"], "nothing was left to pay out"
    listed = [each["id"] for payout in (first, *made) if payout["automatic"] for each in moved(account, payout["id"])]
    assert len(listed) == len(set(listed))


def test_the_list_takes_further_filters_and_pages(account: Account) -> None:
    payout = account.create("payout")

    every = moved(account, payout["id"])
    first = moved(account, payout["id"], limit=1)

    assert [each["type"] for each in moved(account, payout["id"], type="payout")] == ["payout"]
    assert first + moved(account, payout["id"], starting_after=first[0]["id"]) == every
    assert moved(account, payout["id"], created={"lt": 1}) == []


def test_stripe_knows_nothing_of_what_a_manual_payout_is_made_of(account: Account) -> None:
    manual = account.create("payout", reconciliation_status="not_applicable")

    assert refused(account, {"payout": manual["id"]}) == (
        400,
        "Balance transaction history can only be filtered on automatic transfers, not manual.",
        None,
    )
    assert refused(account, {"payout": "po_none"})[::2] == (400, "resource_missing")


def test_no_balance_transaction_names_its_payout(account: Account) -> None:
    payout = account.create("payout")

    for each in moved(account, payout["id"]):
        assert "payout" not in each
        assert account.retrieve("balance_transaction", each["id"]).json() == each


def test_stripe_tells_when_a_payout_is_reconciled(account: Account) -> None:
    payout = account.create("payout", reconciliation_status="in_progress")

    account.update("payout", payout["id"], reconciliation_status="completed")

    told = [each["type"] for each in account.events() if each["data"]["object"]["id"] == payout["id"]]
    assert told == ["payout.created", "payout.reconciliation_completed", "payout.updated"]
