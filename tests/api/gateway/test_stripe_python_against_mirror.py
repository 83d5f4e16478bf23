"""One program, unchanged but for key and address, reads the same from the mirror as from (the sandbox) Stripe.

What it cannot be the same in, and how it is compared:
- embedded lists, which Stripe cuts at ten and the mirror keeps whole: compared as far as Stripe shows them;
- inline prices, which Stripe's list of prices leaves out and nothing marks: the mirror shows them too.
"""

import itertools
from types import SimpleNamespace

import psycopg
import pytest
import stripe

from api.http.context import EXTENSION
from api.people import People
from api.projects.key_store import KeyStore, Scope
from scripts.sandbox.kinds import FURTHER_COUNTS, FURTHER_KINDS, KINDS
from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox
from sync.mirror.shared_seconds import shared_seconds
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from tests.api.gateway.mirror_filling import (
    connect_with_key,
    create_gateway,
    fill_mirror,
    finish_backfill,
    put_tombstone,
    serving,
)

TYPES = [name for name, each in OBJECT_TYPES.items() if not each.parent]
CUT = ("items", "lines", "reversals")
SCALE = 0.015
FEW = {name: 5 for name, count in FURTHER_COUNTS.items() if count * SCALE < 1}
FEW |= {"dispute": 7, "early_fraud_warning": 5, "coupon": 5, "promotion_code": 8, "tax_rate": 6}
FEW |= {"meter": 5, "feature": 5, "quote": 30, "payment_link": 12}
SERVICES = {"invoiceitems": "invoice_items"}  # as the library names it


@pytest.fixture(scope="module")
def sandbox():
    with SandboxThread(Sandbox()) as served:
        served.add_account("demo", scale=SCALE, types="all", counts={"product": 15, "price": 42, "invoice": 60, **FEW})
        account = served.sandbox.tenant("demo").account
        product = account.objects("product")[0]["id"]
        tiers = [{"up_to": 10, "unit_amount": 500}, {"up_to": "inf", "unit_amount": 300, "flat_amount": 90}]
        tiered = {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers}
        account.create("price", product=product, currency="usd", recurring={"interval": "month"}, **tiered)
        options = {"eur": {"unit_amount": 800}}
        account.create("price", product=product, currency="usd", unit_amount=900, currency_options=options)
        yield served


