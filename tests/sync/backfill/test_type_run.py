"""Mirroring one type: whatever happens to requests, cursors, workers and Postgres, every object is met and counted once."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from sync.backfill.type_run import LIST_PAYERS
from sync.database.schema import mark
from sync.object_types import OBJECT_TYPES, EmbeddedList, head_struct
from sync.stripe.answers import Answer
from sync.stripe.pages import Page
from tests.factories import NOW
from tests.sync.backfilling import Backfilling, Process, turns_of
from tests.sync.conftest import Team
from tests.sync.mirrored import rejects, row, seen, versions, windows
from tests.sync.simulated_stripe import Budget, Request, SimulatedStripe, error, simulated_stripe

Hook = Callable[[Request], None]

COUNTS = {"customer": 23, "product": 3, "price": 9, "subscription": 12, "invoice": 14, "charge": 17}


@pytest.fixture
def run(team: Team) -> Backfilling:
    return Backfilling(team, simulated_stripe(counts=COUNTS), page_size=4)


def types_of(run: Backfilling, backfill_id: str) -> dict[str, tuple[str, str | None]]:
    return {state.type: (state.status, state.error) for state in run.store.types(backfill_id)}


def listings(run: Backfilling, path: str = "/v1/customers") -> list[Request]:
    return [request for request in run.stripe.requests if request.path == path]


def wait_until(is_so: Callable[[], bool]) -> None:
    """For what the threads of a worker do in their own time."""
    give_up_at = time.monotonic() + 10
    while not is_so() and time.monotonic() < give_up_at:
        time.sleep(0.002)


def once(is_meant: Callable[[Request], bool], act: Callable[[Request], None]) -> tuple[Hook, threading.Event]:
    """A hook that acts at the first request that is meant; and what says that it has."""
    free, done = threading.Lock(), threading.Event()

    def hook(request: Request) -> None:
        if is_meant(request) and free.acquire(blocking=False):
            act(request)
            done.set()

    return hook, done


def has_cursor(request: Request) -> bool:
    return "starting_after" in request.params


def is_list_of_customers(request: Request) -> bool:
    return request.path == "/v1/customers"


def test_a_backfill_mirrors_every_object_and_counts_it_once(run: Backfilling) -> None:
    backfill_id = run.start()

    assert run.run(backfill_id) == "ready"

    assert run.differences() == []
    assert run.synced(backfill_id) == COUNTS
    assert all(state == ("ready", None) for state in types_of(run, backfill_id).values())


def test_windows_split_and_give_every_object_to_one_of_them(run: Backfilling) -> None:
    run.stripe.at_begin = lambda request: time.sleep(0.01)  # else each page is there before the next one is asked for
    backfill_id = run.start("customer")

    run.work_on(backfill_id, "customer")

    found = windows(run.mirror)
    assert len(found) > 1
    assert sum(window["met"] for window in found) == COUNTS["customer"]
    assert len({(request.params["created[gte]"], request.params["created[lt]"]) for request in listings(run)}) == len(
        found
    )


def test_a_filter_stays_the_same_under_a_cursor(run: Backfilling) -> None:
    run.run(run.start("customer"))

    filters: dict[str, set[tuple[str, str]]] = {}
    for request in listings(run):
        if "starting_after" in request.params:
            bounds = (request.params["created[gte]"], request.params["created[lt]"])
            filters.setdefault(request.params["starting_after"], set()).add(bounds)
    assert filters
    assert all(len(bounds) == 1 for bounds in filters.values())


def test_only_objects_created_after_are_mirrored(run: Backfilling) -> None:
    created = sorted(each["created"] for each in run.stripe.account.objects("customer"))
    after = created[len(created) // 2]

    backfill_id = run.start("customer", created_after=datetime.fromtimestamp(after, UTC))
    run.run(backfill_id)

    assert run.synced(backfill_id)["customer"] == sum(second > after for second in created)


def test_nested_lists_that_stripe_cut_are_mirrored_whole(team: Team) -> None:
    run = Backfilling(team, simulated_stripe(counts={**COUNTS, "invoice": 0, "subscription": 0}))
    account = run.stripe.account
    customer = account.objects("customer")[0]["id"]
    lengths = {account.create("invoice", customer=customer)["id"]: length for length in (25, 11, 12, 3, 13, 14, 15)}
    for invoice_id, length in lengths.items():
        lines = [{"amount": 100 + number, "description": f"line {number}"} for number in range(length)]
        account.handle("POST", f"/v1/invoices/{invoice_id}/add_lines", {"lines": lines})
    run.stripe.clock.advance(10)

    run.run(run.start())

    assert run.differences() == []
    rows = {invoice_id: row(run.mirror, invoice_id, OBJECT_TYPES["invoice"]) for invoice_id in lengths}
    assert {invoice_id: len(found.raw["lines"]["data"]) for invoice_id, found in rows.items() if found} == lengths


def with_cut_lists(stripe: SimulatedStripe, count: int) -> None:
    customer = stripe.account.objects("customer")[0]["id"]
    for _ in range(count):
        invoice = stripe.account.create("invoice", customer=customer)
        lines = [{"amount": 1, "description": "a line"} for _ in range(12)]
        stripe.account.handle("POST", f"/v1/invoices/{invoice['id']}/add_lines", {"lines": lines})
    stripe.clock.advance(10)


@pytest.mark.parametrize("paid_at_once", [1, 3, 8])
def test_no_more_is_asked_for_than_was_paid_for(team: Team, paid_at_once: int) -> None:
    run = Backfilling(team, simulated_stripe(counts={"customer": 3}), page_size=4, budget=Budget(count=paid_at_once))
    with_cut_lists(run.stripe, 11)

    run.work_on(run.start("invoice"), "invoice")

    lists = [request for request in run.stripe.requests if request.path.endswith("/lines")]
    for endpoint, sent in (("list_invoices", len(listings(run, "/v1/invoices"))), ("list_lines", len(lists))):
        payments = run.budget.reserved.count(endpoint)
        assert sent <= payments * paid_at_once
        assert payments <= sent / paid_at_once + LIST_PAYERS, "what was paid for is used"
    assert len(lists) == 11 * 3


def test_pages_stand_in_line_and_their_cut_lists_do_not(team: Team) -> None:
    run = Backfilling(team, simulated_stripe(counts={"customer": 3}))
    with_cut_lists(run.stripe, 3)

    run.work_on(run.start("invoice"), "invoice")

    paid = zip(run.budget.reserved, run.budget.urgent, strict=True)
    assert {each for each in paid if each[0] in ("list_invoices", "list_lines")} == {
        ("list_invoices", False),
        ("list_lines", True),
    }


def test_an_object_that_stands_twice_in_a_page_has_its_list_read_once() -> None:
    heads = [head_struct(OBJECT_TYPES["invoice"])("in_1", NOW, EmbeddedList(has_more=True))] * 2

    assert Page(Answer(b"", NOW, NOW), heads, has_more=False).cut_ids(OBJECT_TYPES["invoice"]) == ["in_1"]


def test_an_inline_price_that_only_a_cut_off_item_names_is_mirrored(team: Team) -> None:
    """Stripe's lists leave inline prices out, and embed ten items of a subscription only."""
    run = Backfilling(team, simulated_stripe(counts={"customer": 1, "product": 1, "price": 12}))
    account = run.stripe.account
    customer, product = account.objects("customer")[0]["id"], account.objects("product")[0]["id"]
    listed = [
        account.create("price", product=product, currency="usd", unit_amount=5, recurring={"interval": "month"})["id"]
        for _ in range(11)
    ]
    inline = {"currency": "usd", "product": product, "unit_amount": 7, "recurring": {"interval": "month"}}
    items = [*({"price": price} for price in listed), {"price_data": inline}]
    account.create("subscription", customer=customer, items=items)
    run.stripe.clock.advance(3600)

    run.run(run.start())

    assert run.differences() == []


