"""Stripe's search from the mirror: only where every reading of Stripe's documentation gives the same answer."""

import itertools
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from api.gateway import search_query, store
from api.projects.key_store import KeyStore, Scope
from sync.database.schema import schema_name
from tests.api.gateway.mirror_filling import AS_OF, connect_with_key, prove, put_objects
from tests.factories import charge, customer, invoice, price, product, subscription

ASKED_STRIPE = 502  # which nothing reaches here
TYPES = {"customer": customer, "charge": charge, "invoice": invoice, "product": product, "subscription": subscription}


@pytest.fixture
def team(app, owner, database):
    connect_with_key(app, database, owner.team_id, "sk_test_none")
    prove(database, owner.team_id, [*TYPES, "price"])
    yield owner.team_id
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def mirror(database, team):
    def put(table, *objects):
        database.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(schema_name(team), table)))
        put_objects(database, team, table, [json.dumps(each) for each in objects])

    return put


@pytest.fixture
def ask(team, client, database):
    _, raw = KeyStore(database).create_key(
        team, "k", project_id=None, scopes=[str(scope) for scope in Scope], expires_at=None
    )

    def get(table, query, **params):
        headers = {"Authorization": f"Bearer {raw}"}
        return client.get(f"/v1/{table}/search", query_string={"query": query, **params}, headers=headers)

    return get


def ids(answer):
    assert answer.status_code == 200, answer.json
    return [each["id"] for each in answer.json["data"]]


def test_an_answer_has_the_form_of_a_search_result(ask, mirror):
    mirror("customers", customer("cus_1", email="ada@example.com"), customer("cus_2", email="bob@example.com"))

    answer = ask("customers", "email:'ADA@example.com'")

    assert answer.json | {"data": ids(answer)} == {
        **{"object": "search_result", "data": ["cus_1"], "has_more": False, "next_page": None},
        "url": "/v1/customers/search",
    }
    assert answer.headers["X-BillStack-Source"] == "mirror"


ANSWERED = [
    ("customer", "created>5 AND created<=9"),
    ("customer", "metadata['a b']:\"x_%y\" created:'7'"),
    ("charge", 'amount>=1000 AND currency:"EUR" and status:"succeeded"'),
    ("charge", 'customer:"cus_9" AND disputed:"true"'),
    ("invoice", "total>-5 AND status:'open' subscription:'sub_1'"),
    ("invoice", "status:'open' OR status:'PAID'"),
    ("product", 'active:"true"'),
    ("subscription", 'status:"active" AND created>1'),
]
NOT_ANSWERED = [
    *(
        ("customer", text)
        for text in ("", "x", "email:amy", "email~'amy'", "-email:'a@b'", "email:null", "email:'null'")
    ),
    *(("customer", text) for text in ("name:'amy'", "phone:'1'", "metadata:'a'", "metadata['a']:null", "created:'x'")),
    *(("customer", text) for text in ("metadata['a']>'5'", "email>'a@b'", "created>1.5", "created~1", "created>")),
    *(
        ("customer", text)
        for text in ("email:'a'", "email:'a@b' OR created>1", "email:'a@b' AND", "(created>1)", "é:'1'")
    ),
    *(
        ("customer", text)
        for text in ("email:'a@b' email:'c@d'", "metadata['a']:'\\''", "email:'amé@b'", "email:' a@b'")
    ),
    *(("customer", " ".join(["created>1"] * 11)), ("customer", "created>1 AND created>2 OR created>3")),
    *(
        ("charge", text)
        for text in ("status:'gone'", "refunded:'true'", "currency:'euro'", "customer:'Gold'", "last4:4242")
    ),
    *(("charge", text) for text in ("customer:'cus_1' customer:'cus_2'", "payment_method_details.card.last4:4242")),
    *(
        ("invoice", text)
        for text in ("number:'A-1'", "status>'open'", "subscription:'sub 1'", "status:'open' OR total>1")
    ),
    *(("product", text) for text in ("name:'x'", "shippable:'true'", "active:'yes'", "url:'x'", "description:'a'")),
    *(("subscription", text) for text in ("canceled_at>1", "status:active")),
    *(("price", text) for text in ("active:'true'", "product:'prod_1'", "metadata['a']:'b'")),
    ("coupon", "metadata['a']:'b'"),
]


