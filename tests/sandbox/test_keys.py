"""Who may ask what: keys, modes, permissions, limits."""

import base64
from typing import Any

import pytest

from scripts.sandbox.answers import Answer
from scripts.sandbox.sandbox import Sandbox
from scripts.sandbox.traffic import Limits
from tests.sandbox.conftest import SMALL, Clock


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    sandbox = Sandbox(clock)
    sandbox.add_account("demo", SMALL)
    sandbox.add_account("big_shop", SMALL)
    return sandbox


def get(sandbox: Sandbox, path: str, key: str, **params: Any) -> Answer:
    return sandbox.handle("GET", path, params, {"authorization": f"Bearer {key}"})


@pytest.mark.parametrize("key", ["sk_test_unknown", "sk_test_", "demo", "rk_test_demo_nothing", "pk_test_demo"])
def test_an_unknown_key_is_401_in_stripes_shape(sandbox: Sandbox, key: str) -> None:
    answer = get(sandbox, "/v1/charges", key)

    assert answer.status == 401
    assert answer.json()["error"]["message"].startswith("Invalid API Key provided: ")


def test_no_key_is_401(sandbox: Sandbox) -> None:
    answer = sandbox.handle("GET", "/v1/charges", {}, {})

    assert answer.status == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_basic_authentication_works_too(sandbox: Sandbox) -> None:
    value = base64.b64encode(b"sk_test_demo:").decode()

    assert sandbox.handle("GET", "/v1/charges", {}, {"authorization": f"Basic {value}"}).status == 200


def test_keys_choose_account_and_mode(sandbox: Sandbox) -> None:
    accounts = {key: get(sandbox, "/v1/account", key).json()["id"] for key in ("sk_test_demo", "sk_live_demo")}
    charges = {
        key: get(sandbox, "/v1/charges", key).json()["data"][0]
        for key in ("sk_test_demo", "sk_live_demo", "sk_test_big_shop")
    }

    assert len(set(accounts.values())) == 1
    assert get(sandbox, "/v1/account", "sk_test_big_shop").json()["id"] not in accounts.values()
    assert len({charge["id"] for charge in charges.values()}) == 3
    assert [charge["livemode"] for charge in charges.values()] == [False, True, False]


def test_a_restricted_key_may_do_what_it_was_given_and_is_told_what_it_lacks(sandbox: Sandbox) -> None:
    key = sandbox.restrict("demo", frozenset(("rak_charge_read",)))

    assert get(sandbox, "/v1/charges", key).status == 200
    refusals = {
        "/v1/invoices": "rak_invoice_read",
        "/v1/prices": "rak_plan_read",
        "/v1/account": "rak_accounts_kyc_basic_read",
        "/v1/events": "rak_event_read",
    }
    for path, permission in refusals.items():
        answer = get(sandbox, path, key)
        message = answer.json()["error"]["message"]
        assert answer.status == 403
        assert message.startswith("The provided key 'rk_test_")
        assert f"Having the '{permission}' permission would allow this request to continue." in message
        assert key not in message


def test_reading_is_not_writing(sandbox: Sandbox) -> None:
    key = sandbox.restrict("demo", frozenset(("rak_customer_read",)), livemode=True)

    answer = sandbox.handle("POST", "/v1/customers", {}, {"authorization": f"Bearer {key}"})

    assert key.startswith("rk_live_")
    assert answer.status == 403
    assert "rak_customer_write" in answer.json()["error"]["message"]


def test_the_endpoint_limit_holds_each_operation_to_its_rate(clock: Clock) -> None:
    sandbox = Sandbox(clock)
    sandbox.add_account("demo", SMALL, Limits(endpoint_rps=5))

    statuses = [get(sandbox, "/v1/charges", "sk_test_demo").status for _ in range(8)]
    refused = get(sandbox, "/v1/charges", "sk_test_demo")

    assert statuses == [200] * 5 + [429] * 3
    assert refused.headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert refused.json()["error"]["code"] == "rate_limit"
    assert get(sandbox, "/v1/invoices", "sk_test_demo").status == 200
    clock.now += 0.4
    assert [get(sandbox, "/v1/charges", "sk_test_demo").status for _ in range(3)] == [200, 200, 429]


def test_the_account_limit_counts_all_operations_but_each_mode_apart(clock: Clock) -> None:
    sandbox = Sandbox(clock)
    sandbox.add_account("demo", SMALL, Limits(account_rps=4))

    statuses = [get(sandbox, path, "sk_test_demo").status for path in ("/v1/charges", "/v1/invoices") * 3]

    assert statuses == [200] * 4 + [429] * 2
    assert get(sandbox, "/v1/charges", "sk_test_demo").headers["Stripe-Rate-Limited-Reason"] == "global-rate"
    assert get(sandbox, "/v1/charges", "sk_live_demo").status == 200


def test_a_refused_request_costs_no_token(clock: Clock) -> None:
    sandbox = Sandbox(clock)
    sandbox.add_account("demo", SMALL, Limits(account_rps=10, endpoint_rps=2))

    for _ in range(20):
        get(sandbox, "/v1/charges", "sk_test_demo")

    assert [get(sandbox, "/v1/invoices", "sk_test_demo").status for _ in range(3)] == [200, 200, 429]
