"""Plans from the mirror's prices: exactly as Stripe has them, or Stripe is asked."""

import json

import pytest

from api.gateway.errors import OnlyStripeCan
from api.gateway.plans import plan_of
from api.projects.key_store import KeyStore, Scope
from tests.api.gateway.mirror_filling import AS_OF, connect_with_key, prove, put_objects, put_tombstone
from tests.factories import price, product

MONTHLY = {"interval": "month", "interval_count": 1, "meter": None, "trial_period_days": None, "usage_type": "licensed"}
ASKED_STRIPE = 502  # which nothing reaches here


WHOLE = {
    "billing_scheme": "per_unit",
    "livemode": False,
    "nickname": None,
    "tiers_mode": None,
    "transform_quantity": None,
}


def recurring(id, created=AS_OF, **facts):
    every = MONTHLY | facts.pop("recurring", {})
    return price(id, created=created, type="recurring", recurring=every, **WHOLE | facts)


def once(id, created=AS_OF):
    return price(id, created=created, type="one_time", recurring=None, **WHOLE)


@pytest.fixture
def team(app, owner, database):
    connect_with_key(app, database, owner.team_id, "sk_test_none")
    prove(database, owner.team_id, ["price", "product"])
    put_objects(database, owner.team_id, "products", [json.dumps(product("prod_1"))])
    yield owner.team_id
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def mirror(database, team):
    def put(*prices):
        put_objects(database, team, "prices", [json.dumps(each) for each in prices])

    return put


@pytest.fixture
def ask(team, client, database):
    def get(path, *scopes):
        names = [str(scope) for scope in scopes or Scope]
        _, raw = KeyStore(database).create_key(team, "k", project_id=None, scopes=names, expires_at=None)
        return client.get(path, headers={"Authorization": f"Bearer {raw}"})

    return get


def ids(answer):
    assert answer.status_code == 200, answer.json
    return [each["id"] for each in answer.json["data"]]


# The shape ------------------------------------------------------------------------------------------------------------


def test_a_plan_has_what_stripes_documentation_shows():
    """https://docs.stripe.com/api/plans/object"""
    of_docs = {
        **{"id": "plan_NjpIbv3g3ZibnD", "object": "plan", "active": True, "amount": 1200, "amount_decimal": "1200"},
        **{"billing_scheme": "per_unit", "created": 1681851647, "currency": "usd", "interval": "month"},
        **{"interval_count": 1, "livemode": False, "metadata": {}, "nickname": None, "product": "prod_NjpI7DbZx6AlWQ"},
        **{"tiers_mode": None, "transform_usage": None, "trial_period_days": None, "usage_type": "licensed"},
    }
    its_price = {
        **{"id": "plan_NjpIbv3g3ZibnD", "object": "price", "active": True, "unit_amount": 1200},
        **{"unit_amount_decimal": "1200", "billing_scheme": "per_unit", "created": 1681851647, "currency": "usd"},
        **{"custom_unit_amount": None, "livemode": False, "lookup_key": None, "metadata": {}, "nickname": None},
        **{"product": "prod_NjpI7DbZx6AlWQ", "tax_behavior": "unspecified", "tiers_mode": None, "type": "recurring"},
        **{"transform_quantity": None},
        "recurring": {"interval": "month", "interval_count": 1, "trial_period_days": None, "usage_type": "licensed"},
    }

    assert plan_of(its_price) == of_docs
    older = its_price | {"recurring": its_price["recurring"] | {"aggregate_usage": "sum"}}
    assert plan_of(older) == of_docs | {"aggregate_usage": "sum"}
    newer = its_price | {"recurring": its_price["recurring"] | {"meter": "mtr_1"}}
    assert plan_of(newer) == of_docs | {"meter": "mtr_1"}


def test_tiers_packages_trials_and_fractions_are_the_prices():
    tiers = [
        {"flat_amount": 5, "flat_amount_decimal": "5", "unit_amount": 1, "unit_amount_decimal": "1", "up_to": None}
    ]
    rule = {"divide_by": 10, "round": "up"}
    of_price = recurring(
        "gold",
        **{"unit_amount": None, "unit_amount_decimal": "0.5", "transform_quantity": rule, "tiers": tiers},
        **{"billing_scheme": "tiered", "tiers_mode": "volume", "nickname": "Gold", "metadata": {"a": "b"}},
        recurring={"trial_period_days": 7, "usage_type": "metered", "interval": "week", "interval_count": 3},
    )

    plan = plan_of(of_price, shows_tiers=True)

    assert (plan["amount"], plan["amount_decimal"], plan["transform_usage"]) == (None, "0.5", rule)
    assert (plan["tiers"], plan["tiers_mode"], plan["billing_scheme"]) == (tiers, "volume", "tiered")
    assert (plan["trial_period_days"], plan["usage_type"]) == (7, "metered")
    assert (plan["interval"], plan["interval_count"]) == ("week", 3)
    assert (plan["nickname"], plan["metadata"]) == ("Gold", {"a": "b"})
    assert "tiers" not in plan_of(of_price)


@pytest.mark.parametrize("missing", ["unit_amount_decimal", "tiers_mode", "product", "transform_quantity", "nickname"])
def test_a_price_that_lacks_a_field_makes_no_plan(missing):
    of_price = recurring("gold")
    of_price.pop(missing)

    with pytest.raises(OnlyStripeCan, match="has no"):
        plan_of(of_price)


