"""Search from every page: by the id of any object, a customer's address or name, or an invoice's number."""

import html
import json
import re

import pytest

from sync.object_types import BY_STRIPE_OBJECT, OBJECT_TYPES
from tests.api.gateway.mirror_filling import connect_team, put_objects, put_tombstone
from tests.factories import customer, invoice

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def team(owner, database):
    """An owner whose team has an empty mirror."""
    connect_team(database, owner.team_id)
    yield owner
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def put(team, database):
    def write(*objects):
        for each in objects:
            put_objects(database, team.team_id, BY_STRIPE_OBJECT[each["object"]].table, [json.dumps(each)])

    return write


@pytest.fixture
def answer(team):
    return lambda text, path="search": team.client.get(
        f"/teams/{team.team_id}/{path}", query_string={"q": text}, headers=BROWSER
    )


@pytest.fixture
def found(answer):
    """The ids of what was found, in order; one that is alone has a page to which the search leads."""

    def search(text):
        answered = answer(text)
        if answered.status_code == 302:
            return [answered.headers["Location"].rpartition("/")[2]]
        hits = re.search(r'<ul class="hits".*?</ul>', answered.text, re.DOTALL)
        return re.findall(r'href="/teams/\w+/explore/\w+/([^"]+)"', html.unescape(hits[0])) if hits else []

    return search


@pytest.mark.parametrize(
    "text", ["ada@example.com", "ADA@EX", "  ada@ ", "Ada Love", "lovelace", "LOVE", "cus_ada"], ids=str.strip
)
def test_a_customer_is_found_by_the_beginning_of_address_or_name(found, put, text):
    put(
        customer("cus_ada", email="Ada@Example.com", name="Ada Lovelace"),
        customer("cus_bob", email="bob@example.com", name="Bob Ada%"),
    )

    assert found(text) == ["cus_ada"]


def test_an_invoice_is_found_by_its_number(found, put):
    put(invoice("in_1", number="ABCD-0001"), invoice("in_2", number="ABCD-0002"))

    assert found("abcd-0002") == ["in_2"]
    assert found("ABCD") == ["in_1", "in_2"]


@pytest.mark.parametrize("name", OBJECT_TYPES)
def test_an_object_of_any_type_is_found_by_its_id(found, team, database, name):
    put_objects(database, team.team_id, OBJECT_TYPES[name].table, [json.dumps({"id": "any shape", "object": name})])

    assert found("any shape") == ["any%20shape"]


def test_an_id_comes_before_what_only_begins_like_it(found, put):
    put(customer("cus_1", email="cus_2@example.com"), customer("cus_2"))

    assert found("cus_2") == ["cus_2", "cus_1"]


def test_wildcards_and_quotes_are_letters(found, put):
    put(customer("cus_1", email="ada@example.com", name="Ada"))

    assert [found(text) for text in ("a%", "_da", "a\\", "'", '"', "\0", "\U0010ffff")] == [[]] * 7


def test_letters_of_any_language_are_found_in_both_cases(found, put):
    put(customer("cus_1", name="Ünal Öz"), customer("cus_2", name="中村 花子"))

    assert found("ünal") == ["cus_1"]
    assert found("öz") == ["cus_1"]
    assert found("中") == ["cus_2"]


def test_a_deleted_customer_is_found_and_marked(answer, put, team, database):
    put(customer("cus_1", email="ada@example.com"))
    put_tombstone(database, team.team_id, customer("cus_2", email="ada@example.com"))

    assert answer("ada").text.count('<span class="badge">deleted</span>') == 1


def test_many_are_cut(answer, found, put):
    put(*(customer(f"cus_{number}", email=f"person{number:02}@example.com") for number in range(30)))

    assert len(found("person")) == 20
    assert "These are the first 20" in answer("person").text


def test_a_name_may_be_as_long_as_postgres_index_entries_are_not(put, found):
    put(customer("cus_1", name="Ada " + "x" * 10_000))

    assert found("ada xx") == ["cus_1"]


def test_the_field_keeps_what_was_searched_and_works_as_a_form(answer, team):
    page = answer('"><script>').text

    assert f'action="/teams/{team.team_id}/search"' in page
    assert 'value="&#34;&gt;&lt;script&gt;"' in page
    assert "Nothing in the mirror matches." in page
    assert "Press <kbd>/</kbd>" in answer(" ").text


def test_another_teams_objects_are_not_found(team, put, new_member, database):
    put(customer("cus_1", email="ada@example.com"))
    stranger = new_member()
    connect_team(database, stranger.team_id)

    theirs = stranger.client.get(f"/teams/{stranger.team_id}/search?q=cus_1", headers=BROWSER)
    database.execute(f'DROP SCHEMA "stripe_{stranger.team_id}" CASCADE')

    assert "Nothing in the mirror matches." in theirs.text
    assert stranger.client.get(f"/teams/{team.team_id}/search?q=cus_1", headers=BROWSER).status_code == 404


def test_a_team_without_a_mirror_finds_nothing(owner):
    assert "Nothing in the mirror" in owner.client.get(f"/teams/{owner.team_id}/search?q=x", headers=BROWSER).text
