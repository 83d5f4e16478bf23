"""The webhook that BillStack sets up at Stripe, comparisons on demand, what the status says of both, and the metrics."""

import json
import time
from dataclasses import replace

import pytest

from api.account import schemas
from api.http.context import EXTENSION
from scripts.sandbox.courier import signature
from sync.event_types import listened_types
from sync.events.applying import apply_batch
from sync.events.ledger import Ledger
from sync.object_types import DEFAULT_TYPES
from sync.stripe.sdk import API_VERSION
from tests.factories import customer, encoded, event
from workers.jobs import backfill as jobs
from workers.queues import COMPARISONS
from workers.redis.meter import Meter
from workers.stripe_account import open_source

CONNECT = {"secretKey": "sk_test_demo", "webhookSecret": "whsec_pasted"}
ENDPOINTS = "/v1/webhook_endpoints"


@pytest.fixture
def account(sandbox):
    """The account at Stripe, new for each test."""
    sandbox.add_account("demo", counts=dict.fromkeys(DEFAULT_TYPES, 1))
    return sandbox.sandbox.tenant("demo").account


@pytest.fixture
def settings(settings, sandbox, account):
    return replace(settings, stripe_api_base=sandbox.url, stripe_account_rps=1000.0, stripe_endpoint_rps=1000.0)


@pytest.fixture
def connected(owner):
    assert owner.client.post(f"{owner.stripe}/connect", json=CONNECT).status_code == 200
    return owner


def set_up(member):
    return member.client.post(f"{member.stripe}/webhook", json={})


def endpoints(account) -> list[dict]:
    return account.handle("GET", ENDPOINTS, {"limit": "100"}).json()["data"]


def make_endpoint(account, **params) -> dict:
    given = {"url": "https://example.com/hook", "enabled_events": ["*"], **params}
    return account.handle("POST", ENDPOINTS, given).json()


def status_of(member) -> dict:
    return member.client.get(f"{member.stripe}/status").json


def test_events_that_failed_are_told_with_the_oldest_ones_reason(connected, database):
    ledger = Ledger(database, connected.team_id)
    for reason in ("oldest", "newer"):
        told = event(customer())
        ledger.record(told["id"], told["type"], {"oldest": 1, "newer": 2}[reason], "{}", delivered=True)
        ledger.postpone([told["id"]], f"{reason} reason")

    (warning,) = status_of(connected)["warnings"]

    assert warning.startswith("2 events could not be applied yet")
    assert "oldest reason" in warning
    database.execute("UPDATE billstack.events SET state = 'applied'")
    assert status_of(connected)["warnings"] == []


def test_what_a_comparison_could_not_store_is_told(connected, database):
    found = {"customer": {"notStored": {"count": 1, "ids": ["cus_bad"], "reason": "a NUL"}}, "charge": {}}
    database.execute(
        "INSERT INTO billstack.reconciles (id, team_id, state, found) VALUES ('rc_1', %s, 'done', %s)",
        (connected.team_id, json.dumps(found)),
    )

    (warning,) = status_of(connected)["warnings"]

    assert "1 customer object could not be stored" in warning
    assert "for example cus_bad: a NUL" in warning


@pytest.mark.parametrize(
    "healed_by",
    [
        "INSERT INTO billstack.reconciles (id, team_id, state) VALUES ('rc_1', %s, 'done')",
        "INSERT INTO billstack.backfills (id, team_id, state, objects)"
        " VALUES ('bf_1', %s, 'ready', '{customer,product,price,subscription,invoice,charge}')",
    ],
)
def test_events_that_stripe_forgot_unread_are_told_until_all_was_looked_at(connected, database, healed_by):
    database.execute("UPDATE billstack.connections SET unread_until = extract(epoch FROM now())::bigint - 86400")
    database.execute(
        "INSERT INTO billstack.backfills (id, team_id, state, objects, requested_at) VALUES"
        " ('bf_part', %(team)s, 'ready', '{customer}', now()),"
        " ('bf_before', %(team)s, 'ready', '{customer,product,price,subscription,invoice,charge}', now() - interval '9 days')",
        {"team": connected.team_id},
    )

    (warning,) = status_of(connected)["warnings"]

    assert "30 days" in warning
    database.execute(healed_by, (connected.team_id,))
    assert status_of(connected)["warnings"] == []


# Setting the webhook up -----------------------------------------------------------------------------------------------


