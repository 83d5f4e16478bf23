"""Project customers over HTTP, against a sandbox Stripe: one person becomes one Stripe customer, whatever fails."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import stripe
from psycopg import sql
from psycopg.types.json import Jsonb

from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox
from sync.database.schema import schema_name

KEY = "sk_test_demo"
ADA = {"email": "Ada@Example.com", "name": "Ada", "metadata": {"plan": "pro"}}


@pytest.fixture(scope="module")
def served():
    with SandboxThread(Sandbox()) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(served):
    """An account that holds nothing, and no faults."""
    served.add_account("demo", scale=0)
    served.call("DELETE", "faults")
    served.call("PUT", "latency", ms=0)
    return served


@pytest.fixture
def settings(settings, sandbox):
    return replace(settings, stripe_api_base=sandbox.url, stripe_account_rps=5000.0, stripe_endpoint_rps=5000.0)


@pytest.fixture
def merchant(sandbox):
    """Who works at Stripe directly."""
    return stripe.StripeClient(KEY, base_addresses={"api": sandbox.url}, max_network_retries=0).v1.customers


@pytest.fixture
def connected(owner):
    answer = owner.client.post(f"{owner.stripe}/connect", json={"secretKey": KEY})
    assert answer.status_code == 200
    yield owner
    owner.client.delete(f"{owner.stripe}/connect?purge=true", json={})


@pytest.fixture
def new_project(connected):
    """Makes a project; gives the address of its customers."""
    projects = f"/api/billstack/teams/{connected.team_id}/projects"

    def create(name="Shop"):
        project_id = connected.client.post(projects, json={"name": name}).json["project"]["id"]
        return f"{projects}/{project_id}/customers"

    return create


@pytest.fixture
def customers(new_project):
    return new_project()


@pytest.fixture
def link(connected, customers):
    """Posts a person to the project."""
    return lambda **person: connected.client.post(customers, json=person or ADA)


@pytest.fixture
def get(connected, customers):
    return lambda path="", **query: connected.client.get(customers + path, query_string=query)


def project_of(address):
    return address.split("/")[-2]


def fault(sandbox, kind, path="/v1/customers", method="POST", **fields):
    sandbox.call("PUT", "faults", faults=[{"kind": kind, "path": path, "method": method, **fields}])


def emails_at_stripe(sandbox):
    return [each["email"] for each in sandbox.objects("customer")]


def rows(database, table):
    statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("billstack", table))
    return database.execute(statement).fetchone()[0]


def mirror_raw(database, connected, customer):
    """As a backfill or an event would have mirrored it."""
    statement = sql.SQL(
        "INSERT INTO {} AS mirror (id, raw, as_of, as_of_until) VALUES (%s, %s, 1, 1)"
        " ON CONFLICT (id) DO UPDATE SET raw = excluded.raw, synced_at = now() + interval '2 seconds'"
    ).format(sql.Identifier(schema_name(connected.team_id), "customers"))
    database.execute(statement, (customer.id, Jsonb(customer.to_dict())))


# Link or create -------------------------------------------------------------------------------------------------------


def test_a_new_person_is_created_at_stripe(link, customers, merchant):
    answer = link()

    assert answer.status_code == 201
    assert answer.json["linked"] is False
    customer = answer.json["customer"]
    assert customer["id"].startswith("pc_")
    assert (customer["email"], customer["name"]) == ("Ada@Example.com", "Ada")
    assert customer["projectId"] == project_of(customers)
    at_stripe = merchant.retrieve(customer["stripeCustomerId"]).to_dict()
    assert (at_stripe["email"], at_stripe["name"]) == ("Ada@Example.com", "Ada")
    assert at_stripe["metadata"] == {"plan": "pro", "project_id": project_of(customers)} == customer["metadata"]


@pytest.mark.parametrize("known_as", ["Ada@Example.com", "ada@example.com"])
def test_a_known_person_is_linked(link, customers, merchant, sandbox, known_as):
    known = merchant.create({"email": known_as, "name": "Countess", "metadata": {"plan": "old", "seats": "5"}})

    answer = link().json
    customer = answer["customer"]

    assert answer["linked"] is True
    assert customer["stripeCustomerId"] == known.id
    assert len(emails_at_stripe(sandbox)) == 1
    assert customer["name"] == "Countess"  # nothing is overwritten
    assert customer["metadata"] == {"plan": "old", "seats": "5", "project_id": project_of(customers)}
    assert merchant.retrieve(known.id).to_dict()["metadata"] == customer["metadata"]


def test_what_stripe_lacks_is_filled_in(link, merchant):
    known = merchant.create({"email": "ada@example.com"})

    customer = link().json["customer"]

    assert (customer["stripeCustomerId"], customer["name"], customer["metadata"]["plan"]) == (known.id, "Ada", "pro")
    assert merchant.retrieve(known.id).name == "Ada"


def test_a_person_that_only_the_mirror_can_find_is_linked(link, merchant, connected, database):
    """Stripe compares exactly; the mirror knows the spelling that nobody typed."""
    known = merchant.create({"email": "ADA@example.com"})
    mirror_raw(database, connected, merchant.retrieve(known.id))

    assert link().json["customer"]["stripeCustomerId"] == known.id


def test_a_mirror_that_is_behind_does_not_link_the_dead(link, merchant, connected, database):
    known = merchant.create({"email": "ADA@example.com"})
    mirror_raw(database, connected, merchant.retrieve(known.id))
    merchant.delete(known.id)

    assert link().json["customer"]["stripeCustomerId"] != known.id


def test_the_project_that_came_first_is_named(connected, new_project, merchant):
    first, second = new_project("First"), new_project("Second")

    one = connected.client.post(first, json=ADA).json["customer"]
    other = connected.client.post(second, json=ADA).json["customer"]

    assert one["stripeCustomerId"] == other["stripeCustomerId"]
    assert one["id"] != other["id"]
    assert merchant.retrieve(one["stripeCustomerId"]).to_dict()["metadata"]["project_id"] == project_of(first)


@pytest.mark.parametrize("email", ["Ada@Example.com", "ada@example.com", "ADA@EXAMPLE.COM"])
def test_the_same_email_again_is_409(link, email):
    known = link().json["customer"]

    answer = link(email=email)

    assert (answer.status_code, answer.json["code"]) == (409, "customer_exists")
    assert answer.json["details"]["customerId"] == known["id"]


def test_several_stripe_customers_of_that_email_are_the_callers_choice(link, merchant):
    ids = {merchant.create({"email": email}).id for email in ("ada@example.com", "Ada@Example.com")}

    answer = link()
    chosen = min(ids)
    linked = link(**ADA, stripeCustomerId=chosen)

    assert (answer.status_code, answer.json["code"]) == (409, "ambiguous_email")
    assert {each["stripeCustomerId"] for each in answer.json["details"]["candidates"]} == ids
    assert linked.status_code == 201
    assert linked.json["customer"]["stripeCustomerId"] == chosen


def test_somebody_elses_stripe_customer_is_refused(link, merchant):
    stranger = merchant.create({"email": "grace@example.com"})

    answer = link(**ADA, stripeCustomerId=stranger.id)

    assert (answer.status_code, answer.json["code"]) == (400, "stripe_customer_mismatch")


def test_a_team_that_is_not_connected_links_nobody(owner):
    projects = f"/api/billstack/teams/{owner.team_id}/projects"
    project_id = owner.client.post(projects, json={"name": "Shop"}).json["project"]["id"]

    answer = owner.client.post(f"{projects}/{project_id}/customers", json=ADA)

    assert (answer.status_code, answer.json["code"]) == (409, "not_connected")
    assert owner.client.get(f"{projects}/{project_id}/customers").json == {"customers": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": 5}, "email"),
        ({"email": "ada"}, "email"),
        ({"email": "a@b", "name": None}, "name"),
        ({"email": "a@b", "plan": "x"}, "plan"),
        ({"email": "a@b", "metadata": {"seats": 5}}, "metadata"),
        ({"email": "a@b", "metadata": {"seats": None}}, "metadata"),
        ({"email": "a@b", "metadata": {"x" * 41: "5"}}, "metadata"),
        ({"email": "a@b", "metadata": {"a[b]": "5"}}, "metadata"),
        ({"email": "a@b", "metadata": {"a": "\0"}}, "metadata"),
        ({"email": "a@b", "metadata": []}, "metadata"),
    ],
)
def test_bad_fields_are_named(link, connected, customers, body, field):
    answer = connected.client.post(customers, json=body)

    assert answer.status_code == 400
    assert field in answer.json["error"]


def test_the_projects_name_in_metadata_is_ours(link):
    answer = link(email="ada@example.com", metadata={"project_id": "proj_other"})

    assert (answer.status_code, answer.json["code"]) == (400, "reserved_key")


# At the same time, and with failures -----------------------------------------------------------------------------------


def post_at_once(app, connected, addresses):
    """The answers to one request at each address, all sent at the same moment."""
    cookie = connected.client.get_cookie("billstack_session")
    barrier = threading.Barrier(len(addresses))

    def post(address):
        client = app.test_client()
        client.set_cookie("billstack_session", cookie.value)
        barrier.wait()
        return client.post(address, json=ADA)

    with ThreadPoolExecutor(len(addresses)) as pool:
        return list(pool.map(post, addresses))


def test_ten_identical_requests_make_one_customer(app, connected, customers, sandbox, database):
    sandbox.call("PUT", "latency", ms=30)

    answers = post_at_once(app, connected, [customers] * 10)

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    (made,) = {answer.json["customer"]["id"] for answer in answers if answer.status_code == 201}
    assert {answer.json["details"]["customerId"] for answer in answers if answer.status_code == 409} == {made}
    assert emails_at_stripe(sandbox) == ["Ada@Example.com"]
    assert (rows(database, "project_customers"), rows(database, "customer_intents")) == (1, 0)


def test_projects_that_race_share_one_stripe_customer(app, connected, new_project, sandbox, database):
    sandbox.call("PUT", "latency", ms=30)
    addresses = [new_project("First"), new_project("Second")] * 3

    answers = post_at_once(app, connected, addresses)

    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [409] * 4
    assert emails_at_stripe(sandbox) == ["Ada@Example.com"]
    assert (rows(database, "project_customers"), rows(database, "customer_intents")) == (2, 0)


@pytest.mark.parametrize("kind", ["500-after", "500", "502", "reset", "reset-after", "429", "garbage", "truncated"])
def test_a_stripe_that_fails_once_makes_one_customer(link, sandbox, kind):
    fault(sandbox, kind, numbers=[1])

    answers = [link(), link()]

    assert [answer.status_code for answer in answers] == [201, 409]
    assert emails_at_stripe(sandbox) == ["Ada@Example.com"]


def test_an_error_that_stripe_keeps_under_the_key_is_overcome(link, sandbox):
    """A 500 is replayed for a day; where nothing had been made, only another key helps."""
    fault(sandbox, "500", times=1, share=1)

    assert link().status_code == 201
    assert emails_at_stripe(sandbox) == ["Ada@Example.com"]


@pytest.mark.parametrize("kind", ["500", "reset", "reset-after", "502"])
def test_a_stripe_that_stays_away_is_502_and_the_next_request_goes_on(link, sandbox, database, kind):
    fault(sandbox, kind, path="/v1/customers", method="", share=1)
    refused = link()
    nobody = rows(database, "project_customers")
    sandbox.call("DELETE", "faults")

    answer = link()

    assert (refused.status_code, nobody) == (502, 0)
    assert answer.status_code == 201
    assert emails_at_stripe(sandbox) == ["Ada@Example.com"]
    assert rows(database, "customer_intents") == 0


def test_what_stripe_refuses_is_told_and_nothing_stays(link, sandbox, database, connected):
    key = sandbox.call("POST", "keys", permissions=["rak_customer_read", "rak_accounts_kyc_basic_read"])["key"]
    assert connected.client.post(f"{connected.stripe}/connect", json={"secretKey": key}).status_code == 200

    answer = link()

    assert (answer.status_code, answer.json["code"]) == (502, "stripe_rejected")
    assert "rak_customer_write" in answer.json["error"]
    assert (rows(database, "project_customers"), rows(database, "customer_intents")) == (0, 0)


@pytest.mark.parametrize("kind", ["500-after", "reset-after"])
def test_what_a_request_created_is_not_linked_although_stripe_answered_with_an_error(link, sandbox, kind):
    fault(sandbox, kind, share=1)

    answer = link()

    assert (answer.status_code, answer.json["linked"]) == (201, False)
    assert emails_at_stripe(sandbox) == ["Ada@Example.com"]


# Across projects --------------------------------------------------------------------------------------------------------


@pytest.fixture
def key_of(connected, client):
    """A program that holds an API key of one project, or of the whole team; posts a person to an address."""

    def create(project_id=None):
        body = {"name": "shop", "scopes": ["customers:read", "customers:write"]}
        body |= {"projectId": project_id} if project_id else {}
        made = connected.client.post(f"/api/billstack/teams/{connected.team_id}/api-keys", json=body)
        headers = {"Authorization": f"Bearer {made.json['rawKey']}"}
        return lambda address, **person: client.post(address, json=person or ADA, headers=headers)

    return create


def test_a_key_of_one_project_does_not_link_another_projects_customer(connected, new_project, key_of, merchant):
    first, second = new_project("First"), new_project("Second")
    known = connected.client.post(first, json=ADA).json["customer"]
    before = merchant.retrieve(known["stripeCustomerId"]).to_dict()
    by_second = key_of(project_of(second))

    answers = [
        by_second(second),
        by_second(second, email="ADA@EXAMPLE.COM", metadata={"mine": "1"}),
        by_second(second, email="ada@example.com", stripeCustomerId=known["stripeCustomerId"]),
    ]

    assert [(answer.status_code, answer.json["code"]) for answer in answers] == [(403, "other_project")] * 3
    assert not any("plan" in answer.text or known["stripeCustomerId"] in answer.text for answer in answers)
    assert merchant.retrieve(known["stripeCustomerId"]).to_dict() == before
    assert connected.client.get(second).json == {"customers": []}


def test_nor_one_that_the_other_project_brought_and_unlinked(connected, new_project, key_of):
    first, second = new_project("First"), new_project("Second")
    known = connected.client.post(first, json=ADA).json["customer"]
    connected.client.delete(f"{first}/{known['id']}", json={})

    assert key_of(project_of(second))(second).json["code"] == "other_project"


def test_members_and_keys_of_the_whole_team_link_across_projects(connected, new_project, key_of):
    first, second, third = (new_project(name) for name in ("First", "Second", "Third"))
    connected.client.post(first, json=ADA)

    by_team, by_member = key_of()(second), connected.client.post(third, json=ADA)

    assert [(each.status_code, each.json["linked"]) for each in (by_team, by_member)] == [(201, True)] * 2


def test_a_key_of_one_project_links_whom_no_project_has(new_project, key_of, merchant, connected):
    known = merchant.create({"email": "ada@example.com"})
    gone = new_project("Gone")
    other = connected.client.post(gone, json={"email": "bob@example.com"}).json["customer"]
    connected.client.delete(gone.removesuffix("/customers"), json={})
    first = new_project("First")
    by_first = key_of(project_of(first))

    assert by_first(first).json["customer"]["stripeCustomerId"] == known.id
    assert by_first(first, email="bob@example.com").json["customer"]["stripeCustomerId"] == other["stripeCustomerId"]
    assert by_first(first, email="new@example.com").json["linked"] is False


def test_candidates_of_another_project_are_named_and_no_more(connected, new_project, key_of, merchant):
    first, second = new_project("First"), new_project("Second")
    known = connected.client.post(first, json=ADA).json["customer"]
    free = merchant.create({"email": "ada@example.com", "name": "Free", "metadata": {"seats": "5"}})

    candidates = key_of(project_of(second))(second).json["details"]["candidates"]

    by_id = {each["stripeCustomerId"]: each for each in candidates}
    assert by_id[known["stripeCustomerId"]]["name"] is by_id[known["stripeCustomerId"]]["metadata"] is None
    assert (by_id[free.id]["name"], by_id[free.id]["metadata"]) == ("Free", {"seats": "5"})
    chosen = key_of(project_of(second))(second, email="ada@example.com", stripeCustomerId=free.id)
    assert (chosen.status_code, chosen.json["linked"]) == (201, True)


def test_what_another_projects_request_left_behind_is_not_shown_either(connected, new_project, key_of, sandbox):
    """It died before it linked; the next request, of another project, goes on with its creation."""
    first, second = new_project("First"), new_project("Second")
    fault(sandbox, "reset", share=1)
    assert connected.client.post(first, json=ADA).status_code == 502
    sandbox.call("DELETE", "faults")

    answer = key_of(project_of(second))(second, email="ada@example.com")

    assert (answer.status_code, answer.json["code"]) == (403, "other_project")
    assert connected.client.post(first, json=ADA).json["linked"] is False
    assert emails_at_stripe(sandbox) == ["Ada@Example.com"]


# Read, change, unlink ---------------------------------------------------------------------------------------------------


def test_people_are_listed_newest_first(link, get):
    names = [f"person{number}@example.com" for number in range(5)]
    for email in names:
        link(email=email)

    assert [each["email"] for each in get().json["customers"]] == names[::-1]
    assert [each["email"] for each in get(limit=2, offset=1).json["customers"]] == names[3:1:-1]
    assert [each["email"] for each in get(email="PERSON3@example.com").json["customers"]] == ["person3@example.com"]
    assert len(get(email="").json["customers"]) == 5
    assert get(email="nobody@example.com").json == {"customers": []}


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"offset": "x"}])
def test_a_bad_query_is_400(get, query):
    assert get(**query).status_code == 400


def test_one_person_is_shown(link, get):
    person = link().json["customer"]

    assert get(f"/{person['id']}").json == {"customer": person}


def test_another_projects_person_is_404(link, connected, new_project):
    person = link().json["customer"]
    other = new_project("Other")

    for method, body in (("GET", None), ("PATCH", {"name": "Eve"}), ("DELETE", {})):
        assert connected.client.open(f"{other}/{person['id']}", method=method, json=body).status_code == 404


def test_a_change_goes_to_stripe(link, connected, customers, merchant, get):
    person = link().json["customer"]
    address = f"{customers}/{person['id']}"

    answer = connected.client.patch(address, json={"name": "Countess", "metadata": {"plan": None, "seats": "7"}})

    expected = {"seats": "7", "project_id": project_of(customers)}
    assert answer.status_code == 200
    assert (answer.json["customer"]["name"], answer.json["customer"]["metadata"]) == ("Countess", expected)
    at_stripe = merchant.retrieve(person["stripeCustomerId"])
    assert (at_stripe.name, at_stripe.to_dict()["metadata"]) == ("Countess", expected)
    assert get(f"/{person['id']}").json == answer.json


def test_a_name_can_be_unset(link, connected, customers, merchant):
    person = link().json["customer"]

    answer = connected.client.patch(f"{customers}/{person['id']}", json={"name": None})

    assert answer.json["customer"]["name"] is None
    assert merchant.retrieve(person["stripeCustomerId"]).name is None


def test_what_a_get_shows_may_be_sent_back(link, connected, customers):
    person = link().json["customer"]
    echo = {"name": person["name"], "metadata": person["metadata"]}

    assert connected.client.patch(f"{customers}/{person['id']}", json=echo).status_code == 200
    other = {"metadata": {"project_id": "proj_other"}}
    assert connected.client.patch(f"{customers}/{person['id']}", json=other).json["code"] == "reserved_key"


def test_unlinking_deletes_nothing_at_stripe(link, connected, customers, sandbox, get):
    person = link().json["customer"]

    answer = connected.client.delete(f"{customers}/{person['id']}", json={})

    assert answer.status_code == 204
    assert get().json == {"customers": []}
    assert emails_at_stripe(sandbox) == ["Ada@Example.com"]
    assert link().json["customer"]["stripeCustomerId"] == person["stripeCustomerId"]


def test_what_changes_in_the_mirror_shows(link, connected, get, database, merchant):
    person = link().json["customer"]
    changed = merchant.update(person["stripeCustomerId"], {"name": "Countess", "email": "countess@example.com"})
    mirror_raw(database, connected, changed)

    shown = get(f"/{person['id']}").json["customer"]

    assert (shown["name"], shown["email"]) == ("Countess", "countess@example.com")
    assert shown["updatedAt"] > person["updatedAt"]
    assert [each["id"] for each in get(email="countess@example.com").json["customers"]] == [person["id"]]
    assert get(email="ada@example.com").json == {"customers": []}


def test_a_new_email_of_a_known_person_is_that_person(link, connected, merchant):
    person = link().json["customer"]
    merchant.update(person["stripeCustomerId"], {"email": "countess@example.com"})

    answer = link(email="countess@example.com")

    assert (answer.status_code, answer.json["code"]) == (409, "customer_exists")
    assert answer.json["details"]["customerId"] == person["id"]


def test_a_purge_takes_the_links_with_it(link, connected, get, database):
    link()

    connected.client.delete(f"{connected.stripe}/connect?purge=true", json={})

    assert get().json == {"customers": []}
    assert rows(database, "project_customers") == 0