@pytest.fixture(scope="module")
def connection(new_database):
    with psycopg.connect(new_database(), autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def clients(sandbox, connection, redis_database, objects):
    """The same client twice: of the sandbox, and of the mirror behind a real server."""
    app = create_gateway(connection, redis_database, sandbox.url)
    team_id = People(connection).create_team("Acme")
    connect_with_key(app, connection, team_id, "sk_test_demo")
    fill_mirror(connection, team_id, sandbox, "demo")
    theirs = client_of("sk_test_demo", sandbox.url)
    for name, listed in objects.items():
        keep_order(connection, team_id, name, listed)
    for customer, (under, name) in itertools.product(objects["customer"], UNDER.items()):
        keep_order(connection, team_id, name, read_under(theirs, customer, under))
    finish_backfill(connection, team_id)
    scopes = [scope.value for scope in Scope]
    _, key = KeyStore(connection).create_key(team_id, "all", project_id=None, scopes=scopes, expires_at=None)
    with serving(app) as address:
        mirror = f"{address}/api/billstack/teams/{team_id}/mirror"
        yield theirs, client_of(key, mirror)
    app.extensions[EXTENSION].close()


def keep_order(connection, team_id, name, found):
    """As a backfill does."""
    shared = shared_seconds([SimpleNamespace(id=each["id"], created=created(each)) for each in found])
    if shared:
        MirrorStore(connection, team_id).keep_order(OBJECT_TYPES[name], shared)


def client_of(key, address):
    http_client = stripe.RequestsClient(timeout=30)
    return stripe.StripeClient(key, base_addresses={"api": address}, max_network_retries=0, http_client=http_client)


@pytest.fixture(scope="module")
def objects(sandbox):
    """What Stripe lists, by type, newest first; without inline prices."""
    client = client_of("sk_test_demo", sandbox.url)
    found = {}
    for name in TYPES:
        everything = [{"status": "all"}] if name == "subscription" else [{}]
        if name == "price":
            everything = [{"active": True}, {"active": False}]
        pages = [service(client, name).list({**params, "limit": 100}) for params in everything]
        found[name] = sorted(
            (each.to_dict() for page in pages for each in page.auto_paging_iter()),
            key=created,
            reverse=True,
        )
    return found


def service(client, name):
    found = client.v1
    for part in OBJECT_TYPES[name].path.split("/")[2:]:
        found = getattr(found, SERVICES.get(part, part))
    return found


def created(each):
    return each.get("created", each.get("date", 0))


def read_all(client, name, params):
    """A program: all objects of a list, by auto-paging, in the order in which they come."""
    return [each.to_dict() for each in service(client, name).list(params).auto_paging_iter()]


def assert_same(ours, theirs):
    """Equal objects in the same order."""
    assert [shown(each) for each in ours] == [shown(each) for each in theirs]


def shown(each):
    """With as much of an embedded list as Stripe shows."""
    cut = {name: each[name]["data"][:10] for name in CUT if isinstance(each.get(name), dict)}
    return {**each, **cut}


def listed(ours, objects, name):
    if name != "price":
        return ours
    known = {each["id"] for each in objects["price"]}
    inline = [each for each in ours if each["id"] not in known]
    assert len(inline) <= 4
    assert all(each["nickname"].startswith("Agreed by hand") for each in inline)
    return [each for each in ours if each["id"] in known]


def filters_of(name, found):
    """Every filter of the type, with values that some objects have and one that none has."""
    first, middle = found[0], found[len(found) // 2]
    newest, at, oldest = created(first), created(middle), created(found[-1])
    if not OBJECT_TYPES[name].is_by_time:
        yield from (
            {},
            *({param: value} for param, values in further_filters_of(name, middle).items() for value in values),
        )
        return
    yield from ({}, {"created": at}, {"created": {"gte": at}}, {"created": {"gt": at}}, {"created": {"lt": at}})
    yield from ({"created": {"lte": at}}, {"created": {"gt": oldest, "lt": newest}}, {"created": {"gte": newest + 1}})
    yield from ({"created": {"gte": at, "gt": at - 5, "lte": newest + 10**12}}, {"created": {"lt": -5}})
    values = filters_of_the_first_six(found, first, middle)
    for param, choices in values.get(name, further_filters_of(name, middle)).items():
        for value in choices:
            yield {param: value}
        yield {param: choices[0], "created": {"gte": at}}


def filters_of_the_first_six(found, first, middle):
    return {
        "customer": {"email": [middle.get("email"), "nobody@example.com"]},
        "product": {
            "active": [True, False],
            "ids": [[first["id"], middle["id"]], ["prod_x"]],
            "shippable": [True, False],
            "type": ["good", "service"],
            "url": ["https://example.com"],
        },
        "price": {
            "active": [True, False],
            "currency": sorted({each["currency"] for each in found if each["object"] == "price"}),
            "lookup_keys": [["none"]],
            "product": [middle.get("product"), "prod_x"],
            "type": ["one_time", "recurring"],
        },
        "subscription": {
            "status": [
                *("active", "canceled", "incomplete", "incomplete_expired", "past_due", "paused", "trialing", "unpaid"),
                *("all", "ended"),
            ],
            "customer": [middle.get("customer"), "cus_x"],
            "price": ["price_x"],
            "collection_method": ["charge_automatically", "send_invoice"],
        },
        "invoice": {
            "status": ["draft", "open", "paid", "uncollectible", "void"],
            "customer": [middle.get("customer"), "cus_x"],
            "subscription": [subscription_of(found), "sub_x"],
            "collection_method": ["charge_automatically", "send_invoice"],
        },
        "charge": {
            "customer": [middle.get("customer"), "cus_x"],
            "payment_intent": [middle.get("payment_intent"), "pi_x"],
            "transfer_group": ["none"],
        },
    }


def further_filters_of(name, middle):
    """As the registry has them, with the values of an object of the sandbox and one that none has."""
    found = {}
    for row in OBJECT_TYPES[name].filters:
        if row.through:
            continue  # test_payout_filter.py
        value = KINDS[name].facets[row.name](middle) if name in FURTHER_KINDS else None
        found[row.name] = [True, False] if row.kind == "flag" else [*row.values] or [value or "none", "none"]
    return found


def subscription_of(found):
    parents = ((each.get("parent") or {}).get("subscription_details") for each in found)
    return next((parent["subscription"] for parent in parents if parent), None)


@pytest.mark.parametrize("name", TYPES)
def test_every_filter_gives_the_same_objects(clients, objects, name):
    theirs, ours = clients

    for params in filters_of(name, objects[name]):
        found = read_all(ours, name, {**params, "limit": 25})
        assert_same(listed(found, objects, name), read_all(theirs, name, {**params, "limit": 25}))


@pytest.mark.parametrize("param", ["price", "plan"])
def test_subscriptions_of_a_price_are_all_found(clients, sandbox, param):
    """Also where the price stands beyond the tenth item, at which the sandbox stops looking."""
    _, ours = clients
    subscriptions = list(sandbox.objects("subscription", full="true"))
    price_id = subscriptions[0]["items"]["data"][0]["price"]["id"]

    found = read_all(ours, "subscription", {param: price_id, "status": "all", "limit": 100})

    items = {each["id"]: {item["price"]["id"] for item in each["items"]["data"]} for each in subscriptions}
    assert {each["id"] for each in found} == {id for id, prices in items.items() if price_id in prices}


@pytest.mark.parametrize("name", TYPES)
def test_paging_backwards_gives_the_same_objects(clients, objects, name):
    theirs, ours = clients
    for cursor in cursors(objects[name], name):
        params = {"limit": 9, "ending_before": cursor, **({"status": "all"} if name == "subscription" else {})}

        found = read_all(ours, name, params)

        assert_same(listed(found, objects, name), read_all(theirs, name, params))


@pytest.mark.parametrize("name", TYPES)
def test_paging_forwards_from_an_object_gives_the_same_objects(clients, objects, name):
    theirs, ours = clients
    for cursor in cursors(objects[name], name):
        params = {"limit": 9, "starting_after": cursor, **({"status": "all"} if name == "subscription" else {})}

        found = read_all(ours, name, params)

        assert_same(listed(found, objects, name), read_all(theirs, name, params))


def cursors(found, name):
    """Some objects that were alone in their second, and the list shows."""
    by_created = [list(group) for _, group in itertools.groupby(found, key=created)]
    alone = [group[0]["id"] for group in by_created if len(group) == 1 and (name != "price" or group[0]["active"])]
    return alone[:: max(1, len(alone) // 4)]


@pytest.mark.parametrize("name", [name for name in TYPES if name != "price"])
@pytest.mark.parametrize("limit", [1, 3, 10, 100, None])
def test_a_page_has_the_same_frame(clients, objects, name, limit):
    theirs, ours = clients
    params = {"limit": limit} if limit else {}

    one, other = (service(client, name).list(params) for client in (ours, theirs))

    assert (one.object, one.url, one.has_more) == (other.object, other.url, other.has_more)
    assert [created(each.to_dict()) for each in one.data] == [created(each.to_dict()) for each in other.data]


@pytest.mark.parametrize("name", TYPES)
def test_each_object_is_the_same(clients, objects, name):
    theirs, ours = clients

    for each in objects[name][:: max(1, len(objects[name]) // 5)]:
        one, other = (service(client, name).retrieve(each["id"]).to_dict() for client in (ours, theirs))
        assert shown(one) == shown(other)


REFUSALS = [
    {"limit": 0},
    {"limit": 101},
    {"limit": "x"},
    {"limit": -1},
    {"starting_after": "x_none"},
    {"ending_before": "x_none"},
    {"starting_after": "a", "ending_before": "b"},
    {"created": "soon"},
    {"created": {"gte": "soon"}},
    {"created": {"since": 5}},
    {"created": 10**30},
    {"colour": "red"},
    {"status": "asleep"},
    {"active": "perhaps"},
    {"customer": {"id": "x"}},
    {"email": {"is": "x"}},
]


@pytest.mark.parametrize("params", REFUSALS, ids=str)
@pytest.mark.parametrize("name", TYPES)
def test_refusals_are_the_same(clients, name, params):
    one, other = (refusal(client, name, params) for client in reversed(clients))

    assert one == other
    assert one


@pytest.mark.parametrize("name", TYPES)
def test_an_unknown_object_is_refused_alike(clients, name):
    one, other = (
        outcome(lambda client=client: service(client, name).retrieve("x_none")) for client in reversed(clients)
    )

    assert one == other


def test_a_deleted_customer_looks_the_same(clients, connection):
    """Deleted at Stripe, and a tombstone in the mirror."""
    theirs, ours = clients
    gone = theirs.v1.customers.create({"email": "gone@example.com"})
    theirs.v1.customers.delete(gone.id)
    put_tombstone(connection, team_id_of(connection), gone.to_dict())

    for params in ({"email": "gone@example.com"}, {"limit": 1}):
        assert gone.id not in {each["id"] for each in read_all(ours, "customer", params)}
    cursor = {"starting_after": gone.id}
    assert refusal(ours, "customer", cursor) == refusal(theirs, "customer", cursor)
    assert ours.v1.customers.retrieve(gone.id).to_dict() == theirs.v1.customers.retrieve(gone.id).to_dict()


def team_id_of(connection):
    (team_id,) = connection.execute("SELECT id FROM billstack.teams").fetchone()
    return team_id


def refusal(client, name, params):
    return outcome(lambda: service(client, name).list(params))


def outcome(call):
    try:
        call()
    except stripe.StripeError as exc:
        return type(exc), exc.http_status, exc.code, getattr(exc, "param", None), exc.user_message
    return None


def test_a_bad_key_is_the_sdks_authentication_error(clients):
    _, ours = clients
    address = ours._requestor._options.base_addresses["api"]

    with pytest.raises(stripe.AuthenticationError):
        client_of(f"bs_{'0' * 48}", address).v1.customers.list()


# What is listed under a customer, and what is only shown where it is expanded -------------------------------------------

UNDER = {
    "payment_methods": "payment_method",
    "balance_transactions": "customer_balance_transaction",
    "tax_ids": "tax_id",
}


def read_under(client, customer, under):
    listed = getattr(client.v1.customers, under).list(customer["id"], {"limit": 2})
    return [each.to_dict() for each in listed.auto_paging_iter()]


@pytest.mark.parametrize("under", UNDER)
def test_what_a_customer_lists_is_the_same(clients, objects, under):
    theirs, ours = clients
    found = 0

    for customer in objects["customer"]:
        listed = read_under(theirs, customer, under)
        assert_same(read_under(ours, customer, under), listed)
        found += len(listed)
        for each in listed[:1]:
            retrieved = getattr(ours.v1.customers, under).retrieve(customer["id"], each["id"])
            assert retrieved.to_dict() == each

    assert found


def test_payment_methods_are_listed_by_customer_and_not_without(clients, objects):
    theirs, ours = clients
    customer = next(each["customer"] for each in objects["charge"] if each["customer"])

    for params in ({"customer": customer}, {"customer": customer, "type": "card"}):
        assert ours.v1.payment_methods.list(params).to_dict() == theirs.v1.payment_methods.list(params).to_dict()
    with pytest.raises(stripe.InvalidRequestError, match="Missing required param: customer"):
        ours.v1.payment_methods.list()


def test_a_payment_method_that_belongs_to_nobody_is_asked_of_stripe(clients, objects, sandbox):
    theirs, ours = clients
    customer = next(each["customer"] for each in objects["charge"] if each["customer"])
    gone = theirs.v1.payment_methods.list({"customer": customer}).data[0].id
    theirs.v1.payment_methods.detach(gone)
    unknown = "pm_1neverthere"

    assert ours.v1.customers.payment_methods.list(customer).data, "the mirror has not heard of it"
    with pytest.raises(stripe.InvalidRequestError, match=unknown):
        ours.v1.payment_methods.retrieve(unknown)


@pytest.mark.parametrize("fields", [["tiers"], ["currency_options"], ["tiers", "currency_options"]])
def test_tiers_and_currency_options_are_shown_where_they_are_expanded(clients, objects, fields):
    theirs, ours = clients
    lists = [f"data.{field}" for field in fields]

    found = [client.v1.prices.list({"limit": 100, "expand": lists}).to_dict()["data"] for client in clients]
    assert_same(listed(found[1], objects, "price"), found[0])
    price = found[0][0]["id"]
    assert ours.v1.prices.retrieve(price, {"expand": fields}) == theirs.v1.prices.retrieve(price, {"expand": fields})
    bare = ours.v1.prices.retrieve(price).to_dict()
    assert "tiers" not in bare
    assert "currency_options" not in bare


def test_the_price_of_an_item_shows_its_tiers_where_they_are_expanded(clients, objects):
    one, params = objects["subscription"][0]["id"], {"expand": ["items.data.price.currency_options"]}

    theirs, ours = (client.v1.subscriptions.retrieve(one, params).to_dict() for client in clients)

    assert shown(ours) == shown(theirs)
    assert all("currency_options" in item["price"] for item in ours["items"]["data"])
