"""The finish: what the windows could not see comes into the mirror, and only Stripe's own word makes a tombstone."""

import time
from datetime import UTC, datetime

import pytest
from psycopg import sql

from sync.backfill.part_records import FINISH
from sync.events.applying import record_event
from sync.events.ledger import Ledger
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES
from sync.stripe.retries import FAIL_FAST_ATTEMPTS
from tests.factories import FACTORIES, Json, encoded, event, listed, price, subscription
from tests.sync.backfilling import Backfilling, Process
from tests.sync.conftest import Team
from tests.sync.mirrored import CUSTOMER, row, seen, windows
from tests.sync.simulated_stripe import Request, error, simulated_stripe

COUNTS = {"customer": 9, "product": 2, "price": 6, "subscription": 5, "invoice": 4, "charge": 3}


@pytest.fixture
def run(team: Team) -> Backfilling:
    return Backfilling(team, simulated_stripe(counts=COUNTS), page_size=3)


def warnings(run: Backfilling) -> list[str]:
    found: list[str] = run.store.history(run.team.id, 1)[0]["warnings"]
    return found


def all_but_the_finish(run: Backfilling, *types: str) -> str:
    """A backfill whose windows are done; a minute later."""
    backfill_id = run.start(*types)
    for name in types or DEFAULT_TYPES:
        run.work_on(backfill_id, name)
    run.stripe.clock.advance(60)
    return backfill_id


def asked_for(run: Backfilling, path: str) -> list[str]:
    return [request.path.rpartition("/")[2] for request in run.stripe.requests if request.path.startswith(f"{path}/")]


# Tail -------------------------------------------------------------------------------------------------------------------


def test_what_was_created_since_the_start_is_mirrored_and_counted(run: Backfilling) -> None:
    backfill_id = all_but_the_finish(run, "customer")
    created = run.stripe.account.create("customer", name="late")
    run.stripe.clock.advance(5)

    assert run.run(backfill_id) == "ready"

    assert created["id"] in seen(run.mirror)
    assert run.synced(backfill_id)["customer"] == COUNTS["customer"] + 1
    assert run.differences("customer") == []


@pytest.mark.parametrize("dies_after", range(2, 44, 6))
def test_a_finish_killed_anywhere_is_finished_by_the_next_one(run: Backfilling, dies_after: int) -> None:
    account = run.stripe.account
    backfill_id = all_but_the_finish(run, "customer")
    for number in range(7):
        account.create("customer", name=f"late {number}")
        run.stripe.clock.advance(1)
    account.delete("customer", account.objects("customer")[0]["id"])
    account.update("customer", account.objects("customer")[3]["id"], name="edited")
    run.stripe.clock.advance(5)

    run.work_on(backfill_id, FINISH, process=Process(dies_after=dies_after))
    late = 7
    run.stripe.clock.advance(5)
    if run.get(backfill_id).state == "running":
        account.create("customer", name="later still")
        late += 1
    run.stripe.clock.advance(5)

    assert run.run(backfill_id) == "ready"
    assert run.differences("customer") == []
    assert run.synced(backfill_id)["customer"] == COUNTS["customer"] + late
    ranges = sorted((window["gte"], window["lt"]) for window in windows(run.mirror))
    assert ranges[0][0] == 0
    assert all(window["done"] for window in windows(run.mirror))


def test_a_cursor_lost_in_the_tail_of_a_finish_that_dies_leaves_no_hole(run: Backfilling) -> None:
    account = run.stripe.account
    backfill_id = all_but_the_finish(run, "customer")
    for number in range(12):
        account.create("customer", name=f"late {number}")
        run.stripe.clock.advance(1)
    run.stripe.clock.advance(5)
    process = Process()

    def lose_and_die(request: Request) -> None:
        cursor = request.params.get("starting_after")
        if request.path == "/v1/customers" and cursor and not process.is_dead:
            account.delete("customer", cursor)
            run.stripe.at_begin = lambda again: setattr(process, "is_dead", "starting_after" not in again.params)

    run.stripe.at_begin = lose_and_die
    run.work_on(backfill_id, FINISH, process=process)
    run.stripe.at_begin = lambda request: None

    assert run.run(backfill_id) == "ready"
    assert run.differences("customer") == []
    assert run.synced(backfill_id)["customer"] in (COUNTS["customer"] + 11, COUNTS["customer"] + 12)


