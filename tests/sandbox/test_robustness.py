"""No request, however odd, makes the sandbox fall over: it is answered or refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.sandbox import forms, routes
from scripts.sandbox.account import Account
from scripts.sandbox.answers import Refused
from scripts.sandbox.kinds import KINDS
from scripts.sandbox.seeding import Recipe
from tests.sandbox.conftest import Clock

_PAGING = ("limit", "starting_after", "ending_before", "created", "expand", "status", "active", "type", "types", "ids")
_TEXTS = ("email", "name", "currency", "url", "description", "product", "customer", "subscription", "charge", "id")
_NESTED = ("metadata", "address", "items", "lines", "recurring", "product_data", "images", "enabled_events", "shipping")
_NUMBERS = ("balance", "unit_amount", "amount", "trial_end", "days_until_due", "cancel_at_period_end", "default_price")
_INSIDE = (
    "id",
    "price",
    "price_data",
    "quantity",
    "deleted",
    "amount",
    "gte",
    "interval",
    "interval_count",
    "currency",
    "0",
)
_WORDS = ("", "true", "false", "usd", "100", "-1", "charge_automatically", "*", "data.customer", "http://x", "month")

_ACCOUNT = Account("odd", Recipe(counts=dict.fromkeys(KINDS, 5)), Clock())
_IDS = [_ACCOUNT.objects(type)[0]["id"] for type in KINDS]

# Texts, numbers and real ids, also where nested values belong, and nested ones where texts belong.
_leaves = st.sampled_from([*_IDS, *_WORDS]) | st.text(max_size=5) | st.integers(-5, 2**70) | st.booleans() | st.none()
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_INSIDE), inner, max_size=4),
    max_leaves=6,
)


@given(
    st.sampled_from(sorted(routes.patterns())),
    st.sampled_from([*_IDS, "nothing"]),
    st.dictionaries(st.sampled_from((*_PAGING, *_TEXTS, *_NESTED, *_NUMBERS)), _values, max_size=5),
)
def test_any_parameters_are_answered_or_refused(at: tuple[str, str], id: str, params: dict[str, Any]) -> None:
    method, pattern = at

    answer = _ACCOUNT.handle(method, pattern.replace(":id", id), params)

    assert answer.status in (200, 400, 404)
    assert (answer.status == 200) != ("error" in answer.json())


_CUSTOMER, _PRODUCT, _, _SUBSCRIPTION, _, _CHARGE = _IDS[:6]
_DRAFT = _ACCOUNT.create("invoice", customer=_CUSTOMER)["id"]
_DEEP: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/subscriptions", {"customer": _CUSTOMER}, "items"),
    (f"/v1/subscriptions/{_SUBSCRIPTION}", {}, "items"),
    (f"/v1/invoices/{_DRAFT}/add_lines", {}, "lines"),
    ("/v1/prices", {"currency": "usd", "unit_amount": 5, "product": _PRODUCT}, "recurring"),
    ("/v1/prices", {"currency": "usd", "unit_amount": 5}, "product_data"),
    ("/v1/refunds", {"charge": _CHARGE}, "amount"),
    ("/v1/webhook_endpoints", {"url": "http://x"}, "enabled_events"),
    (f"/v1/customers/{_CUSTOMER}", {}, "metadata"),
    (f"/v1/customers/{_CUSTOMER}", {"name": "x"}, "expand"),
    (f"/v1/products/{_PRODUCT}", {}, "default_price"),
]
_objects = st.dictionaries(st.sampled_from(_INSIDE), _values, max_size=4)


@given(st.sampled_from(_DEEP), _values | _objects | st.lists(_objects, min_size=1, max_size=3))
def test_any_nested_value_is_answered_or_refused(at: tuple[str, dict[str, Any], str], value: Any) -> None:
    path, params, name = at

    assert _ACCOUNT.handle("POST", path, {**params, name: value}).status in (200, 400, 404)


@given(st.text(alphabet="ab[]=&%0+", max_size=30))
def test_any_form_is_read_or_refused(text: str) -> None:
    try:
        found = forms.parse(text)
    except Refused:
        return
    assert isinstance(found, dict)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("created[gte]=5&limit=3", {"created": {"gte": "5"}, "limit": "3"}),
        ("types[]=a&types[]=b", {"types": ["a", "b"]}),
        ("items[0][price]=p&items[1][price]=q", {"items": [{"price": "p"}, {"price": "q"}]}),
        ("metadata[a]=&name=Zo%C3%AB", {"metadata": {"a": ""}, "name": "Zoë"}),
        ("", {}),
    ],
)
def test_bracketed_forms_are_opened(text: str, expected: dict[str, Any]) -> None:
    assert forms.parse(text) == expected