@pytest.mark.parametrize("every", [None, {"interval": "month", "interval_count": 1, "usage_type": "licensed"}])
def test_one_that_does_not_say_how_it_recurs_makes_none_either(every):
    with pytest.raises(OnlyStripeCan):
        plan_of(recurring("gold") | {"recurring": every})


# One plan -------------------------------------------------------------------------------------------------------------


def test_a_plan_is_its_price_and_needs_its_scope(ask, mirror):
    mirror(recurring("gold", nickname="Gold"), recurring("price_2"))

    assert ask("/v1/plans/gold", Scope.READ_PRODUCTS).json["nickname"] == "Gold"
    assert ask("/v1/plans/price_2?expand[]=product").json["product"]["object"] == "product"
    assert ask("/v1/plans/gold", Scope.READ_CUSTOMERS).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/plans/price_once", "/v1/plans/price_none", "/v1/prices/price_none", "/v1/plans/gold/x", "/v1/plans/"),
        *("/v1/plans/gold?expand[]=currency_options", "/v1/plans/gold?expand[]=tiers", "/v1/plans/gold?x=1"),
    ],
)
def test_what_the_mirror_cannot_tell_of_a_plan_is_stripes(ask, mirror, path):
    mirror(recurring("gold"), once("price_once"))

    assert ask(path).status_code == ASKED_STRIPE


def test_a_deleted_plan_is_gone(ask, database, team):
    put_tombstone(database, team, recurring("gold"))

    gone = ask("/v1/plans/gold")

    assert (gone.status_code, gone.json["error"]["message"]) == (404, "No such plan: 'gold'")
    assert ask("/v1/prices/gold").status_code == 404


@pytest.mark.parametrize("path", ["/v1/plans", "/v1/plans/gold"])
def test_before_the_prices_were_read_there_is_no_answer(ask, mirror, database, path):
    mirror(recurring("gold"))
    database.execute("DELETE FROM billstack.type_proofs WHERE type = 'price'")

    assert ask(path, Scope.READ_PRODUCTS).status_code == 503


def test_an_api_version_from_before_prices_is_stripes(ask, mirror, database):
    mirror(recurring("gold"))
    database.execute("UPDATE billstack.connections SET api_version = '2019-12-03'")

    assert ask("/v1/plans/gold").status_code == ask("/v1/plans").status_code == ASKED_STRIPE


# Lists ----------------------------------------------------------------------------------------------------------------


def test_a_list_has_recurring_prices_newest_first(ask, mirror):
    mirror(*(recurring(f"plan_{at}", AS_OF + at) for at in range(5)), once("once", AS_OF + 9))

    page = ask("/v1/plans?limit=2")

    assert (ids(page), page.json["has_more"], page.json["url"]) == (["plan_4", "plan_3"], True, "/v1/plans")
    assert ids(ask("/v1/plans?limit=3&starting_after=plan_3")) == ["plan_2", "plan_1", "plan_0"]
    before = ask("/v1/plans?limit=2&ending_before=plan_1")
    assert (ids(before), before.json["has_more"]) == (["plan_3", "plan_2"], True)
    assert ids(ask(f"/v1/plans?created[lt]={AS_OF + 1}")) == ["plan_0"]


IN_DOUBT = [recurring("price_inline"), recurring("plan_off", active=False)]


@pytest.mark.parametrize("odd", IN_DOUBT, ids=["maybe inline", "inactive"])
@pytest.mark.parametrize("at", range(4))
def test_a_page_that_meets_a_doubtful_plan_is_stripes(ask, mirror, odd, at):
    """Also as the one after the page, which decides whether there are more, and as the cursor."""
    sure = [recurring(f"plan_{number}", AS_OF + number * 10) for number in range(5)]
    mirror(*sure, odd | {"created": AS_OF + at * 10 + 5})
    newest_first = sorted([*sure, odd | {"created": AS_OF + at * 10 + 5}], key=lambda each: -each["created"])
    place = [each["id"] for each in newest_first].index(odd["id"])

    for limit in range(1, 6):
        meets = place <= limit  # the one after the page counts
        assert ask(f"/v1/plans?limit={limit}").status_code == (ASKED_STRIPE if meets else 200), limit
    assert ask(f"/v1/plans?starting_after={odd['id']}").status_code == ASKED_STRIPE
    assert ask(f"/v1/plans?ending_before={odd['id']}").status_code == ASKED_STRIPE


def test_active_says_whether_inactive_ones_are_wanted(ask, mirror):
    mirror(recurring("on"), recurring("off", active=False))

    assert ids(ask("/v1/plans?active=true")) == ["on"]
    assert ids(ask("/v1/plans?active=false")) == ["off"]


def test_what_price_data_cannot_make_is_certain_whatever_its_id(ask, mirror):
    mirror(
        recurring("price_tiers", billing_scheme="tiered"),
        recurring("price_metered", recurring={"usage_type": "metered"}),
        recurring("price_trial", recurring={"trial_period_days": 3}),
    )

    assert len(ids(ask("/v1/plans"))) == 3


@pytest.mark.parametrize("query", ["type=recurring", "currency=usd", "lookup_keys[]=a", "starting_after=plan_none"])
def test_other_filters_and_unknown_cursors_are_stripes(ask, mirror, query):
    mirror(recurring("plan_1"))

    assert ask(f"/v1/plans?{query}").status_code == ASKED_STRIPE