def test_a_tail_keeps_to_created_after(run: Backfilling) -> None:
    """`createdAfter` may be so recent that the windows are empty."""
    now = run.stripe.clock.now
    run.stripe.account.create("customer", name="in that second")
    backfill_id = run.start("customer", created_after=datetime.fromtimestamp(now, UTC))
    run.stripe.clock.advance(0.5)
    run.work_on(backfill_id, "customer")
    run.stripe.clock.advance(30)
    after = run.stripe.account.create("customer", name="after it")
    run.stripe.clock.advance(30)

    run.run(backfill_id)

    assert seen(run.mirror) == {after["id"]}


# Events -----------------------------------------------------------------------------------------------------------------


def test_changes_made_behind_the_pages_are_replayed(run: Backfilling) -> None:
    account = run.stripe.account
    backfill_id = all_but_the_finish(run)
    account.update("customer", account.objects("customer")[0]["id"], name="edited")
    account.update("price", account.state.shelves["price"].timeline.at(0).id, active=False)
    account.delete("subscription", account.objects("subscription")[0]["id"])
    dead = account.objects("customer")[4]["id"]
    account.delete("customer", dead)
    run.stripe.clock.advance(5)

    assert run.run(backfill_id) == "ready"

    assert run.differences() == []
    assert row(run.mirror, dead).deleted_at  # type: ignore[union-attr]
    assert run.synced(backfill_id) == COUNTS


def test_events_from_a_minute_before_the_start_are_replayed(run: Backfilling) -> None:
    """Stripe may list an event a little after the change that a page has already shown."""
    run.stripe.account.update("customer", run.stripe.account.objects("customer")[0]["id"], name="edited")
    run.stripe.clock.advance(59)

    run.run(run.start("customer"))

    assert run.team.connection.execute(
        "SELECT count(*) FROM billstack.events WHERE team_id = %s", (run.team.id,)
    ).fetchone() == (1,)


def test_a_key_that_may_not_read_events_is_a_warning_and_suspects_are_asked_all_the_same(run: Backfilling) -> None:
    run.run(run.start("customer"))
    dead = run.stripe.account.objects("customer")[0]["id"]
    run.stripe.account.delete("customer", dead)
    run.stripe.clock.advance(3600)

    def forbid(request: Request) -> None:
        if request.path == "/v1/events":
            request.instead = error(403, message="Having the 'rak_event_read' permission would allow this.")

    run.stripe.at_begin = forbid

    assert run.run(run.start("customer")) == "ready"

    assert len(warnings(run)) == 1
    assert "rak_event_read" in warnings(run)[0]
    assert row(run.mirror, dead).deleted_at  # type: ignore[union-attr]


def test_a_key_that_is_revoked_before_the_events_ends_the_backfill_with_an_error(run: Backfilling) -> None:
    def revoke(request: Request) -> None:
        if request.path == "/v1/events":
            request.instead = error(401, message="Expired API Key provided.")

    run.stripe.at_begin = revoke

    assert run.run(run.start("customer")) == "error"


def fail_an_event(run: Backfilling, about: Json, message: str = "No.") -> str:
    """It failed a few times, a day ago, and its next attempt is in an hour."""
    ledger = Ledger(run.team.connection, run.team.id)
    told = event(about, created=int(run.stripe.clock.now) - 86_400, api_version="2019-01-01")
    record_event(ledger, encoded(told), delivered=True)
    run.team.connection.execute(
        "UPDATE billstack.events SET state = 'failed', attempts = 12, next_attempt_at = now() + interval '1 hour', error = %s"
        " WHERE id = %s",
        (message, told["id"]),
    )
    return str(told["id"])


def state_of(run: Backfilling, event_id: str) -> tuple[str, int]:
    found = run.team.connection.execute("SELECT state, attempts FROM billstack.events WHERE id = %s", (event_id,))
    state, attempts = found.fetchone() or ("", 0)
    return state, attempts