@pytest.mark.parametrize("deleted_at", ["begin", "end"])
def test_an_object_deleted_while_its_nested_list_is_read_is_left_out(team: Team, deleted_at: str) -> None:
    run = Backfilling(team, simulated_stripe(counts={"customer": 1}))
    account = run.stripe.account
    invoice = account.create("invoice", customer=account.objects("customer")[0]["id"])
    lines = [{"amount": 100, "description": f"line {number}"} for number in range(25)]
    account.handle("POST", f"/v1/invoices/{invoice['id']}/add_lines", {"lines": lines})
    run.stripe.clock.advance(10)

    def delete(request: Request) -> None:
        if request.path.endswith("/lines") and account.objects("invoice"):
            account.delete("invoice", invoice["id"])

    setattr(run.stripe, f"at_{deleted_at}", delete)
    run.page_size = 10

    backfill_id = run.start()

    assert run.run(backfill_id) == "ready"
    assert run.differences() == []


def test_a_lost_cursor_is_read_again_by_time_and_counts_nothing_twice(run: Backfilling) -> None:
    deleted = []

    def delete_cursor(request: Request) -> None:
        if request.path == "/v1/customers" and "starting_after" in request.params and len(deleted) < 3:
            deleted.append(request.params["starting_after"])
            run.stripe.account.delete("customer", deleted[-1])

    run.stripe.at_begin = delete_cursor
    backfill_id = run.start("customer")

    assert run.run(backfill_id) == "ready"

    assert len(deleted) == 3
    assert run.differences("customer") == []
    assert run.synced(backfill_id)["customer"] == COUNTS["customer"], "those too that are tombstones by now"
    assert row(run.mirror, deleted[0]).deleted_at  # type: ignore[union-attr]


