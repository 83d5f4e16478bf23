"""The command that compares the mirror's answers with Stripe's."""

import pytest

from api.gateway.shadow import Difference, differences, requests_in


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("GET /v1/customers?limit=3", ("GET", "/v1/customers?limit=3")),
        ("/v1/customers/cus_1", ("GET", "/v1/customers/cus_1")),
        ("https://api.stripe.com/v1/charges?expand[]=data.customer", ("GET", "/v1/charges?expand[]=data.customer")),
        (
            '10.0.0.1 - - [30/Nov/2026] "POST /v1/refunds HTTP/1.1" 200 12 "-" "Stripe/v1 Ruby"',
            ("POST", "/v1/refunds"),
        ),
        ("curl https://api.stripe.com/v1/balance -u sk_test_1:", ("GET", "/v1/balance")),
    ],
    ids=["method", "address", "url", "access log", "curl"],
)
def test_a_line_of_any_log_names_a_request(line, request_):
    assert list(requests_in([line])) == [request_]


def test_other_lines_are_left_out():
    assert list(requests_in(["", "# GET /v1/customers", "POST /v2/core/events", "nothing"])) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, [Difference("a[1].b", "2", "3")]),
        ({"a": 1}, {"b": 1}, [Difference("a", "1", "(absent)"), Difference("b", "(absent)", "1")]),
        ({"a": True}, {"a": 1}, [Difference("a", "true", "1")]),
        ({"data": [1, 2]}, {"data": [1]}, [Difference("data", "2 items", "1 items")]),
        ({"a": "x" * 50}, {"a": None}, [Difference("a", '"' + "x" * 39 + "…", "null")]),
        (
            {"lines": {"object": "list", "data": list(range(12)), "has_more": False}},
            {"lines": {"object": "list", "data": list(range(10)), "has_more": True}},
            [],
        ),
        (
            {"object": "list", "data": [], "has_more": False},
            {"object": "list", "data": [], "has_more": True},
            [Difference("has_more", "false", "true")],
        ),
    ],
    ids=["same", "deep", "absent", "kind", "length", "long", "cut inside", "cut list"],
)
def test_what_differs_is_told_by_its_place(ours, theirs, found):
    assert list(differences((200, ours), (200, theirs))) == found


def test_refusals_are_compared_by_their_status():
    assert list(differences((404, {"error": 1}), (404, {"error": 2}))) == []
    assert list(differences((404, {}), (200, {}))) == [Difference("status", "404", "200")]
