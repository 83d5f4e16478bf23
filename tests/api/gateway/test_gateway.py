"""Stripe's libraries at our host: expansion, today's copies, forwarding, and reads that find what was written."""

import base64
import json
from datetime import UTC, datetime

import psycopg
import pytest
import stripe
from psycopg import sql
from psycopg.types.json import Jsonb

from api.http.context import EXTENSION
from api.people import People
from api.projects.key_store import KeyStore, Scope
from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox
from sync.database.schema import schema_name
from tests.api.gateway.mirror_filling import (
    connect_with_key,
    create_gateway,
    fill_mirror,
    finish_backfill,
    serving,
)

SECRET_KEY = "sk_test_demo"
ALL = tuple(Scope)
READS = tuple(scope for scope in Scope if scope.value.endswith(":read") and scope is not Scope.READ_STRIPE)


@pytest.fixture(scope="module")
def sandbox():
    with SandboxThread(Sandbox()) as served:
        served.add_account(
            "demo", scale=0.015, counts={"product": 6, "price": 12, "invoice": 30, "checkout_session": 6}
        )
        yield served


@pytest.fixture(scope="module")
def connection(new_database):
    with psycopg.connect(new_database(), autocommit=True) as opened:
        yield opened


class Gateway:
    """A team whose mirror holds what the sandbox has, behind a real server."""

    def __init__(self, app, connection, team_id, address, sandbox):
        self.app, self.connection, self.team_id = app, connection, team_id
        self.address, self.sandbox = address, sandbox

    def key(self, *scopes):
        names = [scope.value for scope in scopes]
        return KeyStore(self.connection).create_key(self.team_id, "k", project_id=None, scopes=names, expires_at=None)[
            1
        ]

    def client(self, *scopes, key=None, version=None):
        return client_of(key or self.key(*(scopes or ALL)), self.address, version)

    def stripe(self, version=None):
        return client_of(SECRET_KEY, self.sandbox.url, version)

    def run(self, statement, table, *values):
        named = sql.SQL(statement).format(sql.Identifier(schema_name(self.team_id), table))
        return self.connection.execute(named, values)

    def row(self, table, object_id):
        return self.run("SELECT raw, deleted_at IS NOT NULL FROM {} WHERE id = %s", table, object_id).fetchone()


def client_of(key, address, version=None):
    http_client = stripe.RequestsClient(timeout=60)
    options = {"stripe_version": version} if version else {}
    return stripe.StripeClient(
        key, base_addresses={"api": address}, max_network_retries=0, http_client=http_client, **options
    )


@pytest.fixture(scope="module")
def gateway(sandbox, connection, redis_database):
    app = create_gateway(connection, redis_database, sandbox.url)
    team_id = People(connection).create_team("Acme")
    connect_with_key(app, connection, team_id, SECRET_KEY)
    fill_mirror(connection, team_id, sandbox, "demo")
    finish_backfill(connection, team_id)
    with serving(app) as address:
        yield Gateway(app, connection, team_id, address, sandbox)
    app.extensions[EXTENSION].close()


def source_of(answer):
    return answer.headers["X-BillStack-Source"]


def raw(client, method, path, **params):
    """(headers, body) of a request as the SDK sends it."""
    answer = client.raw_request(method, path, **params)
    return answer.headers, json.loads(json.dumps(answer.data))


# Credentials ----------------------------------------------------------------------------------------------------------


def test_the_root_of_the_host_is_stripes_address(gateway):
    customers = gateway.client().v1.customers.list({"limit": 3})

    assert [each.id for each in customers.data] == [
        each.id for each in gateway.stripe().v1.customers.list({"limit": 3}).data
    ]


def test_a_key_is_taken_as_the_user_name_of_basic_too(gateway):
    given = base64.b64encode(f"{gateway.key(*ALL)}:".encode()).decode()
    http = stripe.RequestsClient()

    body, status, headers = http.request("get", f"{gateway.address}/v1/customers", {"Authorization": f"Basic {given}"})

    assert (status, headers["X-BillStack-Source"]) == (200, "mirror"), body


