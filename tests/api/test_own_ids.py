"""No id has a shape: products, prices and customers whose id a person chose are answered and linked like all others."""

import html
import json
import re
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
import stripe
from psycopg.types.json import Jsonb

from api.projects.key_store import KeyStore, Scope
from sync.object_types import OBJECT_TYPES
from tests.api.gateway.mirror_filling import connect_team, finish_backfill, put_objects, put_tombstone, serving
from tests.factories import customer, invoice, price, product
from tests.own_ids import OWN_IDS

BROWSER = {"Accept": "text/html"}


@pytest.fixture
def team(owner, database):
    """An owner whose team has an empty mirror."""
    connect_team(database, owner.team_id)
    finish_backfill(database, owner.team_id)
    yield owner
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def put(team, database):
    def write(*objects):
        for each in objects:
            put_objects(database, team.team_id, OBJECT_TYPES[each["object"]].table, [json.dumps(each)])

    return write


@pytest.fixture
def mirror(team):
    address = f"/api/billstack/teams/{team.team_id}/mirror/v1"
    return lambda path: team.client.get(f"{address}/{path}")


@pytest.fixture
def page(team):
    """A page of the explorer; what a browser makes of an address is left to the tests in a browser."""
    return lambda path, **query: team.client.get(
        f"/teams/{team.team_id}/explore/{path}", query_string=query or None, headers=BROWSER
    )


def links(page, part):
    """The addresses of links whose address has this part in it."""
    return [html.unescape(each) for each in re.findall(r'href="([^"]+)"', page.text) if part in each]


def object_links(page, table):
    return [each for each in links(page, f"/explore/{table}/") if "?" not in each]


# The API --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [product, price, customer])
def test_an_object_is_answered_by_its_own_id(mirror, put, make):
    put(*map(make, OWN_IDS))
    table = OBJECT_TYPES[make()["object"]].table

    answers = {id: mirror(f"{table}/{quote(id, safe='')}") for id in OWN_IDS}

    assert {id: answer.json for id, answer in answers.items()} == {id: make(id) for id in OWN_IDS}


def test_a_slash_that_is_not_escaped_is_none_of_the_id(mirror, put):
    put(customer("a/b"))

    assert mirror("customers/a/b").status_code == 401  # one of Stripe's other addresses, for API keys


@pytest.mark.parametrize(("asked", "found"), [("a+b", "a b"), ("a%2Bb", "a+b"), ("c+d", "c+d")])
def test_a_plus_is_a_space_as_stripes_libraries_send_it(mirror, put, asked, found):
    put(product("a b"), product("a+b"), product("c+d"))

    assert mirror(f"products/{asked}").json["id"] == found


def test_a_deleted_customer_is_valid_json(mirror, team, database):
    for id in OWN_IDS:
        put_tombstone(database, team.team_id, customer(id))

    answers = {id: json.loads(mirror(f"customers/{quote(id, safe='')}").data) for id in OWN_IDS}

    assert answers == {id: {"id": id, "object": "customer", "deleted": True} for id in OWN_IDS}


def test_stripes_library_reads_them(app, team, put, database):
    """Over a real server. Only ids of dots alone cannot be asked for: the library resolves them before it asks."""
    ids = [id for id in OWN_IDS if set(id) != {"."}]
    put(*(product(id) for id in ids))
    scopes = [scope.value for scope in Scope]
    _, key = KeyStore(database).create_key(team.team_id, "all", project_id=None, scopes=scopes, expires_at=None)

    with serving(app) as address:
        base = f"{address}/api/billstack/teams/{team.team_id}/mirror"
        products = stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=0).v1.products
        found = [products.retrieve(id).id for id in ids]
        listed = [each.id for each in products.list({"limit": 3}).auto_paging_iter()]

    assert found == ids
    assert sorted(listed) == sorted(ids)


