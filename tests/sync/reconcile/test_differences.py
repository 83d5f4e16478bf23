"""The differences between two versions of an object, as people read them."""

import pytest

from sync.reconcile.differences import MOST_CHARACTERS, MOST_FIELDS, Difference, differences


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        pytest.param({"a": 1}, {"a": 1}, [], id="equal"),
        pytest.param({"email": "a@b"}, {"email": "c@d"}, [Difference("email", '"a@b"', '"c@d"')], id="changed"),
        pytest.param({"a": 1}, {"b": None}, [Difference("a", "1", None), Difference("b", None, "null")], id="absent"),
        pytest.param({"a": True}, {"a": 1}, [Difference("a", "true", "1")], id="true is not one"),
        pytest.param({"a": 1.0}, {"a": 1}, [], id="the same number"),
        pytest.param(
            {"items": {"data": [{"quantity": 1}]}},
            {"items": {"data": [{"quantity": 2}, {"quantity": 3}]}},
            [
                Difference("items.data[0].quantity", "1", "2"),
                Difference("items.data[1]", None, '{"quantity": 3}'),
            ],
            id="nested",
        ),
        pytest.param({"a": {"b": 1}}, {"a": "x"}, [Difference("a", '{"b": 1}', '"x"')], id="another kind"),
        pytest.param(None, {"a": 1}, [Difference("", "null", '{"a": 1}')], id="unreadable"),
    ],
)
def test_fields_are_told_by_their_paths(old, new, found):
    assert differences(old, new) == (found, 0)


def test_many_fields_and_long_values_are_cut_and_the_rest_is_counted():
    old = {f"field_{number:03}": "x" * 1000 for number in range(MOST_FIELDS + 7)}

    found, more = differences(old, {})

    assert (len(found), more) == (MOST_FIELDS, 7)
    assert found[0].path == "field_000"
    assert found[0].old is not None
    assert len(found[0].old) == MOST_CHARACTERS + 1


def test_a_deeply_nested_object_is_compared():
    old = new = 1
    for _ in range(100_000):
        old, new = [old], [new]  # type: ignore[list-item]

    assert differences({"a": old}, {"a": new}) == ([], 0)