@pytest.mark.parametrize(("type_name", "text"), ANSWERED)
def test_queries_of_exact_clauses_are_read(type_name, text):
    assert search_query.read(type_name, text)


@pytest.mark.parametrize(("type_name", "text"), NOT_ANSWERED)
def test_all_others_are_left_to_stripe(type_name, text):
    with pytest.raises(search_query.Unanswerable):
        search_query.read(type_name, text)


def test_numbers_tokens_and_ids_compare_as_documented(ask, mirror):
    mirror(
        "charges",
        *(
            charge(
                f"ch_{at}", amount=at, currency="usd", status="failed" if at == 2 else "succeeded", created=AS_OF + at
            )
            for at in range(4)
        ),
        charge("ch_9", amount=2, currency="eur", customer="cus_9"),
    )

    assert ids(ask("charges", "amount:2 AND currency:'USD'")) == ["ch_2"]
    assert ids(ask("charges", "amount>1 amount<3 currency:'usd'")) == ["ch_2"]
    assert ids(ask("charges", f"created>={AS_OF + 1} AND created<{AS_OF + 3}")) == ["ch_2", "ch_1"]
    assert ids(ask("charges", "status:'FAILED'")) == ["ch_2"]
    assert ids(ask("charges", "customer:'cus_9' amount:2")) == ["ch_9"]
    assert ids(ask("charges", "created>999999999999999")) == []
    assert ids(ask("charges", "created<-999999999999999 AND amount>-1")) == []


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_more_results_than_a_page_are_stripes_to_order(ask, mirror, limit):
    mirror("products", *(product(f"prod_{at}", active=False) for at in range(3)))

    status = ask("products", "active:'false'", limit=limit).status_code

    assert status == (200 if limit >= 3 else ASKED_STRIPE)


@pytest.mark.parametrize("params", [{"page": "abc"}, {"expand[]": "total_count"}, {"x": 1}, {"expand[]": "customer"}])
def test_other_parameters_are_stripes(ask, mirror, params):
    mirror("products")

    assert ask("products", "active:'false'", **params).status_code == ASKED_STRIPE


def test_what_stripe_refuses_is_refused(ask, mirror):
    assert ask("products", "active:'false'", limit=0).status_code == 400


DOUBTFUL = {
    "words of the address in a longer one": ("customers", customer("cus_2", email="amy.smith@rocketrides.io"), 1),
    "the address within another": ("customers", customer("cus_2", email="jo@x.io,amy@rocketrides.io.uk"), 1),
    "a letter that could be folded": ("customers", customer("cus_2", email="ámy@rocketrides.io"), 1),
    "no such words": ("customers", customer("cus_2", email="io@rocketrides.amy"), 0),
    "no address": ("customers", customer("cus_2", email=None), 0),
    "part of a longer word": ("customers", customer("cus_2", email="xamy@rocketrides.io"), 0),
    "the address and more": ("customers", customer("cus_2", email="amy@rocketrides.io.example"), 1),
    "any letter outside ASCII": ("customers", customer("cus_2", email="zoë@elsewhere.io"), 1),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_an_address_that_could_also_match_leaves_it_to_stripe(ask, mirror, name):
    table, other, is_doubtful = DOUBTFUL[name]
    mirror(table, customer("cus_1", email="Amy@rocketrides.io"), other)

    answer = ask("customers", "email:'amy@rocketrides.io'")

    assert answer.status_code == (ASKED_STRIPE if is_doubtful else 200)


@pytest.mark.parametrize(
    ("metadata", "is_doubtful"),
    [
        ({"Plan": "gold"}, 1),
        ({"plan": "gold "}, 0),
        ({"plan": "GOLD"}, 0),
        ({"plans": "gold"}, 0),
        ({"a": '"plan": "gold"'}, 0),
    ],
)
def test_metadata_whose_key_differs_in_case_leaves_it_to_stripe(ask, mirror, metadata, is_doubtful):
    mirror("customers", customer("cus_1", metadata={"plan": "gold"}), customer("cus_2", metadata=metadata))

    answer = ask("customers", "metadata['plan']:'gold'")

    assert answer.status_code == (ASKED_STRIPE if is_doubtful else 200)


def test_test_clocks_and_canceled_subscriptions_that_nobody_asked_for_are_left_to_stripe(ask, mirror):
    mirror("subscriptions", subscription("sub_1", status="canceled", metadata={"a": "b"}))
    assert ask("subscriptions", "metadata['a']:'b'").status_code == ASKED_STRIPE
    assert ids(ask("subscriptions", "metadata['a']:'b' AND status:'canceled'")) == ["sub_1"]

    mirror("subscriptions", subscription("sub_1", test_clock="clock_1"))
    assert ask("subscriptions", "status:'active'").status_code == ASKED_STRIPE


def test_a_large_table_is_read_by_index_only(ask, mirror, monkeypatch):
    mirror("charges", charge("ch_1", customer="cus_1"))
    monkeypatch.setattr(store, "_MOST_BYTES_READ", 0)

    assert ask("charges", "currency:'usd'").status_code == ASKED_STRIPE
    assert ids(ask("charges", "customer:'cus_1'")) == ["ch_1"]


def test_search_of_prices_is_stripes(ask, mirror):
    mirror("prices", price("price_1"))

    assert ask("prices", "active:'true'").status_code == ASKED_STRIPE


def test_before_the_type_was_read_there_is_no_answer(ask, mirror, database):
    database.execute("DELETE FROM billstack.type_proofs WHERE type = 'product'")

    assert ask("products", "active:'true'").status_code == ASKED_STRIPE


# Every reading of the documentation -----------------------------------------------------------------------------------

PARTS = ["amy", "Amy", "bo", "x", "io", "a", "1", "12"]
SEPARATORS = ["", ".", "-", "_", "+", "@", "@", "é"]
EMAILS = st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from(SEPARATORS)), min_size=1, max_size=4).map(
    lambda parts: "".join(itertools.chain(*parts))
)
METADATA = st.dictionaries(
    st.sampled_from(["k", "K", "kk", '"k"']), st.sampled_from(["v", "V", "vv", "v v", 'v"', "v\\"])
)
# How Stripe may cut a text into words.
WORDS = [r"[a-z0-9]+", r"\w+", r"[^\s@]+", r"[^\s]+", r"[a-z0-9.]+", r"[a-z]+|[0-9]+"]