def test_what_failed_earlier_is_settled_by_the_finish_and_does_not_hold_it_up(run: Backfilling) -> None:
    """Of a type that this backfill does not read: only the event's own fetch brings what the mirror missed."""
    run.run(run.start())
    about = run.stripe.account.objects("charge")[0]
    run.stripe.account.update("charge", about["id"], description="missed")
    event_id = fail_an_event(run, about)
    run.stripe.clock.advance(3600)
    started = time.monotonic()

    assert run.run(run.start("customer")) == "ready"

    assert time.monotonic() - started < 30
    assert state_of(run, event_id)[0] == "applied"
    assert run.differences() == []
    assert warnings(run) == []


def test_what_fails_again_is_not_waited_for_and_stays_failed_with_its_backoff(run: Backfilling) -> None:
    about = run.stripe.account.objects("charge")[0]
    event_id = fail_an_event(run, about)

    def refuse(request: Request) -> None:
        if request.path.startswith("/v1/charges/"):
            request.instead = error(500)

    run.stripe.at_begin = refuse
    started = time.monotonic()

    assert run.run(run.start("customer")) == "ready"

    assert time.monotonic() - started < 30
    assert len(asked_for(run, "/v1/charges")) == FAIL_FAST_ATTEMPTS
    assert state_of(run, event_id) == ("failed", 13)
    due = run.team.connection.execute("SELECT next_attempt_at > now() + interval '50 minutes' FROM billstack.events")
    assert due.fetchone() == (True,)


# Prices -----------------------------------------------------------------------------------------------------------------


def test_inline_prices_are_fetched_because_they_are_named(run: Backfilling) -> None:
    listed = {record.id for record in run.stripe.account.state.shelves["price"].timeline}
    inline = {each["id"] for each in run.stripe.account.objects("price")} - listed
    backfill_id = run.start()

    run.run(backfill_id)

    assert inline
    for price_id in inline:
        assert row(run.mirror, price_id, OBJECT_TYPES["price"])
    assert run.synced(backfill_id)["price"] == COUNTS["price"], "the lists did not meet them"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("invoiceitem", {"pricing": {"price_details": {"price": "inline", "product": "prod_1"}}}),
        ("invoiceitem", {"price": {"id": "inline", "object": "price"}}),
        ("subscription_schedule", {"phases": [{"items": [{"price": "inline", "quantity": 2}]}]}),
    ],
    ids=["line", "older line", "phase"],
)
def test_a_price_that_only_an_object_of_a_further_type_names_is_fetched(
    run: Backfilling, name: str, fields: dict
) -> None:
    shelves = run.stripe.account.state.shelves
    shelves[name].put(FACTORIES[name]("x_1", **fields))
    shelves["price"].put(price("inline", lookup_key=None), listed=False)

    assert run.run(run.start("price", name)) == "ready"

    assert row(run.mirror, "inline", OBJECT_TYPES["price"])


def test_a_price_that_is_named_as_a_plan_alone_is_fetched(run: Backfilling) -> None:
    """From the list of subscriptions as older API versions send it, to the row in `prices` that no list gave."""
    plan = {"id": "gold", "object": "plan", "product": "prod_gold", "currency": "usd", "amount": 900}
    item = {"id": "si_gold", "object": "subscription_item", "quantity": 3, "plan": plan}
    shelves = run.stripe.account.state.shelves
    bare = {"currency": None, "collection_method": "charge_automatically", "items": listed(item)}
    shelves["subscription"].put(subscription("sub_gold", **bare))
    shelves["price"].put(price("gold", product="prod_gold", unit_amount=900, lookup_key=None), listed=False)

    assert run.run(run.start()) == "ready"

    columns = "SELECT price, product, currency, unit_amount, quantity FROM {}.subscriptions WHERE id = 'sub_gold'"
    named = run.team.connection.execute(sql.SQL(columns).format(sql.Identifier(run.team.schema))).fetchone()
    assert named == ("gold", "prod_gold", "usd", 900, 3)
    assert "gold" in asked_for(run, "/v1/prices")
    assert row(run.mirror, "gold", OBJECT_TYPES["price"])
    assert run.differences() == []


def test_prices_are_not_fetched_for_a_backfill_without_prices(run: Backfilling) -> None:
    run.run(run.start("subscription"))

    assert asked_for(run, "/v1/prices") == []


# Suspects ---------------------------------------------------------------------------------------------------------------