def test_one_call_makes_an_endpoint_of_our_version_with_exactly_the_events_needed(connected, account):
    answer = set_up(connected)

    (endpoint,) = endpoints(account)
    url = f"http://billstack.test/api/webhooks/stripe/{connected.team_id}"
    assert answer.status_code == 200
    assert answer.json == {
        "success": True,
        "message": "Webhook created",
        "webhookUrl": url,
        "endpointId": endpoint["id"],
        "apiVersion": API_VERSION,
    }
    assert (endpoint["url"], endpoint["api_version"], endpoint["status"]) == (url, API_VERSION, "enabled")
    assert sorted(endpoint["enabled_events"]) == sorted(listened_types(DEFAULT_TYPES))


def test_its_secret_is_kept_and_opens_what_it_signs(connected, account, client, database, log_lines):
    endpoint_id = set_up(connected).json["endpointId"]
    secret = account.state.secrets[endpoint_id]

    for used in (secret, "whsec_pasted"):
        body = encoded(event(customer()))
        headers = {"Stripe-Signature": signature(body, used, int(time.time()))}
        assert client.post(f"/api/webhooks/stripe/{connected.team_id}", data=body, headers=headers).status_code == 200
    (stored,) = database.execute("SELECT connections::text FROM billstack.connections").fetchone()
    assert secret not in stored
    assert secret not in str(log_lines())


def test_a_second_call_changes_nothing(connected, account):
    first = set_up(connected).json

    second = set_up(connected).json

    assert second == first | {"message": "Webhook is already set up"}
    assert len(endpoints(account)) == 1


@pytest.mark.parametrize(
    "damage", [{"disabled": True}, {"enabled_events": ["charge.failed"]}, {"url": "https://old.example.com"}]
)
def test_a_damaged_endpoint_is_repaired_and_keeps_its_secret(connected, account, damage):
    endpoint_id = set_up(connected).json["endpointId"]
    account.handle("POST", f"{ENDPOINTS}/{endpoint_id}", damage)

    answer = set_up(connected).json

    (endpoint,) = endpoints(account)
    assert (answer["message"], answer["endpointId"]) == ("Webhook repaired", endpoint_id)
    assert endpoint["status"] == "enabled"
    assert sorted(endpoint["enabled_events"]) == sorted(listened_types(DEFAULT_TYPES))
    assert endpoint["url"] == answer["webhookUrl"]


def test_an_endpoint_that_was_deleted_at_stripe_is_made_again(connected, account):
    account.handle("DELETE", f"{ENDPOINTS}/{set_up(connected).json['endpointId']}", {})

    assert set_up(connected).json["message"] == "Webhook created"
    assert len(endpoints(account)) == 1


def test_an_endpoint_whose_secret_was_lost_or_whose_version_is_another_gives_way(connected, account):
    mine = {"metadata": {"billstack_team": connected.team_id}}
    make_endpoint(account, **mine)  # a crash came between Stripe's answer and our commit
    make_endpoint(account, api_version="2019-01-01", **mine)

    answer = set_up(connected).json

    assert [endpoint["id"] for endpoint in endpoints(account)] == [answer["endpointId"]]


def test_other_peoples_endpoints_stay_as_they_are(connected, account):
    others = [
        make_endpoint(account),
        make_endpoint(account, metadata={"billstack_team": "team_other"}),
        make_endpoint(account, url=f"http://billstack.test/api/webhooks/stripe/{connected.team_id}"),
    ]

    set_up(connected)
    connected.client.delete(f"{connected.stripe}/connect", json={})

    assert {endpoint["id"] for endpoint in endpoints(account)} == {endpoint["id"] for endpoint in others}


def test_disconnecting_removes_the_endpoint_that_we_made(connected, account):
    set_up(connected)

    assert connected.client.delete(f"{connected.stripe}/connect", json={}).status_code == 204

    assert endpoints(account) == []


def test_disconnecting_works_while_stripe_does_not(connected, account, sandbox):
    set_up(connected)
    sandbox.call("PUT", "faults", faults=[{"kind": "500", "share": 1.0}])

    answer = connected.client.delete(f"{connected.stripe}/connect", json={})

    sandbox.call("DELETE", "faults")
    assert answer.status_code == 204
    assert status_of(connected)["connected"] is False


