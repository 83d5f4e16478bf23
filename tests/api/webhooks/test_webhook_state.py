"""What is known of a team's webhook: set up or not, its last delivery, what was refused, and whether Stripe reaches it."""

import time
from dataclasses import replace

import pytest

from api.webhooks.refusals import FLUSH_EVERY_S
from api.webhooks.shown import unreachable_because
from scripts.sandbox.courier import signature
from sync.events.applying import apply_batch
from sync.events.routing import Mirrored
from sync.object_types import DEFAULT_TYPES
from tests.factories import customer, encoded, event
from tests.sync.simulated_stripe import simulated_stripe, source_of

PASTED, FOREIGN = "whsec_" + "p" * 32, "whsec_" + "f" * 32


@pytest.fixture
def account(sandbox):
    sandbox.add_account("demo", counts=dict.fromkeys(DEFAULT_TYPES, 1))
    return sandbox.sandbox.tenant("demo").account


@pytest.fixture
def settings(settings, sandbox, account):
    return replace(settings, stripe_api_base=sandbox.url, stripe_account_rps=1000.0, stripe_endpoint_rps=1000.0)


@pytest.fixture
def connected(owner):
    assert owner.client.post(f"{owner.stripe}/connect", json={"secretKey": "sk_test_demo"}).status_code == 200
    return owner


def set_up(member) -> str:
    return member.client.post(f"{member.stripe}/webhook", json={}).json["message"]


def let_time_pass(database) -> None:
    """What is refused right after the secrets changed was under way."""
    database.execute("UPDATE billstack.connections SET secrets_changed_at = now() - interval '1 minute'")


def status_of(member) -> dict:
    return member.client.get(f"{member.stripe}/status").json


def deliver(client, member, secret: str, **headers: str) -> int:
    body = encoded(event(customer(), created=int(time.time())))
    given = {"Stripe-Signature": signature(body, secret, int(time.time())), **headers}
    return client.post(f"/api/webhooks/stripe/{member.team_id}", data=body, headers=given).status_code


def apply_all(database, member, account) -> None:
    stripe = simulated_stripe()
    apply_batch(database, member.team_id, source_of(stripe, attempts=1), Mirrored(account.state.id, livemode=False))