def test_what_was_deleted_while_nobody_listened_becomes_a_tombstone(run: Backfilling) -> None:
    run.run(run.start("customer"))
    dead = [each["id"] for each in run.stripe.account.objects("customer")[:2]]
    for object_id in dead:
        run.stripe.account.delete("customer", object_id)
    run.stripe.clock.advance(40 * 86_400)  # Stripe keeps events for 30 days
    again = run.start("customer")

    assert run.run(again) == "ready"

    assert run.differences("customer") == []
    assert all(row(run.mirror, object_id).deleted_at for object_id in dead)  # type: ignore[union-attr]
    assert run.synced(again)["customer"] == COUNTS["customer"] - 2


def test_a_row_that_no_list_gave_and_stripe_still_has_is_refreshed(run: Backfilling) -> None:
    run.run(run.start("customer"))
    unlisted = run.stripe.account.create("customer", name="unlisted")
    store = run.mirror
    store.apply_event(CUSTOMER, unlisted["id"], encoded({**unlisted, "name": "stale"}), created=1, checked_until=None)
    shelf = run.stripe.account.state.shelves["customer"]
    shelf.timeline.remove(shelf.by_id[unlisted["id"]])
    run.stripe.clock.advance(86_400)

    assert run.run(run.start("customer")) == "ready"

    assert asked_for(run, "/v1/customers") == [unlisted["id"]]
    found = row(store, unlisted["id"])
    assert found
    assert (found.raw["name"], found.deleted_at) == ("unlisted", None)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_may_not_ask_for_a_suspect_buries_nobody(run: Backfilling, status: int) -> None:
    run.run(run.start("customer"))
    dead = run.stripe.account.objects("customer")[0]["id"]
    run.stripe.account.delete("customer", dead)
    run.stripe.clock.advance(40 * 86_400)

    def refuse(request: Request) -> None:
        if request.path.startswith("/v1/customers/"):
            request.instead = error(status, message="This key may not.")

    run.stripe.at_begin = refuse

    assert run.run(run.start("customer")) == "error"
    assert row(run.mirror, dead).deleted_at is None  # type: ignore[union-attr]


def test_rows_outside_the_covered_range_are_no_suspects(run: Backfilling) -> None:
    run.run(run.start("customer"))
    created = sorted(each["created"] for each in run.stripe.account.objects("customer"))
    run.stripe.clock.advance(86_400)
    run.stripe.requests.clear()

    run.run(run.start("customer", created_after=datetime.fromtimestamp(created[4], UTC)))

    assert asked_for(run, "/v1/customers") == []


def test_a_failed_type_is_not_finished_and_its_rows_are_no_suspects(run: Backfilling) -> None:
    run.run(run.start("customer", "charge"))
    run.stripe.clock.advance(86_400)
    run.stripe.requests.clear()

    def refuse(request: Request) -> None:
        if request.path == "/v1/charges":
            request.instead = error(403)

    run.stripe.at_begin = refuse

    assert run.run(run.start("customer", "charge")) == "error"
    assert asked_for(run, "/v1/charges") == []
    assert run.store.types(run.store.history(run.team.id, 1)[0]["id"])


def test_an_error_in_the_finish_is_the_backfills_and_the_next_one_only_finishes(run: Backfilling) -> None:
    run.attempts = 2
    errored = all_but_the_finish(run)

    def fail(request: Request) -> None:
        if request.path == "/v1/events":
            request.instead = error(500)

    run.stripe.at_begin = fail
    assert run.run(errored) == "error"
    run.stripe.at_begin = lambda request: None

    again = run.start()
    assert [part.part for part in run.due(again)] == [FINISH]
    assert run.run(again) == "ready"
    assert run.differences() == []
    assert run.synced(again) == COUNTS


# Statistics -------------------------------------------------------------------------------------------------------------


def test_a_backfill_leaves_statistics_of_the_tables_that_it_filled(team: Team) -> None:
    run = Backfilling(team, simulated_stripe(counts={**COUNTS, "customer": 230}), page_size=100)

    assert run.run(run.start("customer")) == "ready"

    found = "SELECT reltuples FROM pg_class WHERE oid = %s::regclass"
    assert team.connection.execute(found, (f"{team.schema}.customers",)).fetchone() == (230,)
