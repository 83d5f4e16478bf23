"""Asking Stripe for one object again: the answer replaces what was there, and never what came meanwhile."""

import pytest

from sync.mirror.refresh import refresh, refresh_or_reject
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from tests.factories import CREATED, encoded
from tests.sync.mirrored import CUSTOMER, rejects, row
from tests.sync.simulated_stripe import Request, SimulatedStripe, error, simulated_stripe, source_of

INVOICE, PAYMENT_METHOD = OBJECT_TYPES["invoice"], OBJECT_TYPES["payment_method"]


@pytest.fixture
def stripe_account() -> SimulatedStripe:
    return simulated_stripe(counts={"customer": 1})


@pytest.fixture
def customer_id(stripe_account: SimulatedStripe) -> str:
    return stripe_account.account.objects("customer")[0]["id"]


def put(store: MirrorStore, about: dict, at: float) -> None:
    store.apply_event(CUSTOMER, about["id"], encoded(about), created=int(at), checked_until=None)


def test_the_row_becomes_what_stripe_says(
    store: MirrorStore, stripe_account: SimulatedStripe, customer_id: str
) -> None:
    put(store, {"id": customer_id, "object": "customer", "name": "old", "created": CREATED}, stripe_account.clock.now)

    assert refresh(store, source_of(stripe_account), CUSTOMER, customer_id) == "written"

    found = row(store, customer_id)
    assert found
    assert found.raw == stripe_account.account.objects("customer")[0]
    assert (found.as_of, found.as_of_until) == (stripe_account.clock.now, stripe_account.clock.now + 1)


def test_an_equal_row_is_left_alone_unless_an_event_asked(
    store: MirrorStore, stripe_account: SimulatedStripe, customer_id: str
) -> None:
    source = source_of(stripe_account)
    refresh(store, source, CUSTOMER, customer_id)
    before = row(store, customer_id)
    stripe_account.clock.advance(100)

    assert refresh(store, source, CUSTOMER, customer_id) == "equal"
    assert row(store, customer_id) == before

    assert refresh(store, source, CUSTOMER, customer_id, advance=True) == "equal"
    assert row(store, customer_id).as_of == stripe_account.clock.now  # type: ignore[union-attr]


def test_a_row_that_changes_during_the_fetch_is_fetched_again(
    store: MirrorStore, stripe_account: SimulatedStripe, customer_id: str
) -> None:
    """The answer was read before the edit whose event is applied before the answer is written."""
    rounds = []

    def edit(request: Request) -> None:
        rounds.append(request)
        if len(rounds) < 3:
            stripe_account.clock.advance(2)
            about = stripe_account.account.update("customer", customer_id, name=f"edit {len(rounds)}")
            put(store, about, stripe_account.clock.now)

    stripe_account.at_end = edit

    assert refresh(store, source_of(stripe_account), CUSTOMER, customer_id) == "equal"

    assert len(rounds) == 3
    assert row(store, customer_id).raw["name"] == "edit 2"  # type: ignore[union-attr]


def test_a_row_that_appears_during_a_fetch_that_finds_nothing_is_fetched_again(
    store: MirrorStore, stripe_account: SimulatedStripe
) -> None:
    made: list[dict] = []

    def create(request: Request) -> None:
        if not made:
            made.append(stripe_account.account.create("customer", name="new"))
            put(store, {**made[0], "id": "cus_later"}, stripe_account.clock.now)

    stripe_account.at_end = create

    assert refresh(store, source_of(stripe_account), CUSTOMER, "cus_later") == "deleted"
    assert len(stripe_account.requests) == 2


def test_a_deleted_object_becomes_a_tombstone(
    store: MirrorStore, stripe_account: SimulatedStripe, customer_id: str
) -> None:
    source = source_of(stripe_account)
    refresh(store, source, CUSTOMER, customer_id)
    stripe_account.account.delete("customer", customer_id)

    assert refresh(store, source, CUSTOMER, customer_id) == "deleted"
    assert row(store, customer_id).deleted_at  # type: ignore[union-attr]


def test_what_came_under_an_object_while_stripe_was_asked_for_it_is_asked_for_too(
    store: MirrorStore, stripe_account: SimulatedStripe, customer_id: str
) -> None:
    """A card was attached and its customer deleted, both during the request; the event of the card came at once."""
    source, account, clock = source_of(stripe_account), stripe_account.account, stripe_account.clock
    refresh(store, source, CUSTOMER, customer_id)
    cards: list[str] = []

    def attach_and_delete(request: Request) -> None:
        if not cards:
            clock.advance(3)
            card = account.create("payment_method", customer=customer_id)
            cards.append(card["id"])
            store.apply_event(PAYMENT_METHOD, card["id"], encoded(card), created=int(clock.now), checked_until=None)
            account.delete("customer", customer_id)

    stripe_account.at_begin = attach_and_delete

    assert refresh(store, source, CUSTOMER, customer_id) == "deleted"

    assert row(store, cards[0], PAYMENT_METHOD).deleted_at  # type: ignore[union-attr]