def refused_of(member) -> dict:
    """Told within a moment, from a thread of its own."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        webhook = status_of(member)["webhook"]
        if webhook["refused"]:
            return webhook
        time.sleep(0.05)
    raise AssertionError("no trace of it")


def page_of(member) -> str:
    return member.client.get(f"/teams/{member.team_id}/stripe").text


def test_a_webhook_goes_from_none_to_active(connected, client, account, database):
    assert status_of(connected)["webhook"]["state"] == "none"
    assert "Not set up" in page_of(connected)

    set_up(connected)

    webhook = status_of(connected)["webhook"]
    assert (webhook["state"], webhook["lastDeliveryAt"]) == ("waiting", None)
    assert webhook["endpointId"] in page_of(connected)
    assert deliver(client, connected, account.state.secrets[webhook["endpointId"]]) == 200
    apply_all(database, connected, account)
    webhook = status_of(connected)["webhook"]
    assert webhook["state"] == "active"
    assert webhook["lastDeliveryAt"]
    assert webhook["lagSeconds"] < 60
    assert "Active" in page_of(connected)
    assert connected.client.delete(f"{connected.stripe}/connect", json={}).status_code == 204
    assert status_of(connected)["webhook"]["state"] == "none"


def test_deliveries_after_the_secret_was_rolled_at_stripe_are_told_and_set_up_again_repairs_it(
    connected, client, account, database
):
    set_up(connected)
    old = status_of(connected)["webhook"]["endpointId"]
    account.state.secrets[old] = FOREIGN
    let_time_pass(database)

    assert [deliver(client, connected, FOREIGN) for _ in range(3)] == [400, 400, 400]

    webhook = refused_of(connected)
    assert webhook["state"] == "refused"
    (warning,) = status_of(connected)["warnings"]
    assert "wrong signature" in warning
    assert "set up the webhook again" in warning
    assert 'id="webhook-refused"' in page_of(connected)
    assert 'billstack_deliveries_total{outcome="refused"}' in client.get("/metrics").text

    assert set_up(connected) == "Webhook created"

    webhook = status_of(connected)["webhook"]
    assert webhook["endpointId"] not in (None, old)
    assert (webhook["state"], webhook["refused"], status_of(connected)["warnings"]) == ("waiting", None, [])
    assert deliver(client, connected, account.state.secrets[webhook["endpointId"]]) == 200
    assert set_up(connected) == "Webhook is already set up"


def test_a_new_pasted_secret_ends_the_warning(connected, client):
    deliver(client, connected, FOREIGN)
    refused_of(connected)

    connected.client.post(f"{connected.stripe}/connect", json={"secretKey": "sk_test_demo", "webhookSecret": FOREIGN})

    assert status_of(connected)["webhook"]["refused"] is None
    assert deliver(client, connected, FOREIGN) == 200


def test_what_an_outsider_sends_is_not_said_to_be_stripes(connected, client, account, database):
    set_up(connected)
    secret = account.state.secrets[status_of(connected)["webhook"]["endpointId"]]
    deliver(client, connected, secret)
    apply_all(database, connected, account)
    let_time_pass(database)

    deliver(client, connected, FOREIGN)

    assert refused_of(connected)["state"] == "active"
    (warning,) = status_of(connected)["warnings"]
    assert "somebody else sends them" in warning


@pytest.mark.parametrize("header", [None, "", "t=1", "v1=abc", "t=1,v1=<script>"])
def test_what_does_not_look_like_a_delivery_leaves_no_trace(connected, client, database, header):
    for _ in range(20):
        given = {"Stripe-Signature": header} if header is not None else {}
        client.post(f"/api/webhooks/stripe/{connected.team_id}", data=encoded(event(customer())), headers=given)
    no_event = b'{"a": 1}'
    client.post(
        f"/api/webhooks/stripe/{connected.team_id}",
        data=no_event,
        headers={"Stripe-Signature": signature(no_event, FOREIGN, int(time.time()))},
    )
    time.sleep(0.3)  # nothing to wait for

    assert database.execute("SELECT sum(refused_deliveries) FROM billstack.connections").fetchone() == (0,)


def test_a_flood_of_refused_deliveries_writes_next_to_nothing(connected, client, database, log_lines):
    began = time.monotonic()
    for _ in range(300):
        deliver(client, connected, FOREIGN)
    while database.execute("SELECT sum(refused_deliveries) FROM billstack.connections").fetchone() != (300,):
        assert time.monotonic() - began < 60, "they are not all counted"
        time.sleep(0.1)
    lasted_s = time.monotonic() - began

    written = [line for line in log_lines() if line["event"] == "deliveries.refused"]
    assert len(written) <= lasted_s / FLUSH_EVERY_S + 2


@pytest.mark.parametrize(
    ("url", "livemode", "is_reached"),
    [
        ("https://billstack.acme.com/x", True, True),
        ("http://billstack.acme.com/x", False, True),
        ("http://billstack.acme.com/x", True, False),
        ("https://localhost:8000/x", False, False),
        ("http://127.0.0.1:8000/x", False, False),
        ("http://[::1]/x", False, False),
        ("https://10.0.0.7/x", True, False),
        ("https://192.168.1.2/x", True, False),
        ("https://169.254.1.1/x", True, False),
        ("https://billstack/x", True, False),
        ("https://billstack.local/x", True, False),
        ("https://billstack.internal./x", True, False),
        ("https://8.8.8.8/x", True, True),
    ],
)
def test_an_address_that_stripe_cannot_reach_is_told(url, livemode, is_reached):
    assert (unreachable_because(url, livemode=livemode) is None) == is_reached


def test_the_page_warns_of_such_an_address(connected):
    assert "Stripe cannot reach billstack.test" in page_of(connected)