def has_words(text, wanted, *, pattern, together):
    words, asked = re.findall(pattern, text.lower()), re.findall(pattern, wanted.lower())
    if together:
        return any(words[at : at + len(asked)] == asked for at in range(len(words) + 1))
    rest = iter(words)
    return all(any(each == word for each in rest) for word in asked)


def readings(email, metadata):
    """What may match, for each way of reading the documentation."""
    for pattern, together, keys_have_case, folds in itertools.product(
        WORDS, (True, False), (True, False), (True, False)
    ):

        def holds(each, pattern=pattern, together=together, keys_have_case=keys_have_case, folds=folds):
            text = (each["email"] or "").replace("é", "e" if folds else "é")
            of_case = str if keys_have_case else str.lower
            found = {(of_case(key), value.lower()) for key, value in each["metadata"].items()}
            return (not email or has_words(text, email, pattern=pattern, together=together)) and (
                not metadata or (of_case(metadata[0]), metadata[1].lower()) in found
            )

        yield holds


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    people=st.lists(st.tuples(EMAILS | st.none(), METADATA), max_size=5),
    email=EMAILS.filter(lambda text: "@" in text) | st.none(),
    metadata=st.tuples(st.sampled_from(["k", "K", "kk"]), st.sampled_from(["v", "V", "vv", "v v"])) | st.none(),
)
def test_an_answer_is_right_however_the_documentation_is_read(ask, mirror, people, email, metadata):
    objects = [customer(f"cus_{at}", email=each, metadata=more) for at, (each, more) in enumerate(people)]
    mirror("customers", *objects)
    clauses = [f"email:'{email}'"] if email else []
    clauses += [f"metadata['{metadata[0]}']:'{metadata[1]}'"] if metadata else []

    answer = ask("customers", " AND ".join(clauses))

    assert answer.status_code in (200, ASKED_STRIPE)
    if answer.status_code == 200:
        for holds in readings(email, metadata):
            assert set(ids(answer)) == {each["id"] for each in objects if holds(each)}


def test_most_searches_by_address_are_answered(ask, mirror):
    mirror("customers", *(customer(f"cus_{at}", email=f"person{at}@shop{at}.example.com") for at in range(50)))

    assert all(
        ids(ask("customers", f"email:'person{at}@shop{at}.example.com'")) == [f"cus_{at}"] for at in range(0, 50, 7)
    )
