"""What Stripe lists under each customer only is read customer by customer, counted exactly, and resumed where it stopped."""

import pytest

from scripts.sandbox.kinds import KINDS
from sync.mirror.parents import ParentStore
from sync.object_types import OBJECT_TYPES
from tests.sync.backfilling import Backfilling, Process, turns_of
from tests.sync.conftest import Team
from tests.sync.mirrored import row, seen, versions
from tests.sync.simulated_stripe import Request, SimulatedStripe, error, simulated_stripe

CARD, BALANCE, TAX_ID = (OBJECT_TYPES[name] for name in ("payment_method", "customer_balance_transaction", "tax_id"))
TYPES = ("payment_method", "customer_balance_transaction", "tax_id")
CUSTOMERS = 12
COUNTS = {"customer": CUSTOMERS, "charge": 20, "payment_method": 30, "customer_balance_transaction": 9, "tax_id": 6}


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe(counts=COUNTS)


@pytest.fixture
def run(team: Team, stripe: SimulatedStripe) -> Backfilling:
    return Backfilling(team, stripe, page_size=3)


def lists_of(stripe: SimulatedStripe, name: str) -> list[Request]:
    return [each for each in stripe.requests if each.path.endswith(f"/{KINDS[name].under}")]


def customers_of(requests: list[Request]) -> list[str]:
    return [request.path.split("/")[3] for request in requests]


def test_everything_is_mirrored_and_counted(run: Backfilling) -> None:
    backfill_id = run.start("customer", *TYPES)

    assert run.run(backfill_id) == "ready"

    assert run.differences("customer", *TYPES) == []
    assert run.synced(backfill_id) == {name: COUNTS[name] for name in ("customer", *TYPES)}
    assert all(row(run.mirror, each["id"], CARD) for each in run.stripe.account.objects("payment_method"))


def test_customers_come_first_and_are_read_in_the_order_of_their_ids(run: Backfilling, stripe: SimulatedStripe) -> None:
    backfill_id = run.start("customer", "tax_id")
    assert [part.part for part in run.due(backfill_id)] == ["opening"]
    run.work_on(backfill_id, "opening")
    assert [part.part for part in run.due(backfill_id)] == ["customer"], "its customers are not all there yet"

    run.run(backfill_id)

    asked = customers_of(lists_of(stripe, "tax_id"))
    assert set(asked) == {each["id"] for each in stripe.account.objects("customer")}