def test_a_key_that_may_not_write_endpoints_is_told_so(owner, sandbox, account):
    read = [f"rak_{name}_read" for name in ("customer", "charge", "invoice", "accounts_kyc_basic", "webhook")]
    key = sandbox.call("POST", "keys", permissions=read)["key"]
    owner.client.post(f"{owner.stripe}/connect", json={"secretKey": key})

    answer = set_up(owner)

    assert answer.status_code == 502
    assert "rak_webhook_write" in answer.json["error"]
    assert endpoints(account) == []


def test_a_team_that_is_not_connected_has_no_webhook(owner):
    assert (set_up(owner).status_code, set_up(owner).json["code"]) == (409, "not_connected")


@pytest.mark.parametrize("path", ["webhook", "reconcile"])
def test_a_viewer_and_a_stranger_change_nothing(connected, new_member, path):
    viewer, stranger = new_member("viewer", team_id=connected.team_id), new_member()

    assert viewer.client.post(f"{connected.stripe}/{path}", json={}).status_code == 403
    assert stranger.client.post(f"{connected.stripe}/{path}", json={}).status_code == 404


def test_deliveries_of_another_api_version_are_a_warning(connected, account, app):
    deliver_and_apply(app, connected.team_id, event(customer(), api_version="2019-01-01"))
    (warning,) = status_of(connected)["warnings"]
    assert "2019-01-01" in warning
    assert API_VERSION in warning

    deliver_and_apply(app, connected.team_id, event(customer("cus_2")))
    assert status_of(connected)["warnings"] == []


def test_a_key_that_may_not_read_events_is_a_warning(connected, database):
    database.execute("UPDATE billstack.connections SET sweep_error = 'Events stay unknown.'")

    assert status_of(connected)["warnings"] == ["Events stay unknown."]


def test_the_status_says_when_the_last_event_happened(connected, app):
    assert status_of(connected)["lastEventAt"] is None

    deliver_and_apply(app, connected.team_id, event(customer(), created=1_767_225_600))
    deliver_and_apply(app, connected.team_id, event(customer(), created=1_767_225_500))

    assert status_of(connected)["lastEventAt"] == "2026-01-01T00:00:00Z"


def deliver_and_apply(app, team_id: str, made: dict) -> None:
    context = app.extensions[EXTENSION]
    body = encoded(made)
    headers = {"Stripe-Signature": signature(body, "whsec_pasted", int(time.time()))}
    assert app.test_client().post(f"/api/webhooks/stripe/{team_id}", data=body, headers=headers).status_code == 200
    with context.pool.connection() as connection:
        connected = jobs.Connections(connection, context.box).get(team_id)
        source, report = open_source(context, connected), Meter(context.redis).events
        apply_batch(connection, team_id, source, jobs.mirrored(connected), report=report)


# Comparing on demand --------------------------------------------------------------------------------------------------


def reconcile(member):
    return member.client.post(f"{member.stripe}/reconcile", json={})


def test_a_comparison_is_started_and_stands_in_the_status(connected, app):
    assert status_of(connected)["lastReconcile"] is None

    answer = reconcile(connected)

    assert answer.status_code == 202
    assert answer.json["message"] == "Reconcile started"
    shown = status_of(connected)["lastReconcile"]
    assert shown["id"] == answer.json["reconcileId"]
    assert (shown["status"], shown["finishedAt"], shown["result"]) == ("running", None, {})
    assert app.extensions[EXTENSION].redis.llen(f"rq:queue:{COMPARISONS}") == 1


def test_the_same_again_answers_the_running_one(connected):
    first = reconcile(connected).json

    again = reconcile(connected)

    assert again.status_code == 200
    assert again.json == first | {"message": "Reconcile already running"}


def test_no_comparison_while_a_backfill_runs(connected):
    backfill_id = connected.client.post(f"{connected.stripe}/backfill", json={}).json["backfillId"]

    answer = reconcile(connected)

    assert (answer.status_code, answer.json["code"]) == (409, "backfill_in_progress")
    assert backfill_id in answer.text


def test_a_team_that_is_not_connected_is_not_compared(owner):
    assert (reconcile(owner).status_code, reconcile(owner).json["code"]) == (409, "not_connected")


# The command line -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(app):
    return lambda *arguments: app.test_cli_runner().invoke(args=list(arguments))


