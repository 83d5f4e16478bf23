r"""A string with half of a surrogate pair (`"\ud800"`) costs the mirror one object, which it tells of, and nothing else."""

from collections.abc import Callable

import pytest

from sync.events.applying import apply_batch, read_delivered, record_event
from sync.events.ledger import Ledger
from sync.mirror.refresh import refresh_or_reject
from sync.object_types import DEFAULT_TYPES
from sync.reconcile.records import ReconcileStore
from sync.reconcile.run import ReconcileRun, ReconcileTools
from tests.factories import NOW, customer, encoded, event
from tests.sync.backfilling import Backfilling
from tests.sync.conftest import Team
from tests.sync.mirrored import CUSTOMER, rejects, row
from tests.sync.simulated_stripe import Request, mirrored_of, simulated_stripe, source_of

COUNTS = {"customer": 9, "product": 2, "price": 3, "subscription": 2, "invoice": 6}
WHOLE, HALF = b"to be broken", rb"\ud83d"


def break_texts(request: Request) -> None:
    request.body = request.body.replace(WHOLE, HALF)


@pytest.fixture
def run(team: Team) -> Backfilling:
    run = Backfilling(team, simulated_stripe(counts=COUNTS), page_size=4, attempts=3)
    run.stripe.at_end = break_texts
    return run


@pytest.fixture
def spoil(run: Backfilling) -> Callable[[], str]:
    """Puts the half into a customer's name."""

    def change() -> str:
        victim = run.stripe.account.objects("customer")[3]["id"]
        run.stripe.account.update("customer", victim, name=WHOLE.decode())
        run.stripe.clock.advance(3600)
        return str(victim)

    return change


def test_a_backfill_rejects_that_object_alone_and_says_why(run: Backfilling, spoil: Callable[[], str]) -> None:
    victim = spoil()

    assert run.run(run.start()) == "ready"

    assert [(difference.missing, difference.different) for difference in run.differences()] == [((victim,), ())]
    assert list(rejects(run.mirror)) == [victim]
    (warning,) = run.store.history(run.team.id, 1)[0]["warnings"]
    assert "surrogate" in warning


def test_an_item_of_a_list_that_stripe_cut_costs_its_object(run: Backfilling) -> None:
    invoices = run.stripe.account.objects("invoice")
    victim = next(each for each in invoices if each["lines"]["has_more"] or len(each["lines"]["data"]) > 1)["id"]

    def break_lines(request: Request) -> None:
        if request.path == f"/v1/invoices/{victim}/lines":
            request.body = request.body.replace(b'"description":"', b'"description":"' + HALF)
        elif request.path == "/v1/invoices":
            request.body = _cut(request.body, victim)

    run.stripe.at_end = break_lines

    assert run.run(run.start("invoice")) == "ready"

    assert list(rejects(run.mirror)) == [victim]
    assert [difference.missing for difference in run.differences("invoice")] == [(victim,)]


def _cut(page: bytes, invoice_id: str) -> bytes:
    """As if the invoice had more lines than are embedded."""
    start = page.find(f'"id":"{invoice_id}"'.encode())
    if start < 0:
        return page
    lines = page.index(b'"lines":', start)
    return page[:lines] + page[lines:].replace(b'"has_more":false', b'"has_more":true', 1)


def test_a_fetched_object_is_rejected_at_once(run: Backfilling, spoil: Callable[[], str]) -> None:
    victim = spoil()

    refresh_or_reject(run.mirror, source_of(run.stripe), CUSTOMER, victim)

    assert list(rejects(run.mirror)) == [victim]
    assert len(run.stripe.requests) == 1, "what is no passing fault is not retried"


def test_an_event_fails_with_its_reason_and_the_others_are_applied(run: Backfilling, spoil: Callable[[], str]) -> None:
    victim, ledger = spoil(), Ledger(run.team.connection, run.team.id)
    bad = encoded(event(run.stripe.account.objects("customer")[3])).replace(WHOLE, HALF)
    for body in (bad, encoded(event(customer("cus_good")))):
        record_event(ledger, body, delivered=True)

    outcomes = apply_batch(run.team.connection, run.team.id, source_of(run.stripe, attempts=3), mirrored_of(run.stripe))

    assert outcomes == {"applied": 1, "failed": 1}
    assert row(run.mirror, "cus_good")
    assert not row(run.mirror, victim)
    failed = run.team.connection.execute("SELECT error FROM billstack.events WHERE state = 'failed'").fetchone()
    assert failed
    assert "surrogate" in failed[0]


def test_a_delivery_is_taken(team: Team) -> None:
    body = encoded(event(customer(name=WHOLE.decode()))).replace(WHOLE, HALF)

    assert read_delivered(team.id, body).created == NOW


def test_a_comparison_goes_on_and_tells_of_it(run: Backfilling, spoil: Callable[[], str]) -> None:
    run.run(run.start())
    victim = spoil()
    run.team.connection.execute("DELETE FROM billstack.reconciles WHERE team_id = %s", (run.team.id,))
    store = ReconcileStore(run.team.connection)
    work = store.acquire(store.start(run.team.id, request_id=None)[0])
    assert work
    tools = ReconcileTools(
        source_of(run.stripe, attempts=3),
        catch_up=lambda: int(run.stripe.clock()),
        changed_since=lambda ids, second: set(),
        should_yield=lambda: False,
        sleep=run.stripe.clock.advance,
    )

    assert ReconcileRun(run.team.connection, work, tools).run() == "done"

    assert {name: found["compared"] for name, found in work.found.items() if found["compared"]} == COUNTS | {"price": 5}
    (told,) = [found["notStored"] for found in work.found.values() if found["notStored"]["count"]]
    assert told["ids"] == [victim]
    assert "surrogate" in told["reason"]
    assert set(work.found) == set(DEFAULT_TYPES)
