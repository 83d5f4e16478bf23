"""Which types a team mirrors: the six, and each that a backfill has named, until it is stopped."""

from dataclasses import replace

import pytest

from api.http.context import EXTENSION
from sync.database.schema import schema_name
from sync.event_types import listened_types
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES
from tests.api.account.test_views import CONNECT

ADDED = "balance_transaction"


@pytest.fixture
def account(sandbox):
    """The account at Stripe, new for each test."""
    sandbox.add_account("demo", counts=dict.fromkeys(OBJECT_TYPES, 2))
    return sandbox.sandbox.tenant("demo").account


@pytest.fixture
def settings(settings, sandbox, account):
    return replace(settings, stripe_api_base=sandbox.url, stripe_account_rps=1000.0, stripe_endpoint_rps=1000.0)


@pytest.fixture
def connected(owner):
    assert owner.client.post(f"{owner.stripe}/connect", json=CONNECT).status_code == 200
    return owner


def shown(member):
    answer = member.client.get(f"{member.stripe}/object-types")
    assert answer.status_code == 200
    return {each["name"]: each for each in answer.json["objectTypes"]}


def mirrored(member):
    return [name for name, each in shown(member).items() if each["mirrored"]]


def begin(member, *objects):
    answer = member.client.post(f"{member.stripe}/backfill", json={"objects": list(objects)} if objects else {})
    assert answer.status_code == 202, answer.json
    return answer.json


def cancel(member):
    member.client.post(f"{member.stripe}/backfill/cancel", json={})


def stop(member, name, query=""):
    return member.client.delete(f"{member.stripe}/object-types/{name}{query}", json={})


def has_table(database, member, table):
    name = f"{schema_name(member.team_id)}.{table}"
    return database.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone() == (True,)


def test_all_types_are_listed_and_six_are_mirrored_at_first(connected):
    found = shown(connected)

    assert list(found) == list(OBJECT_TYPES)
    assert mirrored(connected) == list(DEFAULT_TYPES)
    assert found["checkout_session"] == {
        "name": "checkout_session",
        "stripeObject": "checkout.session",
        "table": "checkout_sessions",
        "path": "/v1/checkout/sessions",
        "group": "Checkout",
        "title": "Checkout sessions",
        "default": False,
        "mirrored": False,
        "syncedAt": None,
        "cost": None,
    }


def test_a_type_that_a_backfill_names_is_mirrored_from_then_on(connected, database):
    assert not has_table(database, connected, "balance_transactions")

    assert begin(connected, ADDED)["result"] == {ADDED: {"synced": 0}}
    cancel(connected)

    assert has_table(database, connected, "balance_transactions")
    assert mirrored(connected) == [*DEFAULT_TYPES, ADDED]
    assert list(begin(connected)["result"]) == [*DEFAULT_TYPES, ADDED]
    assert list(connected.client.get(f"{connected.stripe}/status").json["mirror"]) == [*DEFAULT_TYPES, ADDED]


def test_one_that_is_stopped_keeps_its_rows_and_one_that_is_purged_does_not(connected, database):
    begin(connected, ADDED, "refund")
    cancel(connected)

    assert stop(connected, ADDED).status_code == 204
    assert stop(connected, "refund", "?purge=true").status_code == 204

    assert mirrored(connected) == list(DEFAULT_TYPES)
    assert has_table(database, connected, "balance_transactions")
    assert not has_table(database, connected, "refunds")
    assert list(begin(connected)["result"]) == list(DEFAULT_TYPES)


def test_a_default_an_unknown_one_and_one_under_way_are_refused(connected):
    begin(connected, ADDED)

    answers = [stop(connected, name) for name in ("customer", "unicorn", ADDED)]

    assert [answer.status_code for answer in answers] == [409, 404, 409]
    assert [answer.json["code"] for answer in answers] == ["default_type", "not_found", "backfill_in_progress"]
    cancel(connected)
    assert stop(connected, "refund").status_code == 404


def test_the_webhook_that_we_made_brings_the_events_of_the_types_that_are_mirrored(connected, account):
    def brought():
        (endpoint,) = account.handle("GET", "/v1/webhook_endpoints", {}).json()["data"]
        return set(endpoint["enabled_events"])

    assert connected.client.post(f"{connected.stripe}/webhook", json={}).status_code == 200
    assert brought() == set(listened_types(DEFAULT_TYPES))

    begin(connected, "coupon")
    cancel(connected)
    assert brought() == set(listened_types([*DEFAULT_TYPES, "coupon"]))

    stop(connected, "coupon")
    assert brought() == set(listened_types(DEFAULT_TYPES))


def test_a_list_of_a_type_that_is_not_mirrored_is_never_answered_from_the_mirror(connected):
    answer = connected.client.get(f"/api/billstack/teams/{connected.team_id}/mirror/v1/coupons")

    assert answer.status_code == 403
    assert "this team does not mirror coupons" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("customers", "rates", "words"),
    [
        (12_500, {"stripe_account_rps": 80.0, "stripe_endpoint_rps": 25.0}, "12,500 customers: about 9 minutes"),
        (400_000, {"stripe_account_rps": 20.0, "stripe_endpoint_rps": 25.0}, "400,000 customers: about 6 hours"),
        (1, {"stripe_account_rps": 20.0, "stripe_endpoint_rps": 25.0}, "1 customer: less than a minute"),
    ],
)
def test_what_is_read_by_customer_tells_its_cost_before_it_starts(connected, app, database, customers, rates, words):
    context = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(context, settings=replace(context.settings, **rates))
    known = (customers, schema_name(connected.team_id), "customers")
    database.execute("UPDATE billstack.row_counts SET live = %s WHERE schema_name = %s AND table_name = %s", known)

    found = shown(connected)

    assert found["payment_method"]["cost"]["words"] == words
    assert found["payment_method"]["cost"]["requests"] == customers
    assert found["refund"]["cost"] is None
    assert words in connected.client.get(f"/teams/{connected.team_id}/stripe").text