@pytest.mark.parametrize("losses", [5, 6])
def test_a_second_is_read_again_from_its_beginning_five_times_in_one_turn(team: Team, losses: int) -> None:
    """Of objects of one second, no filter can skip the pages that were read. A sixth loss means a fault."""
    stripe = simulated_stripe(counts={"customer": 60}, profile="one-second")
    run, lost = Backfilling(team, stripe, page_size=4), list[str]()
    seconds = Counter(each["created"] for each in stripe.account.objects("customer"))
    together = {each["id"] for each in stripe.account.objects("customer") if seconds[each["created"]] > 20}

    def delete_cursor(request: Request) -> None:
        cursor = request.params.get("starting_after")
        if request.path == "/v1/customers" and cursor in together and len(lost) < losses:
            lost.append(cursor)
            stripe.account.delete("customer", cursor)

    stripe.at_begin = delete_cursor
    backfill_id = run.start("customer")
    ended = run.run(backfill_id)

    assert ended == ("ready" if losses == 5 else "error")
    assert len(lost) == losses
    stripe.at_begin = lambda request: None
    assert run.run(run.start("customer")) == "ready", "the next one goes on where it was"
    assert run.differences("customer") == []


def test_a_stripe_that_accepts_no_cursor_ends_the_type(team: Team) -> None:
    counts = {"customer": 60, "charge": 3}
    run = Backfilling(team, simulated_stripe(counts=counts, profile="one-second"), page_size=4)

    def refuse(request: Request) -> None:
        if request.path == "/v1/customers" and "starting_after" in request.params:
            request.instead = error(400, "resource_missing", message="No such customer.")

    run.stripe.at_begin = refuse
    backfill_id = run.start("customer", "charge")

    assert run.run(backfill_id) == "error"

    found = types_of(run, backfill_id)
    assert found["customer"] == ("error", "No such customer.")
    assert found["charge"] == ("ready", None)
    assert len(listings(run)) < 60, "it is not tried for ever"


def test_a_permanent_error_ends_its_type_with_a_sentence_and_the_others_finish(run: Backfilling) -> None:
    def forbid(request: Request) -> None:
        if request.path == "/v1/charges":
            request.instead = error(403, message="Having the 'rak_charge_read' permission would allow this.")

    run.stripe.at_begin = forbid
    backfill_id = run.start("customer", "charge")

    assert run.run(backfill_id) == "error"

    found = types_of(run, backfill_id)
    assert found["customer"] == ("ready", None)
    status, sentence = found["charge"]
    assert status == "error"
    assert "rak_charge_read" in str(sentence)
    assert len(listings(run, "/v1/charges")) <= 2, "it is not tried again"
    assert run.differences("customer") == []


def test_the_next_backfill_goes_on_where_the_errored_one_stood(run: Backfilling) -> None:
    answered: list[str] = []
    started = run.stripe.clock.now

    def forbid(request: Request) -> None:
        if request.path == "/v1/charges":
            answered.append(request.path)
            request.instead = error(403) if len(answered) > 2 else None

    run.stripe.at_begin = forbid
    errored = run.start()
    assert run.run(errored) == "error"
    met = run.synced(errored)["charge"]
    run.stripe.at_begin = lambda request: None
    run.stripe.requests.clear()
    run.stripe.clock.advance(3600)

    adopting = run.start()
    assert adopting != errored
    assert run.synced(adopting)["charge"] == met > 0
    assert run.run(adopting) == "ready"

    assert run.synced(adopting) == COUNTS
    assert run.differences() == []
    assert len(listings(run)) == 1, "of customers only the tail is read again"
    assert run.get(adopting).started == int(started)
    assert len(listings(run, "/v1/charges")) < COUNTS["charge"] / 4 + 4


