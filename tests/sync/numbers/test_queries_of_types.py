"""The queries of docs/object-types.md run as they stand there, and join what Stripe's objects have lost."""

import re
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from scripts.sandbox.account import Account
from scripts.sandbox.seeding import Recipe
from tests.factories import Json
from tests.sync.conftest import Team
from tests.sync.numbers.conftest import put, read

PAGE = (Path(__file__).parents[3] / "docs" / "object-types.md").read_text()
# By the sentence above each.
QUERIES = dict(re.findall(r"^([^\n]+):\n\n```sql\n(.*?)```$", PAGE, flags=re.MULTILINE | re.DOTALL))
OF_A_CHARGE = "Which refunds and fees belong to a charge"
OF_AN_INVOICE = "Which charge paid an invoice (since 2025-03-31, neither names the other)"
TYPES = ("charge", "refund", "balance_transaction", "invoice", "invoice_payment", "payment_intent")


@pytest.fixture(scope="module")
def account() -> Account:
    return Account("queries", Recipe(scale=0.1, types="all"), time.time)


@pytest.fixture
def mirror(team: Team, account: Account) -> Team:
    for name in TYPES:
        put(team, name, account.objects(name))
    return team


def by_id(objects: Iterable[Json]) -> dict[str, Json]:
    return {each["id"]: each for each in objects}


def test_each_is_tested_here() -> None:
    assert set(QUERIES) == {OF_A_CHARGE, OF_AN_INVOICE}


def test_which_refunds_and_fees_belong_to_a_charge(mirror: Team, account: Account) -> None:
    rows = read(mirror, QUERIES[OF_A_CHARGE])

    refunds = {each["charge"]: each["amount"] for each in account.objects("refund")}
    moved = by_id(account.objects("balance_transaction"))
    assert {id: (amount, fee, refunded) for id, amount, fee, refunded in rows} == {
        each["id"]: (each["amount"], moved.get(each["balance_transaction"], {}).get("fee"), refunds.get(each["id"]))
        for each in account.objects("charge")
    }
    assert refunds


def test_which_charge_paid_an_invoice(mirror: Team, account: Account) -> None:
    rows = read(mirror, QUERIES[OF_AN_INVOICE])

    numbers = {each["id"]: each["number"] for each in account.objects("invoice")}
    intents, charges = by_id(account.objects("payment_intent")), by_id(account.objects("charge"))
    paid = [each for each in account.objects("invoice_payment") if each["status"] == "paid"]
    assert sorted(rows, key=str) == sorted(
        ((numbers[each["invoice"]], intents[each["payment"]["payment_intent"]]["latest_charge"]) for each in paid),
        key=str,
    )
    assert len(rows) > 10
    assert all(charges[charge]["status"] == "succeeded" for _, charge in rows)
