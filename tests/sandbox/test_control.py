"""The control API prepares, changes and shows accounts."""

import pytest

from scripts.sandbox.running import ControlError, SandboxProcess, SandboxThread
from scripts.sandbox.sandbox import Sandbox
from tests.sandbox.conftest import SMALL
from tests.sandbox.test_server import Client


def test_an_account_is_made_as_ordered(served: SandboxThread) -> None:
    made = served.add_account("shop_2", counts={"customer": 30, "charge": 5}, scale=0.02, seed=9, endpoint_rps=2)

    client = Client(served.url, made["testKey"])
    assert made["counts"]["customer"] == 30
    assert made["counts"]["charge"] == 5
    assert made["id"].startswith("acct_1")
    assert [client.get("/v1/charges")[0].status for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("method", "name", "params"),
    [
        ("POST", "accounts", {"name": "Not A Name"}),
        ("POST", "accounts", {"name": "x", "colour": "red"}),
        ("PUT", "faults", {"faults": [{"kind": "earthquake"}]}),
        ("GET", "stats", {"account": "nobody"}),
        ("GET", "objects", {"type": "unicorn"}),
        ("GET", "nothing", {}),
        ("PUT", "deliveries", {"speed": 5}),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_with_a_reason(
    served: SandboxThread, method: str, name: str, params: dict[str, object]
) -> None:
    with pytest.raises(ControlError):
        served.call(method, name, **params)


def test_a_restricted_key_is_handed_out(served: SandboxThread) -> None:
    key = served.call("POST", "keys", permissions=["rak_charge_read"])["key"]

    client = Client(served.url, key)
    assert [client.get(path)[0].status for path in ("/v1/charges", "/v1/invoices")] == [200, 403]


def test_a_dump_is_what_retrieves_give_and_full_completes_nested_lists(served: SandboxThread) -> None:
    account = served.sandbox.tenant("demo").account

    for type in ("customer", "price", "subscription", "invoice"):
        assert list(served.objects(type)) == list(account.objects(type))
    full = {each["id"]: each for each in served.objects("invoice", full="true")}
    cut = next(each for each in account.objects("invoice") if each["lines"]["has_more"])
    assert len(full[cut["id"]]["lines"]["data"]) > 10
    assert full[cut["id"]]["lines"]["has_more"] is False
    assert full[cut["id"]]["lines"]["url"] == cut["lines"]["url"]


def test_a_dump_of_a_type_without_objects_is_empty(served: SandboxThread) -> None:
    served.add_account("nothing", scale=0)

    assert list(served.objects("charge", account="nothing")) == []


def test_what_was_deleted_is_listed(served: SandboxThread) -> None:
    client = Client(served.url)
    id = next(served.objects("customer"))["id"]

    client.ask("DELETE", f"/v1/customers/{id}")

    assert served.deleted("customer") == {id}
    assert id not in {each["id"] for each in served.objects("customer")}


def test_changes_are_made_at_once_or_over_time(served: SandboxThread) -> None:
    client = Client(served.url)
    assert served.change(50, seed=2) == 50
    at_once = served.sandbox.tenant("demo").account.events()

    served.change(20, seed=3, over_s=0.2)

    assert len(at_once) >= 50
    while served.call("GET", "deliveries")["changesUnderWay"]:
        assert client.get("/v1/customers")[0].status == 200
    assert len(served.sandbox.tenant("demo").account.events()) >= len(at_once) + 20


def test_stats_count_by_endpoint_and_status_and_start_again(served: SandboxThread) -> None:
    client = Client(served.url)
    client.get("/v1/charges")
    client.get("/v1/charges", limit="0")
    client.get("/v1/charges/ch_unknown")

    stats = served.stats()
    served.call("DELETE", "stats")

    assert stats["requests"] == 3
    assert stats["endpoints"]["GET /v1/charges"] == {"200": 1, "400": 1}
    assert stats["endpoints"]["GET /v1/charges/:id"] == {"404": 1}
    assert served.stats()["requests"] == 0


def test_limits_of_a_running_account_can_be_changed(served: SandboxThread) -> None:
    served.call("PUT", "limits", account_rps=1)
    client = Client(served.url)

    assert [client.get("/v1/charges")[0].status for _ in range(2)] == [200, 429]
    assert served.stats()["limited"] == {"global-rate": 1}
    assert served.stats()["endpoints"] == {"GET /v1/charges": {"200": 1, "429": 1}}


def test_the_process_takes_accounts_and_faults_from_its_command_line() -> None:
    with SandboxProcess("--account", "one", "--account", "two", "--scale", "0.02", "--fault", "500:#1") as sandbox:
        client = Client(sandbox.url, "sk_test_two")

        assert [client.get("/v1/charges")[0].status for _ in range(2)] == [500, 200]
        assert [account["name"] for account in sandbox.call("GET", "accounts")] == ["one", "two"]


def test_two_accounts_with_one_recipe_share_no_object() -> None:
    sandbox = Sandbox()
    for name in ("one", "two"):
        sandbox.add_account(name, SMALL)
    one, two = ({each["id"] for each in sandbox.tenant(name).account.objects("customer")} for name in ("one", "two"))

    assert not one & two
