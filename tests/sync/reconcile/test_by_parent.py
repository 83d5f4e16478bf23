"""What Stripe lists customer by customer is compared and re-read that way, and follows its customers."""

import pytest

from sync.events.applying import apply_batch, record_event
from sync.events.ledger import Ledger
from sync.events.reread import reread
from sync.object_types import OBJECT_TYPES
from sync.reconcile import run
from tests.factories import encoded
from tests.sync.backfilling import turns_of
from tests.sync.conftest import Team
from tests.sync.mirrored import row
from tests.sync.reconcile.test_reconcile import Reconciling, drift, let_drift
from tests.sync.simulated_stripe import mirrored_of

CARD, BALANCE, TAX_ID = "payment_method", "customer_balance_transaction", "tax_id"


@pytest.fixture
def reconciling(team: Team) -> Reconciling:
    return Reconciling(team, further=[CARD, BALANCE, TAX_ID], page_size=2)


def is_dead(reconciling: Reconciling, name: str, object_id: str) -> bool:
    found = row(reconciling.backfilling.mirror, object_id, OBJECT_TYPES[name])
    assert found
    return found.deleted_at is not None


def apply(reconciling: Reconciling, *events: dict) -> None:
    connection, team_id = reconciling.team.connection, reconciling.team.id
    for event in events:
        record_event(Ledger(connection, team_id), encoded(event), delivered=True)
    while apply_batch(connection, team_id, reconciling.source, mirrored_of(reconciling.stripe)):
        pass


def test_each_kind_of_drift_is_found_told_and_repaired(reconciling: Reconciling) -> None:
    missing, stale, dead = (reconciling.ids(name)[0] for name in (BALANCE, TAX_ID, CARD))
    let_drift(reconciling, "customer_balance_transactions", missing, "missing")
    let_drift(reconciling, "tax_ids", stale, "stale")
    ghost = let_drift(reconciling, "payment_methods", dead, "notDeleted")

    found = reconciling.run()

    assert found == {BALANCE: {"missing": [missing]}, TAX_ID: {"stale": [stale]}, CARD: {"notDeleted": [ghost]}}
    assert reconciling.backfilling.differences(CARD, BALANCE, TAX_ID) == []
    assert reconciling.run() == {}


def test_a_turn_that_is_over_goes_on_after_the_customers_that_are_done(
    reconciling: Reconciling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SLICE_PARENTS", 4)
    missing = reconciling.ids(BALANCE)[-1]
    reconciling.sql("DELETE FROM {} WHERE id = %s", "customer_balance_transactions", missing)
    reconcile_id, turns, ended = reconciling.start(), 0, ""
    while ended != "done":
        work = reconciling.acquire(reconcile_id)
        ended, turns = reconciling.turn(work, turns_of(3)), turns + 1
        reconciling.store.give_back(work)

    assert turns > 5
    assert drift(work) == {BALANCE: {"missing": [missing]}}
    assert work.found[BALANCE]["compared"] == len(reconciling.ids(BALANCE))
    assert reconciling.backfilling.differences(BALANCE) == []


def test_what_belonged_to_a_deleted_customer_goes_with_it(reconciling: Reconciling) -> None:
    account = reconciling.stripe.account
    loser = account.objects(TAX_ID)[0]["customer"]
    gone = [each["id"] for each in account.objects(TAX_ID) if each["customer"] == loser]
    account.delete("customer", loser)

    apply(reconciling, account.events()[-1])

    assert all(is_dead(reconciling, TAX_ID, object_id) for object_id in gone)
    assert reconciling.backfilling.differences(CARD, BALANCE, TAX_ID) == []


def test_a_late_event_does_not_raise_what_belonged_to_a_deleted_customer(reconciling: Reconciling) -> None:
    account = reconciling.stripe.account
    loser = reconciling.ids("customer")[0]
    account.create(CARD, customer=loser)
    attached = account.events()[-1]
    account.delete("customer", loser)

    apply(reconciling, account.events()[-1])
    apply(reconciling, attached)

    assert reconciling.backfilling.differences(CARD) == []


def test_a_detached_payment_method_is_a_tombstone(reconciling: Reconciling) -> None:
    account, card = reconciling.stripe.account, reconciling.ids(CARD)[0]
    account.handle("POST", f"/v1/payment_methods/{card}/detach", {})

    apply(reconciling, account.events()[-1])

    assert is_dead(reconciling, CARD, card)
    assert reconciling.backfilling.differences(CARD) == []


def test_a_new_balance_transaction_is_found_by_its_customers_new_balance(reconciling: Reconciling) -> None:
    account, customer = reconciling.stripe.account, reconciling.ids("customer")[3]
    made = account.create(BALANCE, customer=customer, amount=-700, currency="usd")
    apply(reconciling, account.events()[-1])
    assert row(reconciling.backfilling.mirror, made["id"], OBJECT_TYPES[BALANCE]) is None, "no event tells of it"

    assert reread(reconciling.team.connection, reconciling.team.id, reconciling.source, is_over=lambda: False) == 1

    assert row(reconciling.backfilling.mirror, made["id"], OBJECT_TYPES[BALANCE])
    assert reconciling.backfilling.differences(BALANCE) == []