def test_a_turn_that_is_over_leaves_a_checkpoint_and_the_next_one_goes_on(run: Backfilling) -> None:
    backfill_id = run.start("customer")
    ends = []
    while run.store.types(backfill_id)[0].status != "ready":
        ends.append(run.work_on(backfill_id, "customer", should_yield=turns_of(3)))

    assert ends[0] == "yielded"
    assert ends[-1] == "done"
    assert run.synced(backfill_id)["customer"] == COUNTS["customer"]
    pages = sum(window["pages"] for window in windows(run.mirror))
    assert len(listings(run)) == pages, "no page is read twice"


@pytest.mark.parametrize("dies_after", range(4, 100, 12))
def test_a_process_killed_anywhere_loses_nothing_and_counts_nothing_twice(run: Backfilling, dies_after: int) -> None:
    backfill_id = run.start("customer")

    run.work_on(backfill_id, "customer", process=Process(dies_after=dies_after))
    counted = sum(window["counted"] for window in windows(run.mirror))
    assert counted == len(seen(run.mirror))
    assert run.run(backfill_id) == "ready"

    assert run.synced(backfill_id)["customer"] == COUNTS["customer"]
    assert run.differences("customer") == []


def test_a_second_worker_gets_no_lease_while_the_first_one_holds_it(run: Backfilling) -> None:
    backfill_id = run.start("customer")
    ends: list[str | None] = []
    run.stripe.at_begin, _ = once(
        is_list_of_customers, lambda request: ends.append(run.work_on(backfill_id, "customer"))
    )

    assert run.work_on(backfill_id, "customer") == "done"
    assert ends == ["not_ours"]


def take_over(run: Backfilling, backfill_id: str) -> str | None:
    """By a second worker, however the first one's keeper renews its lease meanwhile."""
    end: str | None = "not_ours"
    while end == "not_ours":
        run.let_leases_run_out()
        end = run.work_on(backfill_id, "customer")
    return end


def test_whoever_wakes_up_after_its_lease_ran_out_writes_nothing_more(run: Backfilling) -> None:
    """The first worker stands still with a page in its hands until the second one is done with the whole type."""
    backfill_id = run.start("customer")
    ends: list[str | None] = []

    def stand_still(request: Request) -> None:
        ends.append(take_over(run, backfill_id))

    run.stripe.at_end, _ = once(is_list_of_customers, stand_still)

    assert run.work_on(backfill_id, "customer") == "not_ours"

    wait_until(lambda: bool(ends))  # the request may outlast the turn
    assert ends == ["done"]
    assert run.synced(backfill_id)["customer"] == COUNTS["customer"]
    assert sum(window["counted"] for window in windows(run.mirror)) == COUNTS["customer"]


def test_whoever_fails_after_its_lease_ran_out_does_not_end_the_type(run: Backfilling) -> None:
    backfill_id = run.start("customer")
    ends: list[str | None] = []

    def stand_still(request: Request) -> None:
        ends.append(take_over(run, backfill_id))
        request.instead = error(403)

    run.stripe.at_begin, _ = once(is_list_of_customers, stand_still)

    run.work_on(backfill_id, "customer")

    wait_until(lambda: bool(ends))  # the request may outlast the turn
    assert ends == ["done"]
    assert types_of(run, backfill_id)["customer"] == ("ready", None)


def test_nothing_is_written_after_a_cancel(run: Backfilling) -> None:
    backfill_id = run.start("customer")
    at_cancel: list[set[str]] = []

    def cancel(request: Request) -> None:
        wait_until(lambda: bool(seen(run.mirror)))
        assert run.store.cancel(run.team.id) == backfill_id
        at_cancel.append(seen(run.mirror))

    run.stripe.at_end, canceled = once(has_cursor, cancel)

    run.work_on(backfill_id, "customer")

    assert canceled.wait(10)
    assert [seen(run.mirror)] == at_cancel
    assert run.get(backfill_id).state == "canceled"
    assert run.due(backfill_id) == []