def test_the_command_compares_and_prints_what_it_found(connected, run, account):
    missing = account.objects("customer")[0]["id"]

    first, second = run("reconcile", "--team", connected.team_id), run("reconcile", "--team", "Team")

    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    found = schemas.ReconcileAnswer().fields["result"].deserialize(last_json(first)["result"])
    assert found["customer"]["missing"] == {"count": 1, "ids": [missing]}
    assert last_json(second)["result"]["customer"]["missing"]["count"] == 0
    shown = status_of(connected)
    schemas.StatusAnswer().load(shown)
    assert shown["lastReconcile"]["status"] == "done"
    assert shown["lastReconcile"]["result"] == last_json(second)["result"]


def test_the_command_says_why_it_cannot_compare(owner, run):
    result = run("reconcile", "--team", owner.team_id)

    assert result.exit_code == 1
    assert "not connected" in result.output


@pytest.fixture
def ledger(database, connected):
    ledger = Ledger(database, connected.team_id)
    for number, (type, state) in enumerate(
        [("invoice.paid", "applied"), ("charge.failed", "failed"), ("x", "skipped")]
    ):
        ledger.record(f"evt_{number}", type, 1_767_225_600 + number * 86_400, "{}", delivered=True)
        database.execute("UPDATE billstack.events SET state = %s WHERE id = %s", (state, f"evt_{number}"))
    return ledger


@pytest.mark.parametrize(
    ("options", "replayed"),
    [
        ((), {"evt_0", "evt_1", "evt_2"}),
        (("--failed",), {"evt_1"}),
        (("--type", "invoice.paid"), {"evt_0"}),
        (("--id", "evt_2"), {"evt_2"}),
        (("--since", "2026-01-02"), {"evt_1", "evt_2"}),
        (("--since", "2026-01-02T00:00:01Z", "--failed"), set()),
        (("--since", "2026-01-02T01:00:00+02:00", "--failed"), {"evt_1"}),
    ],
)
@pytest.mark.usefixtures("ledger")
def test_recorded_events_are_replayed_as_chosen(run, connected, database, app, options, replayed):
    result = run("replay-events", "--team", connected.team_id, *options)

    assert (result.exit_code, last_json(result)) == (0, {"replayed": len(replayed)})
    rows = database.execute("SELECT id FROM billstack.events WHERE state = 'pending' AND attempts = 0").fetchall()
    assert {event_id for (event_id,) in rows} == replayed


@pytest.mark.usefixtures("ledger")
def test_another_teams_events_are_not_replayed(run, new_member, database):
    assert last_json(run("replay-events", "--team", new_member().team_id)) == {"replayed": 0}


def test_a_team_or_time_that_makes_no_sense_is_told_so(run, connected):
    assert "there is no team" in run("replay-events", "--team", "nobody").output
    assert "ISO 8601" in run("replay-events", "--team", connected.team_id, "--since", "soon").output


def last_json(result) -> dict:
    return json.loads(result.stdout.splitlines()[-1])


# Metrics --------------------------------------------------------------------------------------------------------------


def test_metrics_count_events_by_type_and_outcome_latency_requests_and_waits(connected, app, client):
    deliver_and_apply(app, connected.team_id, event(customer()))
    deliver_and_apply(app, connected.team_id, event({"object": "refund", "id": "re_1"}, "refund.created"))

    answer = client.get("/metrics")

    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    lines = answer.text.splitlines()
    assert 'billstack_events_total{outcome="applied",type="customer.updated"} 1.0' in lines
    assert 'billstack_events_total{outcome="skipped",type="refund.created"} 1.0' in lines
    assert 'billstack_event_apply_seconds_bucket{le="+Inf"} 2.0' in lines
    assert "billstack_event_apply_seconds_count 2.0" in lines
    assert 'billstack_stripe_requests_total{endpoint="retrieve_account",status="200"} 1.0' in lines
    assert any(line.startswith('billstack_budget_wait_seconds_total{endpoint="retrieve_account"}') for line in lines)
    assert "billstack_events_oldest_pending_seconds 0.0" in lines
    assert "billstack_events_pending 0.0" in lines
    assert connected.team_id not in answer.text


def test_metrics_tell_the_age_of_the_oldest_event_that_waits(connected, client, database):
    ledger = Ledger(database, connected.team_id)
    for number in range(3):
        ledger.record(f"evt_{number}", "x", 1, "{}", delivered=True)
    database.execute("UPDATE billstack.events SET received_at = now() - interval '90 s' WHERE id = 'evt_1'")

    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")

    assert 90 <= float(lines["billstack_events_oldest_pending_seconds"]) < 150
    assert lines["billstack_events_pending"] == "3.0"
