"""The dashboard's pages: who sees which, what viewers are spared, how numbers read."""

import re
from decimal import Decimal

import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.dashboard.formats import duration, money, sentence
from api.dashboard.mirror_tables import TABLES
from sync.database.schema import create_team_schema, schema_name
from sync.object_types import OBJECT_TYPES

BROWSER = {"Accept": "text/html,application/xhtml+xml"}
OF_TEAM = (
    "stripe",
    "events",
    "repairs",
    "alerts",
    *(f"explore/{kind}" for kind in TABLES),
    "psql",
    "projects",
    "api-keys",
    "members",
)


@pytest.fixture
def mirror(owner, database):
    """Puts objects into the owner's mirror: put("customers", id="cus_1", ...)."""
    create_team_schema(database, owner.team_id)

    def put(table, **raw):
        statement = psycopg.sql.SQL("INSERT INTO {} (id, raw, as_of, as_of_until) VALUES (%s, %s, 1, 1)").format(
            psycopg.sql.Identifier(schema_name(owner.team_id), table)
        )
        database.execute(statement, (raw["id"], Jsonb(raw)))

    return put


@pytest.mark.parametrize("place", OF_TEAM)
def test_a_page_of_a_team_is_for_its_members(owner, new_member, client, place):
    address = f"/teams/{owner.team_id}/{place}"

    assert owner.client.get(address, headers=BROWSER).status_code == 200
    assert new_member().client.get(address, headers=BROWSER).status_code == 404
    assert client.get(address, headers=BROWSER).headers["Location"] == f"/sign-in?next={address}"


@pytest.mark.parametrize("place", OF_TEAM)
def test_a_viewer_is_shown_no_form_that_changes_something(owner, new_member, place):
    viewer = new_member("viewer", team_id=owner.team_id)

    page = viewer.client.get(f"/teams/{owner.team_id}/{place}", headers=BROWSER).text

    assert set(re.findall(r'data-call="(.*?)"', page)) == {
        "POST /api/auth/sign-out",
        "POST /api/auth/sign-out-everywhere",
    }


@pytest.mark.parametrize("place", OF_TEAM)
def test_pages_have_no_inline_script_or_style(owner, place):
    page = owner.client.get(f"/teams/{owner.team_id}/{place}", headers=BROWSER).text

    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)


def test_the_first_visitor_is_led_to_the_set_up(client):
    assert client.get("/", headers=BROWSER).headers["Location"].startswith("/sign-in")
    assert client.get("/sign-in", headers=BROWSER).headers["Location"] == "/set-up"


def test_nobody_sets_up_twice(client, owner):
    assert client.get("/set-up", headers=BROWSER).headers["Location"] == "/sign-in"


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example"])
def test_signing_in_leads_to_no_other_site(owner, target):
    assert owner.client.get("/sign-in", query_string={"next": target}).headers["Location"] == "/"


def test_programs_get_errors_as_json(client):
    assert client.get("/nothing").json["code"] == "not_found"
    assert "<h1>Nothing here</h1>" in client.get("/nothing", headers=BROWSER).text


def test_only_operators_see_the_operators_page(owner, operator):
    assert operator.client.get("/operators", headers=BROWSER).status_code == 200
    assert owner.client.get("/operators", headers=BROWSER).status_code == 403
    assert "Operators" in operator.client.get(f"/teams/{operator.team_id}/stripe", headers=BROWSER).text
    assert "Operators" not in owner.client.get(f"/teams/{owner.team_id}/stripe", headers=BROWSER).text


def test_every_type_has_a_table():
    assert set(TABLES) == {each.table for each in OBJECT_TYPES.values()}


def test_pages_of_a_table_show_every_row_once(owner, mirror):
    """Also rows of one second, and rows without a time of creation."""
    ids = {f"cus_{number:03}" for number in range(130)}
    for number, id in enumerate(sorted(ids)):
        mirror("customers", id=id, email=f"p{number}@example.com", **({"created": 5} if number > 59 else {}))

    address, found = f"/teams/{owner.team_id}/explore/customers", []
    while address:
        page = owner.client.get(address, headers=BROWSER).text
        found += re.findall(r'explore/customers/(cus_\d+)"', page)
        older = re.search(r'<a rel="next" href="([^"]+)">Next</a>', page)
        address = older and older[1].replace("&amp;", "&")

    assert sorted(found) == sorted(ids)


def test_a_customer_is_found_by_their_email_whatever_its_case(owner, mirror):
    mirror("customers", id="cus_1", email="Ada@Example.com", created=1)
    mirror("customers", id="cus_2", email="bob@example.com", created=1)
    mirror("invoices", id="in_1", customer="cus_1", number="A-1", status="open", currency="jpy", total=1200, created=1)

    customers = owner.client.get(f"/teams/{owner.team_id}/explore/customers?find=ada@example.COM", headers=BROWSER).text
    invoices = owner.client.get(f"/teams/{owner.team_id}/explore/invoices?find=ada@example.com", headers=BROWSER).text

    assert ("cus_1" in customers, "cus_2" in customers) == (True, False)
    assert "1,200 JPY" in invoices


