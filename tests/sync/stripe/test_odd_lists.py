"""Lists as Stripe does not promise them, and objects that are odd: what can be mirrored is, and a warning names the rest."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sync.backfill.type_run import params
from sync.backfill.windows import Window
from sync.errors import StripeRejected
from sync.object_types import OBJECT_TYPES
from sync.stripe.odd_objects import WITHOUT_ID
from tests.factories import FACTORIES, NOW, Json, customer, encoded, listed, price
from tests.sync.backfill.test_type_run import with_cut_lists
from tests.sync.backfilling import Backfilling
from tests.sync.conftest import Team
from tests.sync.mirrored import rejects, row
from tests.sync.simulated_stripe import Request, SimulatedStripe, error, simulated_stripe, source_of

COUNTS = {"customer": 25, "product": 2, "price": 3, "subscription": 4, "invoice": 12, "charge": 15}


@pytest.fixture
def run(team: Team) -> Backfilling:
    return Backfilling(team, simulated_stripe(counts=COUNTS), page_size=10)


def change_answers(stripe: SimulatedStripe, change: Callable[[Request, Json], Json | None], path: str) -> None:
    """`change` gets each list's JSON under `path`, and gives another one, or None for this one."""

    def instead(request: Request) -> None:
        if request.path.startswith(path) and "/v1" in request.path:
            status, _, body = stripe._answer("GET", request)
            changed = change(request, json.loads(body)) if status == 200 else None
            request.instead = (200, {}, encoded(changed)) if changed is not None else None

    stripe.at_begin = instead


def replaced(body: Json, number: int, about: Any) -> Json:
    data = list(body["data"])
    data[number] = about
    return body | {"data": data}


def never_ends(_: Request, body: Json) -> Json | None:
    """What follows the last object is an empty page, which says that more follow."""
    if body.get("object") != "list":
        return None
    return body | {"has_more": True}


@pytest.mark.parametrize("path", ["/v1/customers", "/v1/invoices", "/v1/subscription_items", "/v1/events", "/v1/"])
def test_an_empty_page_is_the_end_of_every_list_whatever_it_says(run: Backfilling, path: str) -> None:
    change_answers(run.stripe, never_ends, path)

    assert run.run(run.start()) == "ready"

    assert run.differences() == []


def warnings_of(run: Backfilling, backfill_id: str) -> list[str]:
    (found,) = run.team.connection.execute(
        "SELECT warnings FROM billstack.backfills WHERE id = %s", (backfill_id,)
    ).fetchone() or ([],)
    return list(found)


ODD_CUSTOMERS: list[tuple[Any, str]] = [
    ({"id": "cus_odd", "object": "customer", "deleted": True}, "cus_odd"),
    (customer("cus_odd", created=None), "cus_odd"),
    (customer("cus_odd", created="yesterday"), "cus_odd"),
    (customer("cus_odd", created=1764000000.5), "cus_odd"),
    (customer("cus_odd", created=True), "cus_odd"),
    (customer("cus_odd", created=1 << 40), "cus_odd"),
    (customer("cus_odd", created=10**30), "cus_odd"),
    (customer("cus_odd") | {"deleted": True}, "cus_odd"),
    ({"object": "customer", "created": NOW}, WITHOUT_ID),
    (customer("cus_odd") | {"id": 5}, WITHOUT_ID),
    (None, WITHOUT_ID),
    ("cus_odd", WITHOUT_ID),
    ([], WITHOUT_ID),
]


@pytest.mark.parametrize(("odd", "named"), ODD_CUSTOMERS)
def test_an_odd_object_is_rejected_with_a_warning_and_the_others_are_mirrored(
    run: Backfilling, odd: Any, named: str
) -> None:
    number = 4
    left_out: list[str] = []

    def spoil(_: Request, body: Json) -> Json | None:
        if len(body.get("data", [])) <= number or left_out:
            return None
        left_out.append(body["data"][number]["id"])
        return replaced(body, number, odd)

    change_answers(run.stripe, spoil, "/v1/customers")
    backfill_id = run.start("customer")

    assert run.run(backfill_id) == "ready"

    assert row(run.mirror, "cus_odd") is None
    (warning,) = warnings_of(run, backfill_id)
    assert "1 customer object could not be stored" in warning
    assert named in warning
    (difference,) = run.differences("customer")
    assert list(difference.missing) == left_out
    assert run.synced(backfill_id)["customer"] == COUNTS["customer"] - 1


def test_an_odd_object_that_is_its_pages_cursor_is_passed(run: Backfilling) -> None:
    def spoil(_: Request, body: Json) -> Json | None:
        if not body.get("has_more"):
            return None
        return replaced(body, -1, {"id": body["data"][-1]["id"], "object": "customer", "deleted": True})

    change_answers(run.stripe, spoil, "/v1/customers")
    backfill_id = run.start("customer")

    assert run.run(backfill_id) == "ready"

    assert set(rejects(run.mirror)) == set(run.differences("customer")[0].missing)


