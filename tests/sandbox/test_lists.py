"""Lists behave as Stripe's do: order, cursors, filters and their defaults."""

from typing import Any

import pytest

from scripts.sandbox.account import Account
from tests.sandbox.conftest import NOW, Clock


def ids(account: Account, path: str, **params: Any) -> list[str]:
    """All ids of a list, page by page."""
    found: list[str] = []
    while True:
        page = account.list(path, params).json()
        found += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            return found
        params["starting_after"] = found[-1]


def refusal(account: Account, path: str, **params: Any) -> dict[str, Any]:
    answer = account.list(path, params)
    assert answer.status == 400
    error: dict[str, Any] = answer.json()["error"]
    return error


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_pages_of_any_size_bring_every_object_once_newest_first(account: Account, limit: int) -> None:
    expected = sorted(account.objects("invoice"), key=lambda invoice: -invoice["created"])

    found = ids(account, "/v1/invoices", limit=limit)

    assert len(found) == len(set(found)) == 320
    assert [account.state.get("invoice", id)["created"] for id in found] == [each["created"] for each in expected]


def test_a_page_has_ten_objects_unless_told_otherwise(account: Account) -> None:
    assert len(account.list("/v1/charges", {}).json()["data"]) == 10


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many"])
def test_a_limit_outside_1_to_100_is_refused(account: Account, limit: str) -> None:
    assert refusal(account, "/v1/charges", limit=limit)["param"] == "limit"


def test_objects_of_one_second_keep_one_order(empty: Account) -> None:
    made = [empty.create("customer", name=str(at))["id"] for at in range(25)]

    assert ids(empty, "/v1/customers", limit=3) == made[::-1]
    assert ids(empty, "/v1/customers", limit=10) == made[::-1]


def test_ending_before_pages_towards_the_newer(account: Account) -> None:
    newest_first = ids(account, "/v1/customers", limit=100)

    page = account.list("/v1/customers", {"limit": 5, "ending_before": newest_first[20]}).json()
    first = account.list("/v1/customers", {"limit": 5, "ending_before": newest_first[3]}).json()

    assert [each["id"] for each in page["data"]] == newest_first[15:20]
    assert page["has_more"] is True
    assert [each["id"] for each in first["data"]] == newest_first[:3]
    assert first["has_more"] is False


def test_both_cursors_at_once_are_refused(account: Account) -> None:
    some = ids(account, "/v1/customers", limit=100)[0]

    assert "only specify one" in refusal(account, "/v1/customers", starting_after=some, ending_before=some)["message"]


@pytest.mark.parametrize("param", ["starting_after", "ending_before"])
def test_an_unknown_cursor_is_missing(account: Account, param: str) -> None:
    error = refusal(account, "/v1/customers", **{param: "cus_unknown"})

    assert (error["code"], error["param"]) == ("resource_missing", param)


def test_a_deleted_cursor_is_missing(account: Account) -> None:
    cursor = ids(account, "/v1/customers", limit=100)[5]
    account.delete("customer", cursor)

    assert refusal(account, "/v1/customers", starting_after=cursor)["code"] == "resource_missing"


def test_a_cursor_that_its_filter_no_longer_matches_is_missing(account: Account) -> None:
    cursor = ids(account, "/v1/prices", active=True)[0]
    account.update("price", cursor, active=False)

    assert refusal(account, "/v1/prices", active=True, starting_after=cursor)["code"] == "resource_missing"
    assert account.list("/v1/prices", {"active": False, "starting_after": cursor}).status == 200


def test_objects_created_while_one_pages_are_not_met(account: Account) -> None:
    before = ids(account, "/v1/customers", limit=100)
    first = account.list("/v1/customers", {"limit": 50}).json()["data"]
    account.create("customer", name="late")

    rest = ids(account, "/v1/customers", limit=50, starting_after=first[-1]["id"])

    assert [each["id"] for each in first] + rest == before


