"""What an answer embeds is the mirror's own; what only looks like an embedded object is left alone."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.gateway.expand import are_current, renew
from sync.object_types import OBJECT_TYPES

TODAY = {
    "price": {"price_1": {"id": "price_1", "object": "price", "active": False, "nickname": "new", "metadata": {}}},
    "coupon": {"co_1": {"id": "co_1", "object": "coupon", "name": "new"}},
}
TYPES = ("price", "coupon")
SUBSCRIPTION = OBJECT_TYPES["subscription"]


@pytest.fixture
def asked():
    """The types and ids of all look-ups."""
    return []


@pytest.fixture
def find(asked):
    def look_up(object_type, ids):
        asked.append((object_type.name, list(ids)))
        known = TODAY[object_type.name]
        return {each: (json.dumps(known[each]).encode(), False) for each in ids if each in known}

    return look_up


def copy_of(kind, **fields):
    return {"id": {"price": "price_1", "coupon": "co_1", "plan": "price_1"}[kind], "object": kind, **fields}


def test_copies_of_all_kinds_are_renewed_at_any_depth_with_one_look_up_a_type(find, asked):
    answer = {
        "id": "sub_1",
        "object": "subscription",
        "items": {
            "object": "list",
            "data": [{"price": copy_of("price"), "plan": copy_of("plan", active=True, amount=5)}],
        },
        "discounts": [{"object": "discount", "coupon": copy_of("coupon", name="old")}, [{"price": copy_of("price")}]],
        "plans": [copy_of("plan", nickname="old")],
    }

    renew([answer], TYPES, find)

    item = answer["items"]["data"][0]
    assert item["price"] == answer["discounts"][1][0]["price"] == TODAY["price"]["price_1"]
    assert item["plan"] == copy_of("plan", active=False, amount=5, nickname="new", metadata={})
    assert answer["plans"][0]["nickname"] == "new"
    assert answer["discounts"][0]["coupon"] == TODAY["coupon"]["co_1"]
    assert sorted(asked) == [("coupon", ["co_1"]), ("price", ["price_1"])]


@pytest.mark.parametrize(
    "holder",
    [
        {"metadata": {"object": "price", "id": "price_1"}},
        {"metadata": {"price": copy_of("price")}},
        {"price": {"object": ["price"], "id": "price_1"}},
        {"price": {"object": {"object": "price"}, "id": "price_1"}},
        {"price": {"object": "price", "id": None}},
        {"price": {"object": "price"}},
        {"price": copy_of("price") | {"id": "price_unknown"}},
        {"price": "price_1", "object_of": None, "amounts": [1, [2.5, "price"]]},
        {"tier": {"object": "product", "id": "price_1"}},
    ],
)
def test_nothing_else_changes(find, holder):
    answer = {"id": "in_1", "object": "invoice", "lines": [{"deep": holder}]}
    before = json.dumps(answer)

    renew([answer], TYPES, find)

    assert json.dumps(answer) == before


def test_a_type_for_which_the_mirror_cannot_vouch_is_left_as_it_is(find, asked):
    answer = {"id": "sub_1", "price": copy_of("price"), "plan": copy_of("plan"), "coupon": copy_of("coupon")}

    renew([answer], ["coupon", "customer"], find)

    assert (answer["price"], answer["plan"]) == (copy_of("price"), copy_of("plan"))
    assert answer["coupon"] == TODAY["coupon"]["co_1"]
    assert asked == [("coupon", ["co_1"])]


def as_postgres_writes(value):
    """jsonb as text, in UTF-8."""

    def in_order(value):
        if isinstance(value, dict):
            return {
                key: in_order(value[key]) for key in sorted(value, key=lambda key: (len(key.encode()), key.encode()))
            }
        return [in_order(each) for each in value] if isinstance(value, list) else value

    return json.dumps(in_order(value), ensure_ascii=False).encode()


def of_today(object_type, ids):
    rows = TODAY[object_type.name] | {"price_gone": {"id": "price_gone", "object": "price"}}
    return {each: (as_postgres_writes(rows[each]), each == "price_gone") for each in ids if each in rows}


PRICE, COUPON = TODAY["price"]["price_1"], TODAY["coupon"]["co_1"]
PLAN = copy_of("plan", active=False, amount=5, interval="year", nickname="new", metadata={})


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"price": PRICE, "plan": PLAN, "coupons": [COUPON, COUPON]}, True),
        ({"price": "price_1", "amounts": [1, [2.5, "price"]]}, True),
        ({"price": PRICE | {"nickname": "old"}}, False),
        ({"price": PRICE | {"more": 1}}, False),
        ({"price": PRICE | {"id": "price_unknown"}}, False),
        ({"price": {"id": "price_gone", "object": "price"}}, False),
        ({"coupon": COUPON | {"name": "old"}}, False),
        ({"plan": PLAN | {"active": True}}, False),
        ({"plan": PLAN | {"nickname": None}}, False),
        ({"plan": PLAN | {"metadata": {"a": "b"}}}, False),
        ({"plan": copy_of("plan")}, False),
        ({"price": PRICE, "prices": [PRICE, PRICE | {"active": True}]}, False),
        ({"price": {"id": "price_2", "a": PRICE, "object": "price"}}, False),
    ],
)
def test_whether_copies_are_current_is_told_by_the_text(item, expected):
    body = as_postgres_writes({"id": "sub_1", "object": "subscription", "items": {"object": "list", "data": [item]}})

    assert are_current(SUBSCRIPTION, [body], TYPES, of_today) is expected


def test_of_the_renewed_types_themselves_no_look_up_is_made():
    body = as_postgres_writes(PRICE)

    assert are_current(OBJECT_TYPES["price"], [body, body], TYPES, find=None)


@pytest.mark.parametrize("inside", [PRICE, PLAN])
def test_a_price_inside_of_a_price_is_looked_at_closely(inside):
    bodies = [as_postgres_writes(PRICE), as_postgres_writes(PRICE | {"inside": inside})]

    assert not are_current(OBJECT_TYPES["price"], bodies, TYPES, find=None)


def test_a_plan_that_was_current_for_another_price_is_compared_again():
    plan = as_postgres_writes({"id": "sub_1", "plan": PLAN})
    renamed = PRICE | {"nickname": "renamed"}

    def find_renamed(object_type, ids):
        return {"price_1": (as_postgres_writes(renamed), False)} if object_type.name == "price" else {}

    assert are_current(SUBSCRIPTION, [plan], TYPES, of_today)
    assert not are_current(SUBSCRIPTION, [plan], TYPES, find_renamed)
    assert are_current(SUBSCRIPTION, [plan], TYPES, of_today)


TEXTS = st.sampled_from(
    ["price", "plan", "price_1", "co_1", '"object": "price"', '{"id": "price_1"', "new", "\\", "{}", '"']
)
COPIES = st.builds(
    lambda whole, change, drop: {key: value for key, value in (whole | change).items() if key != drop},
    st.sampled_from([PRICE, PLAN, COUPON, PRICE | {"id": "price_gone"}]),
    st.sampled_from(
        [{}, {"active": True}, {"nickname": "old"}, {"metadata": {"a": "}"}}, {"a": PRICE}, {"a": {"id": "x"}}]
    ),
    st.sampled_from([None, None, None, "id", "object", "active", "nickname", "metadata"]),
)
KEYS = st.sampled_from(
    ["id", "object", "metadata", "price", "plan", "a", "active", "nickname", "items", 'x"object', "é", "aaaaé"]
)
ODD = st.recursive(
    st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), COPIES, COPIES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(KEYS, ODD, max_size=5), st.sampled_from([TYPES, ("price",), ("coupon",), ()]))
def test_where_the_text_says_that_copies_are_current_renewing_changes_nothing(answer, types):
    body = as_postgres_writes(answer)

    if are_current(SUBSCRIPTION, [body], types, of_today):
        renew([answer], types, of_today)
        assert as_postgres_writes(answer) == body
