"""Whoever asks for the newest object gets Stripe's, also where two share its second, or the mirror's if Stripe gives none."""

import json
from dataclasses import replace

import pytest

from api.http.context import EXTENSION
from api.projects.key_store import KeyStore, Scope
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from sync.teams.secrets import SECRET_KEY
from tests.api.gateway.mirror_filling import AS_OF, connect_with_key, prove, put_objects
from tests.factories import charge, customer, price

ALL = tuple(Scope)


@pytest.fixture(scope="module")
def stripe(sandbox):
    sandbox.add_account("demo", scale=0.01)
    return sandbox


@pytest.fixture
def settings(settings, stripe):
    return replace(settings, stripe_api_base=stripe.url)


@pytest.fixture
def team(app, owner, database):
    """Charges that Stripe does not have, so that an answer shows where it is from."""
    connect_with_key(app, database, owner.team_id, "sk_test_demo")
    prove(database, owner.team_id, ["charge", "customer"])
    charges = [charge("ch_a", created=AS_OF), charge("ch_b", created=AS_OF)]
    charges += [charge("ch_c", created=AS_OF + 5, customer="cus_7"), charge("ch_d", created=AS_OF, customer="cus_7")]
    put_objects(database, owner.team_id, "charges", [json.dumps(each) for each in charges])
    put_objects(database, owner.team_id, "customers", [json.dumps(customer(f"cus_{at}")) for at in range(2)])
    yield owner.team_id
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def ask(team, client, database):
    def get(path, *scopes):
        names = [str(scope) for scope in scopes]
        _, raw = KeyStore(database).create_key(team, "k", project_id=None, scopes=names, expires_at=None)
        return client.get(path, headers={"Authorization": f"Bearer {raw}"})

    return get


def source(answer):
    assert answer.status_code == 200, answer.json
    return answer.headers["X-BillStack-Source"]


TIED = f"/v1/charges?limit=1&created[lte]={AS_OF}"


def test_two_of_one_second_are_stripes_to_tell_apart(ask):
    assert source(ask(TIED, *ALL)) == "stripe"
    assert source(ask("/v1/customers?limit=1", *ALL)) == "stripe"


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/charges?limit=1", "/v1/charges?limit=1&customer=cus_7", f"/v1/charges?limit=2&created[lte]={AS_OF}"),
        *(f"{TIED}&starting_after=ch_b", "/v1/charges?limit=1&customer=cus_none"),
    ],
)
def test_where_there_is_no_doubt_the_mirror_answers(ask, path):
    assert source(ask(path, *ALL)) == "mirror"


@pytest.fixture
def keep_places(team, database):
    store = MirrorStore(database, team)
    return lambda *ids: store.keep_order(
        OBJECT_TYPES["charge"], {each: (AS_OF, rank) for rank, each in enumerate(ids, start=1)}
    )


def test_where_stripe_has_listed_the_second_the_mirror_answers(ask, keep_places):
    keep_places("ch_b", "ch_d", "ch_a")

    answer = ask(TIED, *ALL)

    assert (source(answer), [each["id"] for each in answer.json["data"]]) == ("mirror", ["ch_b"])


def test_beside_one_that_stripe_has_not_listed_it_is_stripes(ask, keep_places):
    keep_places("ch_b", "ch_d")

    assert source(ask(TIED, *ALL)) == "stripe"


def test_two_plans_of_one_second_are_stripes_to_tell_apart(ask, team, database):
    shape = {"billing_scheme": "per_unit", "nickname": None, "livemode": False, "tiers_mode": None}
    shape |= {"transform_quantity": None, "created": AS_OF}
    every = {"interval": "month", "interval_count": 1, "trial_period_days": None, "usage_type": "licensed"}
    prices = [price(f"plan_{at}", recurring=every, **shape) for at in range(2)]
    put_objects(database, team, "prices", [json.dumps(each) for each in prices])
    prove(database, team, ["price"])
    path = "/v1/plans?active=true&limit="

    assert (source(ask(f"{path}2", *ALL)), source(ask(f"{path}1", *ALL))) == ("mirror", "stripe")
    MirrorStore(database, team).keep_order(OBJECT_TYPES["price"], {"plan_0": (AS_OF, 1), "plan_1": (AS_OF, 2)})
    answer = ask(f"{path}1", *ALL)
    assert (source(answer), answer.json["data"][0]["id"]) == ("mirror", "plan_0")


def test_a_page_of_one_says_whether_there_are_more(ask):
    alone = ask(f"/v1/charges?limit=1&created[gte]={AS_OF + 1}", *ALL)
    more = ask("/v1/charges?limit=1", *ALL)

    assert [each["id"] for each in alone.json["data"]] == [each["id"] for each in more.json["data"]] == ["ch_c"]
    assert (alone.json["has_more"], more.json["has_more"]) == (False, True)


def test_a_key_that_may_not_ask_stripe_gets_the_mirrors(ask):
    answer = ask(TIED, Scope.READ_INVOICES)

    assert (source(answer), answer.json["has_more"]) == ("mirror", True)
    assert [each["id"] for each in answer.json["data"]] == ["ch_d"]


@pytest.mark.parametrize("fault", ["500", "429", "reset", "hang"])
def test_reads_go_on_while_stripe_is_down(ask, stripe, fault):
    stripe.call("PUT", "faults", faults=[{"kind": fault, "share": 1}])
    try:
        assert source(ask(TIED, *ALL)) == "mirror"
    finally:
        stripe.call("DELETE", "faults")


def test_what_stripe_refuses_to_the_teams_key_is_the_mirrors(ask, team, app, database, stripe):
    key = stripe.sandbox.restrict("demo", frozenset(("rak_customer_read",)))
    box = app.extensions[EXTENSION].box
    sealed = box.seal(key, team_id=team, use=SECRET_KEY)
    database.execute("UPDATE billstack.connections SET secret_key = %s", (sealed,))

    assert source(ask(TIED, *ALL)) == "mirror"