@pytest.mark.parametrize("key", ["bs_" + "0" * 48, "sk_test_demo"])
def test_another_key_is_the_sdks_authentication_error(gateway, key):
    with pytest.raises(stripe.AuthenticationError):
        gateway.client(key=key).v1.customers.list()


def test_a_key_reads_what_its_scopes_say(gateway):
    of_customers = gateway.client(Scope.READ_CUSTOMERS)

    assert of_customers.v1.customers.list().data
    with pytest.raises(stripe.PermissionError, match="products:read"):
        of_customers.v1.products.list()
    assert gateway.client(Scope.READ_STRIPE).v1.products.list().data


# Expansion ------------------------------------------------------------------------------------------------------------

EXPANDED = [
    ("invoices", ["data.customer"]),
    ("invoices", ["data.customer", "data.lines"]),
    ("prices", ["data.product"]),
    ("subscriptions", ["data.customer", "data.latest_invoice.customer"]),
    ("subscriptions", ["data.items.data.price"]),
    ("charges", ["data.customer"]),
]


@pytest.mark.parametrize(("table", "paths"), EXPANDED)
def test_expanded_lists_are_stripes(gateway, table, paths):
    ours, theirs = (
        raw(client, "get", f"/v1/{table}", limit=5, expand=paths)
        for client in (gateway.client(*READS), gateway.stripe())
    )

    assert ours[0]["X-BillStack-Source"] == "mirror"
    assert by_id(ours[1]["data"]) == by_id(theirs[1]["data"])


@pytest.mark.parametrize(("table", "paths"), [*EXPANDED, ("subscriptions", ["data.items.data.price.product"])])
def test_expanded_objects_are_stripes(gateway, table, paths):
    (first,) = raw(gateway.stripe(), "get", f"/v1/{table}", limit=1)[1]["data"]
    paths = [path.removeprefix("data.") for path in paths]

    ours, theirs = (
        raw(client, "get", f"/v1/{table}/{first['id']}", expand=paths)
        for client in (gateway.client(*READS), gateway.stripe())
    )

    assert ours[0]["X-BillStack-Source"] == "mirror"
    assert without_cuts(ours[1]) == without_cuts(theirs[1])


@pytest.mark.parametrize(
    "paths", [["line_items"], ["customer", "line_items"], ["line_items", "customer.default_source"]]
)
def test_expanded_line_items_are_stripes_to_the_letter(gateway, paths):
    sessions = gateway.stripe().v1.checkout.sessions.list({"limit": 20}).data
    assert sessions
    for each in sessions:
        ours, theirs = (
            raw(client, "get", f"/v1/checkout/sessions/{each.id}", expand=paths)
            for client in (gateway.client(*READS), gateway.stripe())
        )
        assert ours[0]["X-BillStack-Source"] == "mirror"
        assert ours[1] == theirs[1]
    assert "line_items" not in raw(gateway.client(*READS), "get", f"/v1/checkout/sessions/{sessions[0].id}")[1]


def test_expanded_line_items_show_todays_price_and_are_cut_at_ten(gateway):
    session_id = next(iter(gateway.sandbox.objects("checkout_session", account="demo")))["id"]
    price = gateway.run("SELECT raw FROM {} LIMIT 1", "prices").fetchone()[0]
    lines = [{"id": f"li_{at}", "object": "item", "price": price | {"nickname": "Old"}} for at in range(11)]
    before = gateway.row("checkout_sessions", session_id)[0]
    whole = before | {"line_items": before["line_items"] | {"data": lines}}
    gateway.run("UPDATE {} SET raw = %s WHERE id = %s", "checkout_sessions", Jsonb(whole), session_id)
    ask = gateway.client(*READS)
    path = f"/v1/checkout/sessions/{session_id}"

    shown = raw(ask, "get", path, expand=["line_items"])[1]["line_items"]
    product = raw(ask, "get", path, expand=["line_items.data.price.product"])[1]["line_items"]["data"][0]["price"][
        "product"
    ]

    assert (len(shown["data"]), shown["has_more"]) == (10, True)
    assert {line["price"]["nickname"] for line in shown["data"]} == {price["nickname"]}
    assert product["id"] == price["product"]
    for broken in ({"line_items": None}, {"line_items": "x"}):
        gateway.run("UPDATE {} SET raw = %s WHERE id = %s", "checkout_sessions", Jsonb(before | broken), session_id)
        with pytest.raises(stripe.PermissionError, match="cannot expand line_items"):
            raw(ask, "get", path, expand=["line_items"])
    gateway.run("UPDATE {} SET raw = %s WHERE id = %s", "checkout_sessions", Jsonb(before), session_id)


