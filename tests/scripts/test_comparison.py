"""The demo's proof: it must not call anything equal that is not."""

import json

from scripts.comparison import compare


def text(id, **fields):
    return json.dumps({"id": id, **fields})


def test_equal_objects_are_equal_whatever_the_order_of_their_keys():
    source = [text("cus_1", balance=1, metadata={"a": "é", "b": None}), text("cus_2")]
    mirrored = [text("cus_2"), '{"metadata": {"b": null, "a": "\\u00e9"}, "balance": 1, "id": "cus_1"}']

    difference = compare("customer", source, mirrored)

    assert difference.is_equal
    assert (difference.compared, str(difference)) == (2, "all equal")


def test_a_field_deep_inside_counts():
    source = [text("sub_1", items={"data": [{"id": "si_1", "quantity": 1}]})]
    mirrored = [text("sub_1", items={"data": [{"id": "si_1", "quantity": 2}]})]

    difference = compare("subscription", source, mirrored)

    assert difference.different == ("sub_1",)
    assert not difference.is_equal


def test_amounts_beyond_what_a_float_holds_are_told_apart():
    assert not compare("charge", [text("ch_1", amount=2**53)], [text("ch_1", amount=2**53 + 1)]).is_equal


def test_null_is_not_the_same_as_absent():
    assert not compare("price", [text("price_1", nickname=None)], [text("price_1")]).is_equal


def test_missing_and_extra_objects_are_named():
    difference = compare("price", [text(f"price_{n}") for n in range(5)], [text("price_4"), text("price_9")])

    assert difference.missing == ("price_0", "price_1", "price_2", "price_3")
    assert difference.extra == ("price_9",)
    assert str(difference) == "4 missing (price_0, price_1, price_2, ...), 1 extra (price_9)"
