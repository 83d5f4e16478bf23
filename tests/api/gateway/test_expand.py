"""What an answer embeds is the mirror's own; what only looks like an embedded object is left alone."""

import json

import pytest

from api.gateway.expand import renew

TODAY = {
    "price": {"price_1": {"id": "price_1", "object": "price", "active": False, "nickname": "new", "metadata": {}}},
    "coupon": {"co_1": {"id": "co_1", "object": "coupon", "name": "new"}},
}
TYPES = ("price", "coupon")


@pytest.fixture
def asked():
    """The types and ids of all look-ups."""
    return []


@pytest.fixture
def find(asked):
    def look_up(object_type, ids):
        asked.append((object_type.name, list(ids)))
        known = TODAY[object_type.name]
        return {each: (json.dumps(known[each]), False) for each in ids if each in known}

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