def test_a_page_of_nothing_but_odd_objects_is_passed(run: Backfilling) -> None:
    def spoil(request: Request, body: Json) -> Json | None:
        if len(body.get("data", [])) < 10 or "starting_after" in request.params:
            return None
        return body | {"data": [each | {"created": None} for each in body["data"]]}

    change_answers(run.stripe, spoil, "/v1/customers")
    backfill_id = run.start("customer")

    assert run.run(backfill_id) == "ready"

    (warning,) = warnings_of(run, backfill_id)
    assert "10 customer objects could not be stored" in warning
    assert run.synced(backfill_id)["customer"] == COUNTS["customer"] - 10


@pytest.mark.parametrize("has_more", ["absent", None, "yes", 1])
def test_a_list_that_does_not_say_whether_more_follow_has_ended(run: Backfilling, has_more: Any) -> None:
    def change(_: Request, body: Json) -> Json | None:
        if body.get("object") != "list" or body["has_more"]:
            return None
        return {key: value for key, value in (body | {"has_more": has_more}).items() if value != "absent"}

    change_answers(run.stripe, change, "/v1/charges")

    assert run.run(run.start("charge")) == "ready"
    assert run.differences("charge") == []


@pytest.mark.parametrize(
    "item",
    [
        {"id": "si_1", "price": "price_1"},
        {"id": "si_1", "price": price("price_1")},
        {"id": "si_1", "plan": "price_1"},
        {"id": "si_1", "price": None, "plan": {"id": "price_1", "object": "plan"}},
        {"id": "si_1", "pricing": {"price_details": {"price": "price_1"}}},
        {"id": "si_1", "pricing": {"price_details": {"price": price("price_1")}}},
    ],
)
@pytest.mark.parametrize("beside", [None, {"price": 7}, {"price": {"id": 5}}, {"pricing": "x"}, "si_2", []])
def test_a_named_price_is_known_in_every_shape_and_beside_odd_items(run: Backfilling, item: Json, beside: Any) -> None:
    items = listed(item, *([beside] if beside is not None else []))

    def change(_: Request, body: Json) -> Json | None:
        return body | {"data": [each | {"items": items} for each in body["data"]]} if body.get("data") else None

    change_answers(run.stripe, change, "/v1/subscriptions")
    source = source_of(run.stripe)
    subscription = OBJECT_TYPES["subscription"]

    page = source.page(subscription, {"status": "all"})

    assert len(page.heads) == COUNTS["subscription"]
    assert not page.odd
    assert page.named_prices(subscription, {}) == {"price_1"}
    completed = encoded(items["data"])
    assert page.named_prices(subscription, {"sub_1": completed}) == {"price_1"}


# A lost cursor ----------------------------------------------------------------------------------------------------------


def lost(param: str | None = "starting_after", status: int = 400, code: str | None = None) -> tuple[int, Any, bytes]:
    details = {"type": "invalid_request_error", "param": param, "code": code, "message": "does not have such an item"}
    return status, {}, encoded({"error": {key: value for key, value in details.items() if value}})


def lose_once(stripe: SimulatedStripe, path: str, answer: tuple[int, Any, bytes], times: int = 1) -> list[str]:
    """The first requests with a cursor under that path are answered so; returns their addresses."""
    met: list[str] = []

    def instead(request: Request) -> None:
        if request.path.startswith(path) and "starting_after" in request.params and len(met) < times:
            met.append(request.path)
            request.instead = answer

    stripe.at_begin = instead
    return met


@pytest.mark.parametrize(
    "answer", [lost(), lost(status=404), lost(code="resource_missing"), lost(None, 404, "resource_missing")]
)
@pytest.mark.parametrize(
    "path", ["/v1/customers", "/v1/charges", "/v1/prices", "/v1/invoices", "/v1/subscription_items", "/v1/events"]
)
def test_a_lost_cursor_is_what_stripe_means_with_or_without_a_code(team: Team, answer: Any, path: str) -> None:
    run = Backfilling(team, simulated_stripe(counts=COUNTS), page_size=2)
    met = lose_once(run.stripe, path, answer)

    assert run.run(run.start()) == "ready"

    assert run.differences() == []
    if path != "/v1/events":  # there are too few of them
        assert met or path == "/v1/subscription_items"


def test_a_list_inside_an_object_that_loses_its_cursor_is_read_again_and_the_others_do_not_wait(team: Team) -> None:
    run = Backfilling(team, simulated_stripe(counts=COUNTS), page_size=5)
    with_cut_lists(run.stripe, 3)
    met = lose_once(run.stripe, "/v1/invoices/", lost())

    assert run.run(run.start("invoice")) == "ready"

    assert run.differences("invoice") == []
    assert met
    assert met[0].removesuffix("/lines") in [request.path for request in run.stripe.requests]