def test_what_stripe_never_had_is_absent(store: MirrorStore, stripe_account: SimulatedStripe) -> None:
    assert refresh(store, source_of(stripe_account), CUSTOMER, "cus_nobody") == "absent"
    assert row(store, "cus_nobody") is None


@pytest.mark.parametrize("status", [401, 403, 400])
def test_a_refusal_is_no_proof_of_death(
    store: MirrorStore, stripe_account: SimulatedStripe, customer_id: str, status: int
) -> None:
    source = source_of(stripe_account)
    refresh(store, source, CUSTOMER, customer_id)

    def refuse(request: Request) -> None:
        request.instead = error(status)

    stripe_account.at_begin = refuse

    with pytest.raises(Exception, match="No"):
        refresh(store, source, CUSTOMER, customer_id)
    assert row(store, customer_id).deleted_at is None  # type: ignore[union-attr]


def _invoice_with_lines(stripe_account: SimulatedStripe, count: int) -> str:
    account = stripe_account.account
    invoice = account.create("invoice", customer=account.objects("customer")[0]["id"])
    lines = [{"amount": 100 + number, "description": f"line {number}"} for number in range(count)]
    account.handle("POST", f"/v1/invoices/{invoice['id']}/add_lines", {"lines": lines})
    return str(invoice["id"])


def test_a_cut_list_is_read_to_its_end(store: MirrorStore, stripe_account: SimulatedStripe) -> None:
    invoice_id = _invoice_with_lines(stripe_account, 25)

    refresh(store, source_of(stripe_account, page_size=10), INVOICE, invoice_id)

    found = row(store, invoice_id, INVOICE)
    assert found
    assert found.raw == stripe_account.account.objects("invoice", full=True)[0]
    assert found.raw["lines"]["has_more"] is False


def test_an_object_whose_list_lost_its_cursor_is_read_again_and_is_not_dead(
    store: MirrorStore, stripe_account: SimulatedStripe
) -> None:
    invoice_id = _invoice_with_lines(stripe_account, 25)
    lost = []

    def lose(request: Request) -> None:
        if "starting_after" in request.params and not lost:
            lost.append(request)
            request.instead = error(400, "resource_missing")

    stripe_account.at_begin = lose

    assert refresh(store, source_of(stripe_account, page_size=10), INVOICE, invoice_id) == "written"
    found = row(store, invoice_id, INVOICE)
    assert found
    assert len(found.raw["lines"]["data"]) == 25


def test_an_object_deleted_while_its_list_is_read_is_gone(store: MirrorStore, stripe_account: SimulatedStripe) -> None:
    invoice_id = _invoice_with_lines(stripe_account, 25)
    source = source_of(stripe_account, page_size=10)
    refresh(store, source, INVOICE, invoice_id)

    def delete(request: Request) -> None:
        if request.path.endswith("/lines") and stripe_account.account.objects("invoice"):
            stripe_account.account.delete("invoice", invoice_id)

    stripe_account.at_end = delete

    assert refresh(store, source, INVOICE, invoice_id) == "deleted"


def test_what_postgres_refuses_is_rejected_and_its_row_stays(
    store: MirrorStore, stripe_account: SimulatedStripe, customer_id: str
) -> None:
    source = source_of(stripe_account)
    refresh(store, source, CUSTOMER, customer_id)
    before = row(store, customer_id)
    stripe_account.account.update("customer", customer_id, name="a\0b")

    refresh_or_reject(store, source, CUSTOMER, customer_id)

    assert row(store, customer_id) == before
    assert list(rejects(store)) == [customer_id]


def test_an_id_that_a_person_chose_travels_whole(stripe_account: SimulatedStripe) -> None:
    """A price may be an old plan: its id can hold what ends a path, or what libcurl takes for no address at all."""
    stripe_account.at_begin = lambda request: setattr(request, "instead", (200, {}, b'{"id":"x"}'))

    source_of(stripe_account).fetch(OBJECT_TYPES["price"], "Basic \u00a35/month?#1")

    assert stripe_account.requests[0].path == "/v1/prices/Basic%20%C2%A35%2Fmonth%3F%231"
    assert stripe_account.requests[0].params == {"expand[0]": "tiers", "expand[1]": "currency_options"}