@pytest.mark.parametrize(
    ("table", "sent", "words", "unknown"),
    [
        ("prices", {"currency": "usd", "unit_amount": 0}, "0.00 USD", "unit_amount"),
        ("prices", {"currency": "jpy", "unit_amount": 0}, "0 JPY", "unit_amount"),
        (
            "prices",
            {"currency": "usd", "unit_amount": None, "unit_amount_decimal": "0.0"},
            "0.00 USD",
            "unit_amount_decimal",
        ),
        ("invoices", {"currency": "eur", "total": 0, "amount_remaining": 5}, "0.00 EUR", "total"),
        ("invoices", {"currency": "kwd", "total": 5, "amount_remaining": 0}, "0.000 KWD", "amount_remaining"),
        ("charges", {"currency": "usd", "amount": 5, "amount_refunded": 0}, "0.00 USD", "amount_refunded"),
        ("customers", {"currency": "usd", "balance": 0, "delinquent": True}, "0.00 USD", "balance"),
        ("customers", {"balance": 5, "delinquent": False, "name": "x", "email": "y"}, "no", "delinquent"),
        ("products", {"active": False, "name": "x", "description": "y"}, "no", "active"),
        ("subscriptions", {"items": {"data": [{"quantity": 0}]}, "current_period_end": 0}, "0", "items"),
        (
            "subscriptions",
            {"items": {"data": [{"quantity": 3}]}, "current_period_end": 0},
            "1 Jan 1970",
            "current_period_end",
        ),
    ],
)
def test_nothing_is_not_unknown(owner, mirror, table, sent, words, unknown):
    mirror(table, id="known", created=1, **sent)
    mirror(table, id="unknown", created=1, **{key: value for key, value in sent.items() if key != unknown})

    known, other = (
        re.findall(r"<dd>(.*?)</dd>", owner.client.get(f"/teams/{owner.team_id}/explore/{table}/{id}").text)
        for id in ("known", "unknown")
    )

    differs = [(re.sub("<.*?>", "", one), re.sub("<.*?>", "", two)) for one, two in zip(known, other, strict=True)]
    assert (words, "—") in differs


def test_pages_of_a_table_go_on_before_1970(owner, mirror):
    for number in range(60):
        mirror("customers", id=f"cus_{number:02}", created=-1000 - number)

    page = owner.client.get(f"/teams/{owner.team_id}/explore/customers", headers=BROWSER).text
    older = re.search(r'<a rel="next" href="([^"]+)">Next</a>', page)[1].replace("&amp;", "&")

    assert len(re.findall(r'explore/customers/(cus_\d+)"', owner.client.get(older, headers=BROWSER).text)) == 10


def test_what_stripe_sent_is_shown_as_text(owner, mirror):
    mirror("customers", id="cus_1", name="<script>alert(1)</script>", created=1)

    page = owner.client.get(f"/teams/{owner.team_id}/explore/customers/cus_1", headers=BROWSER).text

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize(
    "query",
    [
        *(
            "before=x",
            "after=9",
            "after=99999999999999:x",
            "before=-:x",
            "after=1:%00",
            "sort=x",
            "sort=-",
            "sort=-unit_amount&after=x:y",
        ),
        *(
            "find=%00",
            "product=%00",
            "status='",
            "active=2",
            "from=x",
            "to=9999-12-31",
            "from=0001-01-01",
            "least=x",
            "most=1e9",
        ),
    ],
)
def test_odd_addresses_do_no_harm(owner, mirror, query):
    answer = owner.client.get(f"/teams/{owner.team_id}/explore/prices?{query}", headers=BROWSER)

    assert answer.status_code in (200, 404)


@pytest.mark.parametrize(
    ("amount", "currency", "words"),
    [
        (123450, "eur", "1,234.50 EUR"),
        (1200, "jpy", "1,200 JPY"),
        (45500, "kwd", "45.500 KWD"),
        (100, "ugx", "1.00 UGX"),
        (-500, "usd", "\N{MINUS SIGN}5.00 USD"),
        (Decimal("0.05"), "usd", "0.0005 USD"),
        (Decimal("100.000"), "usd", "1.00 USD"),
        (0, "usd", "0.00 USD"),
        (0, "jpy", "0 JPY"),
        (0, "kwd", "0.000 KWD"),
        (Decimal("0.000"), "usd", "0.00 USD"),
        (Decimal("-0.0"), "eur", "0.00 EUR"),
        (0, None, "0.00"),
        (500, "JPY", "500 JPY"),
        (3_000_000_000, "vnd", "3,000,000,000 VND"),
        (None, "usd", "—"),
        (5, None, "0.05"),
    ],
)
def test_money_is_shown_in_its_currencys_own_units(amount, currency, words):
    assert money(amount, currency) == words


def test_durations_and_sentences_read_well():
    assert [duration(each) for each in (0.44, 61, 3725)] == ["0.4 s", "1 min 1 s", "1 h 2 min"]
    assert sentence("the key is bad: replace it") == "The key is bad: replace it."