def test_a_stripe_that_takes_no_cursor_is_read_by_time_and_one_second_beyond_a_page_ends_the_type(team: Team) -> None:
    run = Backfilling(team, simulated_stripe(counts=COUNTS), page_size=3)  # more than any second of it holds
    lose_once(run.stripe, "/v1/customers", lost(), times=1000)
    assert run.run(run.start("customer")) == "ready"
    assert run.differences("customer") == []

    for number in range(5):
        run.stripe.account.create("customer", name=f"{number}")
    run.stripe.clock.advance(9)
    run.stripe.requests.clear()
    lose_once(run.stripe, "/v1/customers", lost(), times=1000)
    backfill_id = run.start("customer")

    assert run.run(backfill_id) == "error"

    (state,) = run.store.types(backfill_id)
    assert "does not have such an item" in str(state.error)
    assert len(run.stripe.requests) < 200


def test_a_refusal_that_has_nothing_to_do_with_the_cursor_is_no_lost_one(team: Team) -> None:
    run = Backfilling(team, simulated_stripe(counts=COUNTS), page_size=2)
    lose_once(run.stripe, "/v1/customers", error(400, None, "Invalid array"), times=1)

    assert run.run(run.start("customer")) == "error"


def test_events_go_on_behind_one_that_stripe_forgot_meanwhile(run: Backfilling) -> None:
    for number in range(25):
        run.stripe.account.create("customer", name=f"{number}")
        run.stripe.clock.advance(number % 2)
    every = {
        each["id"]
        for page in source_of(run.stripe).events(gte=0, lte=NOW + 99)
        for each in map(json.loads, page.bodies)
    }
    met = lose_once(run.stripe, "/v1/events", lost())

    found = [
        each["id"]
        for page in source_of(run.stripe, page_size=10).events(gte=0, lte=NOW + 99)
        for each in map(json.loads, page.bodies)
    ]

    assert met
    assert set(found) == every


def test_an_object_of_an_old_version_that_is_gone_has_no_code(run: Backfilling) -> None:
    def instead(request: Request) -> None:
        request.instead = lost("id", 404)

    run.stripe.at_begin = instead

    assert source_of(run.stripe).fetch(OBJECT_TYPES["customer"], "cus_1").body == b""


def test_an_address_that_is_unknown_is_no_object_that_is_gone(run: Backfilling) -> None:
    def instead(request: Request) -> None:
        request.instead = lost(None, 404)

    run.stripe.at_begin = instead

    with pytest.raises(StripeRejected):
        source_of(run.stripe).fetch(OBJECT_TYPES["customer"], "cus_1")


# Times outside of the windows ------------------------------------------------------------------------------------------

FUTURE, LONG_AGO = NOW + 5 * 365 * 86_400, 1


@pytest.mark.parametrize("created", [FUTURE, LONG_AGO, 0, 253402300799, 300_000_000_000])
@pytest.mark.parametrize("type", ["customer"])
def test_an_object_of_another_time_is_listed_counted_and_buried_like_others(
    run: Backfilling, type: str, created: int
) -> None:
    about = FACTORIES[type]("x_1", created=created)
    run.stripe.account.state.shelves[type].put(about)
    backfill_id = run.start(type)
    assert run.run(backfill_id) == "ready"
    assert run.differences(type) == []
    first = run.synced(backfill_id)[type]

    run.stripe.account.state.shelves[type].delete("x_1", NOW)
    again = run.start(type)
    assert run.run(again) == "ready"

    found = row(run.mirror, "x_1", OBJECT_TYPES[type])
    assert found
    assert found.deleted_at is not None
    assert run.synced(again)[type] == first - 1


def test_an_open_end_is_not_sent_as_a_filter() -> None:
    tail = Window(1, 0, gte=5, lt=1 << 40, floor=5)

    assert params(OBJECT_TYPES["customer"], tail) == {"created[gte]": 5}


# A server that ignores filters ------------------------------------------------------------------------------------------


def test_a_stripe_that_ignores_created_is_counted_right(team: Team) -> None:
    run = Backfilling(team, simulated_stripe(counts=COUNTS | {"customer": 130}), page_size=10)

    def forget_filters(request: Request) -> None:
        for name in ("created[gte]", "created[lt]"):
            request.params.pop(name, None)

    run.stripe.at_begin = forget_filters
    backfill_id = run.start("customer")

    assert run.run(backfill_id) == "ready"

    assert run.differences("customer") == []
    assert run.synced(backfill_id)["customer"] == 130