def test_a_turn_that_is_over_goes_on_after_the_last_customer_that_is_done(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    backfill_id = run.start("customer", "payment_method")
    for part in ("opening", "customer"):
        run.work_on(backfill_id, part)

    assert run.work_on(backfill_id, "payment_method", should_yield=turns_of(1)) == "yielded"
    first = set(customers_of(lists_of(stripe, "payment_method")))
    stripe.requests.clear()
    assert run.run(backfill_id) == "ready"

    assert 0 < len(first) < CUSTOMERS
    assert not first & set(customers_of(lists_of(stripe, "payment_method")))
    assert run.differences("payment_method") == []
    assert run.synced(backfill_id)["payment_method"] == COUNTS["payment_method"]


@pytest.mark.parametrize("dies_after", [12, 20, 35, 60])
def test_a_worker_that_dies_loses_and_counts_nothing_twice(run: Backfilling, dies_after: int) -> None:
    backfill_id = run.start("customer", *TYPES)
    for part in ("opening", "customer"):
        run.work_on(backfill_id, part)

    for name in TYPES:
        run.work_on(backfill_id, name, process=Process(dies_after=dies_after))
    run.let_leases_run_out()
    assert run.run(backfill_id) == "ready"

    assert run.differences(*TYPES) == []
    assert run.synced(backfill_id) == {name: COUNTS[name] for name in ("customer", *TYPES)}


def test_a_late_page_of_the_previous_holder_is_dropped(run: Backfilling, stripe: SimulatedStripe) -> None:
    backfill_id = run.start("customer", "payment_method")
    for part in ("opening", "customer"):
        run.work_on(backfill_id, part)
    taken: list[str] = []

    def take_over(request: Request) -> None:
        if request.path.endswith("/payment_methods") and not taken:
            taken.append(request.path)
            run.let_leases_run_out()
            assert run.work_on(backfill_id, "payment_method") == "done"

    stripe.at_begin = take_over
    assert run.work_on(backfill_id, "payment_method") == "not_ours"
    assert run.run(backfill_id) == "ready"

    assert run.synced(backfill_id)["payment_method"] == COUNTS["payment_method"]


def test_a_lost_cursor_reads_that_customer_again_and_counts_nothing_twice(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    gone: list[str] = []

    def lose(request: Request) -> None:
        cursor = request.params.get("starting_after")
        if request.path.endswith("/payment_methods") and cursor and not gone:
            gone.append(cursor)
            stripe.account.handle("POST", f"/v1/payment_methods/{cursor}/detach", {})

    for _ in range(5):
        stripe.account.create("payment_method", customer=stripe.account.objects("customer")[3]["id"])
    stripe.at_begin = lose
    backfill_id = run.start("customer", "payment_method")

    assert run.run(backfill_id) == "ready"

    assert gone
    assert run.differences("payment_method") == []
    assert run.synced(backfill_id)["payment_method"] == len(seen(run.mirror, CARD))


def test_a_customer_that_is_deleted_meanwhile_is_skipped_and_what_it_had_is_gone(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    assert run.run(run.start("customer", *TYPES)) == "ready"
    loser = next(each["customer"] for each in stripe.account.objects("tax_id"))

    def delete(request: Request) -> None:
        if request.path.endswith("/tax_ids") and stripe.account.state.shelves["customer"].get(loser):
            stripe.account.delete("customer", loser)

    stripe.at_begin = delete

    assert run.run(run.start("customer", *TYPES)) == "ready"

    assert run.differences("customer", *TYPES) == []
    assert not ParentStore(run.team.connection, run.team.id).has_live_parent(TAX_ID, loser)


def test_what_went_while_nobody_listened_becomes_a_tombstone(run: Backfilling, stripe: SimulatedStripe) -> None:
    assert run.run(run.start("customer", *TYPES)) == "ready"
    card, tax_id = (stripe.account.objects(name)[0] for name in ("payment_method", "tax_id"))
    stripe.account.handle("POST", f"/v1/payment_methods/{card['id']}/detach", {})
    stripe.account.delete("tax_id", tax_id["id"])
    stripe.clock.advance(31 * 86_400)  # Stripe has forgotten the events

    assert run.run(run.start("customer", *TYPES)) == "ready"

    assert run.differences(*TYPES) == []
    for object_type, gone in ((CARD, card), (TAX_ID, tax_id)):
        found = row(run.mirror, gone["id"], object_type)
        assert found
        assert found.deleted_at


def test_a_balance_that_changes_meanwhile_is_read_again_although_no_event_tells_of_the_transaction(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    made: list[str] = []

    def adjust(request: Request) -> None:
        if request.path.endswith("/balance_transactions"):
            read = customers_of(lists_of(stripe, "customer_balance_transaction"))
            if len(read) > CUSTOMERS // 2 and not made:
                made.append("")
                first = stripe.account.create(
                    "customer_balance_transaction", customer=read[0], amount=-700, currency="usd"
                )
                new = stripe.account.create("customer", email="new@example.com")["id"]
                stripe.account.create("customer_balance_transaction", customer=new, amount=-9, currency="usd")
                made.append(first["id"])

    stripe.at_begin = adjust
    backfill_id = run.start("customer", "customer_balance_transaction")

    assert run.run(backfill_id) == "ready"

    assert made
    assert run.differences("customer", "customer_balance_transaction") == []


def test_a_second_run_rewrites_no_row_and_asks_once_for_each_customer(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    run.run(run.start("customer", *TYPES))
    before = versions(run.team.connection, run.team.schema)
    stripe.requests.clear()
    run.page_size = 100

    assert run.run(run.start("customer", *TYPES)) == "ready"

    assert versions(run.team.connection, run.team.schema) == before
    assert {name: len(lists_of(stripe, name)) for name in TYPES} == dict.fromkeys(TYPES, CUSTOMERS)


def test_without_all_customers_the_type_fails_alone_and_says_what_to_do(run: Backfilling) -> None:
    backfill_id = run.start("tax_id")

    assert run.run(backfill_id) == "error"

    (state,) = run.store.types(backfill_id)
    assert state.error == (
        "Tax ids are read customer by customer, and the mirror does not have every customer yet. Start a backfill that"
        " names customer, too."
    )


def test_a_type_alone_is_read_by_the_customers_that_the_mirror_has(run: Backfilling) -> None:
    run.run(run.start("customer"))

    assert run.run(run.start("tax_id")) == "ready"

    assert run.differences("tax_id") == []


def test_a_key_that_may_not_read_the_type_fails_it_alone(run: Backfilling, stripe: SimulatedStripe) -> None:
    def refuse(request: Request) -> None:
        if request.path.endswith("/tax_ids"):
            request.instead = error(403, message="The permission rak_tax_id_read is missing.")

    stripe.at_begin = refuse
    backfill_id = run.start("customer", "payment_method", "tax_id")

    assert run.run(backfill_id) == "error"

    states = {state.type: state for state in run.store.types(backfill_id)}
    assert states["payment_method"].status == "ready"
    assert "rak_tax_id_read" in (states["tax_id"].error or "")