def test_created_bounds_are_seconds_and_has_more_speaks_of_the_filter(account: Account) -> None:
    times = sorted(charge["created"] for charge in account.objects("charge"))
    low, high = times[100], times[300]

    for bounds, wanted in [
        ({"gte": low, "lte": high}, sum(low <= each <= high for each in times)),
        ({"gt": low, "lt": high}, sum(low < each < high for each in times)),
        ({"gte": low, "lt": high}, sum(low <= each < high for each in times)),
    ]:
        assert len(ids(account, "/v1/charges", limit=100, created=bounds)) == wanted
    assert len(ids(account, "/v1/charges", limit=100, created=low)) == times.count(low)


def test_bracketed_and_nested_parameters_are_the_same(account: Account) -> None:
    nested = account.list("/v1/charges", {"created": {"gte": NOW - 10**7}})

    assert account.list("/v1/charges", {"created[gte]": str(NOW - 10**7)}).body == nested.body


def test_a_range_that_is_empty_gives_an_empty_page(account: Account) -> None:
    page = account.list("/v1/charges", {"created": {"gte": NOW + 5, "lt": NOW}}).json()

    assert page == {"object": "list", "data": [], "has_more": False, "url": "/v1/charges"}


@pytest.mark.parametrize("created", ["yesterday", {"gte": "x"}, {"from": "1"}])
def test_a_malformed_created_filter_is_refused(account: Account, created: Any) -> None:
    assert "created" in refusal(account, "/v1/charges", created=created)["param"]


def test_a_moved_bound_under_a_cursor_is_no_error_and_loses_rows(account: Account) -> None:
    newest_first = ids(account, "/v1/charges", limit=100)
    cursor = account.state.get("charge", newest_first[300])

    found = ids(account, "/v1/charges", starting_after=cursor["id"], created={"gte": cursor["created"] + 1})

    assert found == []


def test_canceled_subscriptions_are_listed_only_when_asked_for(account: Account) -> None:
    statuses = [each["status"] for each in account.objects("subscription")]
    ended = statuses.count("canceled") + statuses.count("incomplete_expired")

    assert "canceled" in statuses
    assert len(ids(account, "/v1/subscriptions")) == len(statuses) - statuses.count("canceled")
    assert len(ids(account, "/v1/subscriptions", status="all")) == len(statuses) == 89
    assert len(ids(account, "/v1/subscriptions", status="canceled")) == statuses.count("canceled")
    assert len(ids(account, "/v1/subscriptions", status="ended")) == ended
    assert len(ids(account, "/v1/subscriptions", status="trialing")) == statuses.count("trialing")


def test_prices_are_listed_by_activity_and_inline_ones_never(account: Account) -> None:
    prices = {price["id"]: price for price in account.objects("price")}
    active, inactive = set(ids(account, "/v1/prices", active=True)), set(ids(account, "/v1/prices", active=False))
    unlisted = set(prices) - active - inactive

    assert set(ids(account, "/v1/prices")) == active
    assert active
    assert inactive
    assert unlisted
    assert all(prices[id]["active"] for id in active)
    assert not any(prices[id]["active"] for id in inactive)
    for id in unlisted:
        assert account.retrieve("price", id).status == 200
        assert any(
            item["price"]["id"] == id
            for subscription in account.objects("subscription")
            for item in subscription["items"]["data"]
        )


def test_products_are_all_listed_unless_activity_is_asked_for(empty: Account) -> None:
    kept, archived = (empty.create("product", name=name)["id"] for name in ("kept", "archived"))
    empty.update("product", archived, active=False)

    assert ids(empty, "/v1/products") == [archived, kept]
    assert ids(empty, "/v1/products", active=True) == [kept]
    assert ids(empty, "/v1/products", active=False) == [archived]
    assert ids(empty, "/v1/products", ids=[kept]) == [kept]


def test_the_email_filter_is_exact_and_knows_case(empty: Account) -> None:
    ada = empty.create("customer", email="Ada@Example.com")["id"]
    twin = empty.create("customer", email="Ada@Example.com")["id"]
    empty.create("customer", email="ada@example.com")

    assert ids(empty, "/v1/customers", email="Ada@Example.com") == [twin, ada]
    assert ids(empty, "/v1/customers", email="Ada@Example") == []
    empty.update("customer", twin, email="new@example.com")
    assert ids(empty, "/v1/customers", email="Ada@Example.com") == [ada]