def test_faults_of_every_kind_are_ridden_out(run: Backfilling) -> None:
    struck = iter(range(10**6))
    faults = [
        error(500),
        error(429, "rate_limit", **{"Stripe-Rate-Limited-Reason": "endpoint-rate"}),
        error(409, "lock_timeout"),
        (502, {}, b"<html>"),
        (200, {}, b'{"data":[{"id":"cus'),
    ]

    def strike(request: Request) -> None:
        number = next(struck)
        if number % 3 == 0:
            request.instead = faults[number // 3 % len(faults)]

    run.stripe.at_begin = strike
    backfill_id = run.start()

    assert run.run(backfill_id) == "ready"
    assert run.differences() == []
    assert run.synced(backfill_id) == COUNTS


def test_a_stripe_that_stays_away_ends_the_type_with_its_words(run: Backfilling) -> None:
    run.attempts = 3

    def fail(request: Request) -> None:
        if request.path == "/v1/customers":
            request.instead = error(503, message="Stripe is down for a while.")

    run.stripe.at_begin = fail
    backfill_id = run.start("customer")

    assert run.run(backfill_id) == "error"
    assert types_of(run, backfill_id)["customer"] == ("error", "Stripe is down for a while.")


def test_a_postgres_that_is_away_ends_nothing(run: Backfilling) -> None:
    backfill_id = run.start("customer")

    def cut_all(request: Request) -> None:
        wait_until(lambda: bool(seen(run.mirror)))
        run.team.connection.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
            """
        )

    run.stripe.at_begin, _ = once(has_cursor, cut_all)

    with pytest.raises(psycopg.OperationalError):
        run.work_on(backfill_id, "customer")

    assert types_of(run, backfill_id)["customer"] == ("syncing", None)
    run.let_leases_run_out()
    assert run.run(backfill_id) == "ready"
    assert run.synced(backfill_id)["customer"] == COUNTS["customer"]


@pytest.mark.parametrize(
    ("bad", "counted"),
    [({"name": "a\0b"}, 22), ({"email": "x\0@example.com"}, 22)],
    ids=["a NUL in a name", "in an email"],
)
def test_what_postgres_refuses_is_a_warning_and_the_rest_is_mirrored(run: Backfilling, bad: dict, counted: int) -> None:
    victim = run.stripe.account.objects("customer")[7]["id"]
    run.stripe.account.update("customer", victim, **bad)
    run.stripe.clock.advance(3600)
    backfill_id = run.start("customer")

    assert run.run(backfill_id) == "ready"

    assert run.synced(backfill_id)["customer"] == counted
    assert list(rejects(run.mirror)) == [victim]
    assert [difference.missing for difference in run.differences("customer")] == [(victim,)]
    warnings = run.store.history(run.team.id, 1)[0]["warnings"]
    assert len(warnings) == 1
    assert victim in warnings[0]


def test_what_postgres_refuses_of_a_mirrored_object_is_a_warning_too(run: Backfilling) -> None:
    """Its old row is a suspect then, for no page could put it in: it is fetched, and refused again."""
    run.run(run.start("customer"))
    victim = run.stripe.account.objects("customer")[7]["id"]
    run.stripe.account.update("customer", victim, name="a\0b")
    run.stripe.clock.advance(3600)

    again = run.start("customer")

    assert run.run(again) == "ready"
    assert list(rejects(run.mirror)) == [victim]


def test_a_second_backfill_of_an_unchanged_account_writes_no_row(run: Backfilling) -> None:
    run.run(run.start())
    before = versions(run.team.connection, run.team.schema)
    run.stripe.clock.advance(3600)
    again = run.start()

    assert run.run(again) == "ready"

    assert versions(run.team.connection, run.team.schema) == before
    assert run.synced(again) == COUNTS


def test_progress_and_counts_that_are_shown_never_go_down(run: Backfilling) -> None:
    backfill_id = run.start("customer")
    while run.store.types(backfill_id)[0].status != "ready":
        run.work_on(backfill_id, "customer", should_yield=turns_of(4))

    shown = [(state.synced, state.progress) for state in run.shown]
    assert shown == sorted(shown)
    assert shown[-1] == (COUNTS["customer"], 1)


def test_a_part_of_a_team_whose_tables_are_older_waits_and_does_not_fail(run: Backfilling) -> None:
    backfill_id = run.start("customer")
    name = sql.Identifier(run.team.schema)
    run.team.connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS 'billstack 2'").format(name))
    try:
        assert run.work_on(backfill_id, "customer") == "waits"
        assert run.store.types(backfill_id)[0].status == "pending"
    finally:
        mark(run.team.connection, run.team.schema)

    assert run.run(backfill_id) == "ready"


def test_a_part_whose_tables_an_upgrade_changes_under_it_is_given_back(run: Backfilling) -> None:
    backfill_id = run.start("customer")
    name = sql.Identifier(run.team.schema)

    def upgrade_begins(request: Request) -> None:
        run.team.connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS 'billstack 2'").format(name))
        raise RuntimeError("as if a column were gone")

    run.stripe.at_begin = upgrade_begins
    try:
        assert run.work_on(backfill_id, "customer") == "yielded"
    finally:
        mark(run.team.connection, run.team.schema)
    run.stripe.at_begin = lambda request: None

    assert run.run(backfill_id) == "ready"
    assert run.differences("customer") == []