def by_id(objects):
    return sorted((without_cuts(each) for each in objects), key=lambda each: each["id"])


def without_cuts(value):
    """Stripe cuts embedded lists at ten, the mirror keeps them whole: compared as far as Stripe shows them."""
    if isinstance(value, list):
        return [without_cuts(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("object") == "list" and "data" in value:
        return {"data": [without_cuts(each) for each in value["data"][:10]]}
    return {name: without_cuts(each) for name, each in value.items()}


def test_what_leaves_the_mirror_goes_to_stripe_or_is_refused_by_name(gateway):
    with pytest.raises(stripe.PermissionError, match=r"payment_intent.*stripe:read"):
        gateway.client(*READS).v1.charges.list({"expand": ["data.payment_intent"]})


def test_a_deleted_customer_is_expanded_as_stripe_does(gateway):
    known = next(each for each in gateway.stripe().v1.invoices.list({"limit": 20}).data if each.customer)
    gateway.run("UPDATE {} SET deleted_at = now() WHERE id = %s", "customers", known.customer)

    _, found = raw(gateway.client(*READS), "get", f"/v1/invoices/{known.id}", expand=["customer"])

    gateway.run("UPDATE {} SET deleted_at = NULL WHERE id = %s", "customers", known.customer)
    assert found["customer"] == {"id": known.customer, "object": "customer", "deleted": True}


def test_a_copy_inside_another_object_is_todays(gateway):
    """Nothing tells of the subscription when its price changes."""
    _, listed = raw(gateway.client(*READS), "get", "/v1/subscriptions", limit=1)
    price_id = listed["data"][0]["items"]["data"][0]["price"]["id"]
    renamed = {"nickname": "today's"}
    gateway.run("UPDATE {} SET raw = raw || %s WHERE id = %s", "prices", Jsonb(renamed), price_id)

    _, found = raw(gateway.client(*READS), "get", f"/v1/subscriptions/{listed['data'][0]['id']}")

    assert found["items"]["data"][0]["price"]["nickname"] == "today's"


def test_embedded_copies_are_stripes_where_stripe_shows_todays(gateway):
    """The sandbox then shows today's prices and plans in old subscriptions, as Stripe does."""
    gateway.sandbox.call("PUT", "embedding", account="demo", todays=True)
    try:
        (first,) = raw(gateway.stripe(), "get", "/v1/subscriptions", limit=1)[1]["data"]
        price_id = first["items"]["data"][0]["price"]["id"]
        gateway.client().v1.prices.update(price_id, {"nickname": "Changed", "metadata": {"tier": "2"}})

        ours, theirs = (
            raw(client, "get", f"/v1/subscriptions/{first['id']}")
            for client in (gateway.client(*READS), gateway.stripe())
        )
    finally:
        gateway.sandbox.call("PUT", "embedding", account="demo", todays=False)

    stored, _ = gateway.row("subscriptions", first["id"])
    assert ours[0]["X-BillStack-Source"] == "mirror"
    assert theirs[1]["items"]["data"][0]["price"]["nickname"] == "Changed"
    assert stored["items"]["data"][0]["price"]["nickname"] != "Changed", "nothing told the mirror's row"
    assert without_cuts(ours[1]) == without_cuts(theirs[1])


# Lists inside objects -------------------------------------------------------------------------------------------------


def test_the_lines_of_an_invoice_are_a_list(gateway):
    invoice_id = gateway.stripe().v1.invoices.list({"limit": 1}).data[0].id

    ours, theirs = (
        [each.id for each in client.v1.invoices.line_items.list(invoice_id, {"limit": 2}).auto_paging_iter()]
        for client in (gateway.client(*READS), gateway.stripe())
    )

    assert ours == theirs != []


def test_the_items_of_a_subscription_are_a_list(gateway):
    subscription_id = gateway.stripe().v1.subscriptions.list({"limit": 1}).data[0].id

    ours, theirs = (
        [each.id for each in client.v1.subscription_items.list({"subscription": subscription_id}).auto_paging_iter()]
        for client in (gateway.client(*READS), gateway.stripe())
    )

    assert ours == theirs != []


# Forwarding -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"stripe_version": "2023-10-16"}, {"stripe_account": "acct_other"}, {"headers": {"X-BillStack-Fresh": "true"}}],
    ids=lambda options: min(options),
)
def test_another_version_or_account_is_stripes_to_answer(gateway, options):
    with pytest.raises(stripe.PermissionError, match="stripe:read"):
        gateway.client(*READS).raw_request("get", "/v1/customers", **options)
    assert answered_by(gateway.client(), "/v1/customers", options) == "stripe"


def answered_by(client, path, options):
    try:
        return source_of(client.raw_request("get", path, **options))
    except stripe.StripeError as exc:
        return exc.headers["X-BillStack-Source"]


def test_stripes_own_errors_come_back_as_they_are(gateway):
    errors = []
    for client in (gateway.client(), gateway.stripe()):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            client.v1.prices.create({"currency": "usd", "product": "prod_none"})
        errors.append(caught.value)

    ours, theirs = errors
    assert (ours.http_status, ours.code, ours.json_body) == (theirs.http_status, theirs.code, theirs.json_body)
    assert ours.headers["Request-Id"].startswith("req_")


def test_the_teams_key_never_shows(gateway):
    headers, body = raw(gateway.client(), "get", "/v1/account")

    assert SECRET_KEY not in json.dumps(body) + json.dumps(dict(headers))


@pytest.mark.parametrize("scopes", [READS, (Scope.READ_STRIPE,)])
def test_a_change_needs_its_scope(gateway, scopes):
    with pytest.raises(stripe.PermissionError, match="stripe:write"):
        gateway.client(*scopes).v1.customers.create({"email": "a@b.example"})


# Read your writes -----------------------------------------------------------------------------------------------------


def test_what_was_written_is_read_at_once(gateway):
    client = gateway.client()

    created = client.v1.customers.create({"email": "new@example.com", "name": "First"})
    client.v1.customers.update(created.id, {"name": "Second"})
    headers, found = raw(client, "get", f"/v1/customers/{created.id}")
    by_email = client.v1.customers.list({"email": "new@example.com"})

    assert (headers["X-BillStack-Source"], found["name"]) == ("mirror", "Second")
    assert [each.id for each in by_email.data] == [created.id]
    client.v1.customers.delete(created.id)
    assert client.v1.customers.retrieve(created.id).deleted
    assert client.v1.customers.list({"email": "new@example.com"}).data == []
    assert gateway.row("customers", created.id)[1]


def test_a_write_in_another_version_is_read_in_ours(gateway):
    created = gateway.client(version="2023-10-16").v1.products.create({"name": "Old shape"})

    answer = gateway.client(*READS).raw_request("get", f"/v1/products/{created.id}")

    assert source_of(answer) == "mirror"
    assert gateway.row("products", created.id)[0] == raw(gateway.stripe(), "get", f"/v1/products/{created.id}")[1]


def test_a_write_whose_answer_is_expanded_does_not_put_that_into_the_mirror(gateway):
    product_id = gateway.stripe().v1.products.list({"limit": 1}).data[0].id
    created = gateway.client().v1.prices.create(
        {"currency": "usd", "unit_amount": 5, "product": product_id, "expand": ["product"]}
    )

    assert created.product.id == product_id
    assert gateway.row("prices", created.id)[0]["product"] == product_id


def test_a_repeated_write_with_its_key_is_one(gateway):
    client = gateway.client()

    first, second = (
        client.v1.customers.create({"email": "once@example.com"}, {"idempotency_key": "one-key"}) for _ in range(2)
    )

    assert first.id == second.id
    assert len(client.v1.customers.list({"email": "once@example.com"}).data) == 1


def test_a_declined_payment_is_read_as_stripe_has_it(gateway):
    """Stripe refuses the request, and the intent has changed all the same."""
    client = gateway.client()
    created = client.v1.payment_intents.create({"amount": 500, "currency": "usd"})

    with pytest.raises(stripe.CardError):
        client.v1.payment_intents.confirm(created.id, {"payment_method": "pm_card_chargeDeclined"})
    headers, found = raw(client, "get", f"/v1/payment_intents/{created.id}")

    assert (headers["X-BillStack-Source"], found["last_payment_error"]["code"]) == ("mirror", "card_declined")


def test_an_intent_that_was_declined_at_its_creation_is_found(gateway):
    client = gateway.client()
    declined = {"amount": 500, "currency": "usd", "payment_method": "pm_card_chargeDeclined", "confirm": True}

    with pytest.raises(stripe.CardError) as caught:
        client.v1.payment_intents.create(declined)
    created_id = caught.value.json_body["error"]["payment_intent"]["id"]

    assert client.v1.payment_intents.retrieve(created_id).status == "requires_payment_method"


def test_the_preview_of_an_invoice_is_no_invoice(gateway):
    client = gateway.client()
    subscription = gateway.stripe().v1.subscriptions.list({"limit": 1}).data[0]

    previewed = client.v1.invoices.create_preview({"subscription": subscription.id})

    assert gateway.row("invoices", previewed.id) is None


def test_errors_say_the_requests_api_version(gateway):
    with pytest.raises(stripe.InvalidRequestError) as caught:
        gateway.client(version="2023-10-16").v1.customers.list({"limit": 0})

    assert caught.value.headers["Stripe-Version"] == "2023-10-16"


def test_a_mirror_that_could_not_take_a_write_says_so(gateway, monkeypatch):
    def away(*_args, **_options):
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr("sync.mirror.store.MirrorStore.put_fetched", away)

    headers, created = raw(gateway.client(), "post", "/v1/customers", email="behind@example.com")

    assert headers["X-BillStack-Mirror"] == "behind"
    assert gateway.stripe().v1.customers.retrieve(created["id"]).email == "behind@example.com"


def test_an_event_from_before_the_write_does_not_undo_it(gateway):
    client = gateway.client()
    created = client.v1.customers.create({"name": "First"})
    client.v1.customers.update(created.id, {"name": "First"})  # equal, and newer

    (as_of,) = gateway.run("SELECT as_of_until FROM {} WHERE id = %s", "customers", created.id).fetchone()

    assert as_of >= datetime.now(UTC).timestamp() - 60


# Compared with Stripe -------------------------------------------------------------------------------------------------


def test_recorded_reads_are_compared_with_stripes(gateway, monkeypatch):
    monkeypatch.setattr("api.gateway.shadow._AGAIN_AFTER_S", 0.0)
    (changed, *_) = gateway.stripe().v1.customers.list({"limit": 5}).data
    recorded = [
        "GET /v1/products?limit=3",
        "/v1/customers/cus_nobody",
        f"GET /v1/customers/{changed.id}",
        "GET /v1/balance",
        "POST /v1/customers",
    ]
    run = gateway.app.test_cli_runner().invoke
    arguments = ["gateway-shadow", "--team", gateway.team_id, "--requests", "-"]

    same = run(args=arguments, input="\n".join(recorded))
    gateway.run("UPDATE {} SET raw = raw || %s WHERE id = %s", "customers", Jsonb({"name": "Stale"}), changed.id)
    differs = run(args=arguments, input="\n".join(recorded))
    gateway.client(*ALL).v1.customers.update(changed.id, {"name": "Right again"})

    assert same.exit_code == 0, same.output
    assert "5 requests: the mirror answers 3 of them, 0 differently from Stripe; 2 go to Stripe" in same.output
    assert differs.exit_code == 1
    assert f'differs  /v1/customers/{changed.id}\n         name: mirror "Stale", Stripe' in differs.output
    assert SECRET_KEY not in same.output + differs.output