def test_a_filter_by_customer_finds_what_is_theirs_in_order(account: Account) -> None:
    customer = account.objects("charge")[200]["customer"]
    for path, type in [("/v1/charges", "charge"), ("/v1/invoices", "invoice"), ("/v1/subscriptions", "subscription")]:
        theirs = {each["id"] for each in account.objects(type) if each["customer"] == customer}
        extra = {"status": "all"} if type == "subscription" else {}

        found = ids(account, path, customer=customer, limit=1, **extra)

        assert set(found) == theirs
        assert len(found) == len(theirs)
        assert found == [id for id in ids(account, path, limit=100, **extra) if id in theirs]


def test_an_invoice_list_filters_by_subscription_and_status(account: Account) -> None:
    invoices = [each for each in account.objects("invoice") if each["parent"] and each["status"] == "paid"]
    subscription = invoices[0]["parent"]["subscription_details"]["subscription"]
    expected = {
        each["id"] for each in invoices if each["parent"]["subscription_details"]["subscription"] == subscription
    }

    assert set(ids(account, "/v1/invoices", subscription=subscription, status="paid")) == expected


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/v1/subscriptions", {"status": "dormant"}),
        ("/v1/invoices", {"status": "all"}),
        ("/v1/prices", {"active": "yes"}),
    ],
)
def test_a_value_that_a_filter_does_not_know_is_refused(account: Account, path: str, params: dict[str, str]) -> None:
    assert refusal(account, path, **params)["param"] in params


def test_an_unknown_parameter_is_refused_as_stripe_does(account: Account) -> None:
    error = refusal(account, "/v1/charges", colour="red")

    assert (error["code"], error["param"]) == ("parameter_unknown", "colour")
    assert error["message"] == "Received unknown parameter: colour"


def test_a_filter_the_sandbox_lacks_says_so_instead_of_being_ignored(account: Account) -> None:
    assert "sandbox does not implement" in refusal(account, "/v1/invoices", due_date="5")["message"]


def test_embedded_lists_are_cut_at_ten_and_whole_ones_are_paged(account: Account) -> None:
    for type, field, path in [
        ("invoice", "lines", "/v1/invoices/{id}/lines"),
        ("subscription", "items", "/v1/subscription_items"),
    ]:
        long = next(each for each in account.objects(type) if each[field]["has_more"])
        whole = next(each for each in account.objects(type, full=True) if each["id"] == long["id"])[field]["data"]
        params = {"subscription": long["id"]} if type == "subscription" else {}

        found = ids(account, path.format(id=long["id"]), limit=4, **params)

        assert len(long[field]["data"]) == 10 < len(whole)
        assert found == [child["id"] for child in whole]
        assert long[field]["data"] == whole[:10]


def test_a_nested_list_that_fits_is_not_cut(account: Account) -> None:
    short = next(each for each in account.objects("invoice") if not each["lines"]["has_more"])

    page = account.list(f"/v1/invoices/{short['id']}/lines", {"limit": 100}).json()

    assert page["data"] == short["lines"]["data"]
    assert page["has_more"] is False


def test_an_expanded_id_becomes_its_object_and_a_total_count_is_no_more(account: Account) -> None:
    page = account.list("/v1/charges", {"limit": 2, "expand": ["data.customer"]}).json()

    assert all(charge["customer"]["object"] == "customer" for charge in page["data"])
    assert "cannot be expanded" in refusal(account, "/v1/charges", expand=["total_count"])["message"]


def test_an_unknown_address_is_404(account: Account) -> None:
    answer = account.list("/v1/nothing", {})

    assert answer.status == 404
    assert "Unrecognized request URL (GET: /v1/nothing)" in answer.json()["error"]["message"]


def test_the_clock_is_the_one_given(empty: Account, clock: Clock) -> None:
    clock.now = NOW + 5.9

    assert empty.create("customer")["created"] == NOW + 5