def test_a_customer_whose_id_looks_like_a_project_customers_is_found(team, put, database):
    projects = f"/api/billstack/teams/{team.team_id}/projects"
    project = team.client.post(projects, json={"name": "Shop"}).json["project"]["id"]
    put(customer("pc_own"), invoice("in_1", customer="pc_own"))
    database.execute(
        "INSERT INTO billstack.project_customers (id, team_id, project_id, stripe_customer_id, email, metadata)"
        " VALUES ('pc_1', %s, %s, 'pc_own', 'a@example.com', %s)",
        (team.team_id, project, Jsonb({})),
    )

    for name in ("pc_own", "pc_1"):
        found = team.client.get(f"{projects}/{project}/invoices", query_string={"customer": name})
        assert [each["id"] for each in found.json["invoices"]] == ["in_1"]


# The pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [product, price, customer])
def test_a_table_leads_to_the_page_of_each_object_and_that_to_stripe(page, team, put, make):
    put(*map(make, OWN_IDS))
    table = OBJECT_TYPES[make()["object"]].table

    addresses = object_links(page(table), table)
    shown = [team.client.get(as_a_browser_asks(address), headers=BROWSER) for address in addresses]

    assert sorted(html.unescape(re.search("<code>(.*?)</code>", each.text)[1]) for each in shown) == sorted(OWN_IDS)
    at_stripe = [urlsplit(link) for each in shown for link in links(each, "dashboard.stripe.com")]
    assert sorted(unquote(each.path.split(f"/{table}/")[1]) for each in at_stripe) == sorted({*OWN_IDS} - {".", ".."})
    assert not any(each.query or each.fragment or "/" in each.path.split(f"/{table}/")[1] for each in at_stripe)


def as_a_browser_asks(address):
    """A browser resolves a part of dots, escaped or not, before it asks."""
    assert address.startswith("/teams/")
    assert not any(unquote(part) in (".", "..") for part in address.split("/"))
    return address


def test_a_price_leads_to_its_product(page, team, put):
    put(*map(product, OWN_IDS), *(price(f"price_{number}", product=id) for number, id in enumerate(OWN_IDS)))

    for number, id in enumerate(OWN_IDS):
        (address,) = object_links(page(f"prices/price_{number}"), "products")
        shown = team.client.get(as_a_browser_asks(address), headers=BROWSER).text
        assert html.unescape(re.search("<code>(.*?)</code>", shown)[1]) == id


def test_the_search_knows_an_id_by_nothing_but_itself(page, put):
    for number, id in enumerate(OWN_IDS):
        put(customer(id, email=f"{number}@example.com"), invoice(f"in_{number}", customer=id))
        put(product(id), price(f"price_{number}", product=id))

    for number, id in enumerate(OWN_IDS):
        assert len(object_links(page("customers", find=id), "customers")) == 1
        assert len(object_links(page("products", find=id), "products")) == 1
        assert [last_part(each) for each in object_links(page("prices", find=id), "prices")] == [f"price_{number}"]
        assert [last_part(each) for each in object_links(page("invoices", find=id), "invoices")] == [f"in_{number}"]


def last_part(address):
    return address.rpartition("/")[2]


def test_a_text_is_looked_for_in_all_that_it_may_mean(page, put):
    """An id may look like somebody else's e-mail address."""
    put(customer("bob@example.com", email=None), customer("cus_2", email="Bob@example.com"))
    put(invoice("in_1", customer="bob@example.com"), invoice("in_2", customer="cus_2"))

    assert len(object_links(page("customers", find=" bob@example.com"), "customers")) == 2
    assert len(object_links(page("invoices", find="bob@example.com"), "invoices")) == 2


def test_pages_of_a_table_go_on_after_any_id(page, team, put):
    ids = [f"{number:02}/{OWN_IDS[number % len(OWN_IDS)][:50]}" for number in range(60)]
    put(*(customer(id) for id in ids))

    first = page("customers")
    (older,) = (html.unescape(each) for each in re.findall(r'<a rel="next" href="([^"]+)">Next</a>', first.text))
    second = team.client.get(older, headers=BROWSER)

    assert len(object_links(first, "customers")) + len(object_links(second, "customers")) == 60


def test_signing_in_leads_back_to_the_page_of_such_an_id(client, team, put):
    put(customer("a/b c?#%"))
    address = f"/teams/{team.team_id}/explore/customers/a%2Fb%20c%3F%23%25?x=1%2F2"

    sent_to = client.get(address, headers=BROWSER).headers["Location"]

    assert parse_qs(urlsplit(sent_to).query)["next"] == [address]
