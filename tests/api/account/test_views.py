"""Connect, status, backfill, cancel, history over HTTP, against a sandbox Stripe."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from psycopg import sql
from rq import SimpleWorker

from api.account import schemas
from api.http.context import EXTENSION
from scripts.sandbox.running import SandboxClient, SandboxThread
from scripts.sandbox.sandbox import Sandbox
from sync.database.schema import schema_name
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES, in_order
from tests.api.gateway.mirror_filling import put_objects

KEY = "sk_test_demo"
CONNECT = {"secretKey": KEY, "publishableKey": "pk_test_demo", "webhookSecret": "whsec_demo"}
NAMES = ", ".join(OBJECT_TYPES)
OBJECTS_SENTENCE = f"objects must be a list of one or more of {NAMES}, each at most once"
TIME_SENTENCE = "createdAfter must be an ISO 8601 date or date-time, like 2025-01-01 or 2025-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def stripe_url():
    with SandboxThread(Sandbox()) as sandbox:
        for name in ("demo", "other"):
            sandbox.add_account(name, scale=0.01)
        yield sandbox.url


@pytest.fixture
def settings(settings, stripe_url):
    return replace(settings, stripe_api_base=stripe_url)


@pytest.fixture
def connected(owner):
    """An owner whose team is connected."""
    assert owner.client.post(f"{owner.stripe}/connect", json=CONNECT).status_code == 200
    return owner


@pytest.fixture
def backfill(connected):
    """Posts a backfill of the connected team."""
    return lambda body=None: connected.client.post(f"{connected.stripe}/backfill", json=body or {})


@pytest.fixture
def backfill_any(connected):
    """Posts whatever JSON can spell."""
    address = f"{connected.stripe}/backfill"
    return lambda body: connected.client.post(address, data=json.dumps(body), content_type="application/json")


def status_of(member):
    return member.client.get(f"{member.stripe}/status").json


# Connect --------------------------------------------------------------------------------------------------------------


def test_connecting_answers_where_events_shall_go(owner):
    answer = owner.client.post(f"{owner.stripe}/connect", json=CONNECT)

    assert answer.status_code == 200
    assert answer.json == {
        "success": True,
        "webhookUrl": f"http://billstack.test/api/webhooks/stripe/{owner.team_id}",
        "syncStatus": "pending",
    }


def test_the_secret_key_alone_is_enough(owner):
    assert owner.client.post(f"{owner.stripe}/connect", json={"secretKey": KEY}).status_code == 200


def test_a_connected_team_has_a_schema(connected, database):
    name = f"stripe_{connected.team_id}"

    assert database.execute("SELECT count(*) FROM pg_namespace WHERE nspname = %s", (name,)).fetchone() == (1,)
    assert status_of(connected)["schemaExists"] is True


@pytest.mark.parametrize("key", ["sk_test_nobody", "nonsense", "pk_test_demo", "whsec_demo"])
def test_a_key_that_stripe_does_not_know_is_invalid(owner, key):
    answer = owner.client.post(f"{owner.stripe}/connect", json={"secretKey": key})

    assert answer.status_code == 400
    assert answer.json["code"] == "invalid_stripe_key"
    assert key not in answer.text
    assert status_of(owner)["connected"] is False


def test_a_server_without_accounts_is_not_told_as_a_bad_key(app, owner):
    """Such as another fake of Stripe."""
    context = app.extensions[EXTENSION]
    elsewhere = replace(context.settings, stripe_api_base=f"{context.settings.stripe_api_base}/elsewhere")
    app.extensions[EXTENSION] = replace(context, settings=elsewhere)

    answer = owner.client.post(f"{owner.stripe}/connect", json=CONNECT)

    app.extensions[EXTENSION] = context
    assert (answer.status_code, answer.json["code"]) == (502, "stripe_rejected")
    assert "knows no /v1/account" in answer.json["error"]
    assert "STRIPE_API_BASE" in answer.json["error"]


@pytest.mark.parametrize("key", ["sk_test_other", "sk_live_demo"])
def test_a_key_of_another_account_or_mode_changes_nothing(connected, key):
    before = status_of(connected)

    answer = connected.client.post(f"{connected.stripe}/connect", json={"secretKey": key})

    assert answer.status_code == 409
    assert answer.json["code"] == "account_mismatch"
    assert status_of(connected) == before


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "secretKey is required"),
        ({"secretKey": None}, "secretKey must not be null: leave it out instead"),
        ({"secretKey": 5}, "secretKey must be text"),
        ({"secretKey": ""}, "secretKey must be 1 to 255 characters long"),
        ({"secretKey": "sk_test_" + "x" * 250}, "secretKey must be 1 to 255 characters long"),
        ({"secretKey": "sk_test_a b"}, "secretKey must be a key as Stripe shows it, without spaces"),
        ({"secretKey": "sk_test_a\r\nHost: evil"}, "secretKey must be a key as Stripe shows it, without spaces"),
        ({"secretKey": "sk_test_ключ"}, "secretKey must be a key as Stripe shows it, without spaces"),
        ({"secretKey": KEY, "webhookSecret": ["w"]}, "webhookSecret must be text"),
        (
            {"secretKey": KEY, "secret_key": KEY},
            "secret_key is not a known key: allowed are apiVersion, publishableKey, secretKey, webhookSecret",
        ),
    ],
)
def test_a_bad_connect_names_the_field_and_not_the_key(owner, body, sentence):
    answer = owner.client.post(f"{owner.stripe}/connect", json=body)

    assert answer.status_code == 400
    assert answer.json["error"] == sentence
    assert KEY not in answer.text


def test_stripe_that_fails_is_502_and_stores_nothing(new_app, settings, owner):
    away = new_app(replace(settings, stripe_api_base="http://127.0.0.1:1")).test_client()
    away.set_cookie("billstack_session", owner.client.get_cookie("billstack_session").value)

    answer = away.post(f"{owner.stripe}/connect", json=CONNECT)

    assert answer.status_code == 502
    assert answer.json["code"] == "stripe_unavailable"
    assert status_of(owner)["connected"] is False


def test_no_key_is_in_a_log_line_or_in_plain_in_postgres(log_lines, owner, database):
    owner.client.post(f"{owner.stripe}/connect", json=CONNECT)

    stored = database.execute("SELECT connections::text FROM billstack.connections").fetchone()
    for secret in (KEY, "whsec_demo"):
        assert secret not in str(log_lines())
        assert secret not in str(stored)
        assert secret.encode().hex() not in str(stored)


def test_the_webhook_url_comes_with_instructions(owner):
    answer = owner.client.get(f"{owner.stripe}/webhook-url").json

    assert answer["webhookUrl"] == f"http://billstack.test/api/webhooks/stripe/{owner.team_id}"
    assert "customer" in answer["instructions"]
    assert "2026-10-28.endive" in answer["instructions"]


# Disconnect -----------------------------------------------------------------------------------------------------------


def test_disconnecting_forgets_the_keys_and_keeps_the_mirror(connected, database):
    answer = connected.client.delete(f"{connected.stripe}/connect", json={})

    assert (answer.status_code, answer.data) == (204, b"")
    status = status_of(connected)
    assert (status["connected"], status["schemaExists"]) == (False, True)
    stored = database.execute("SELECT secret_key, webhook_secret FROM billstack.connections").fetchone()
    assert stored == (None, None)


def test_an_owner_purges_the_mirror(connected):
    answer = connected.client.delete(f"{connected.stripe}/connect?purge=true", json={})

    assert answer.status_code == 204
    assert status_of(connected)["schemaExists"] is False


def test_an_admin_disconnects_and_does_not_purge(connected, new_member):
    admin = new_member("admin", team_id=connected.team_id)

    assert admin.client.delete(f"{connected.stripe}/connect?purge=true", json={}).status_code == 403
    assert status_of(connected)["connected"] is True
    assert admin.client.delete(f"{connected.stripe}/connect", json={}).status_code == 204


@pytest.mark.parametrize("purge", ["yes", "1", "TRUE", ""])
def test_purge_is_true_or_false(connected, purge):
    answer = connected.client.delete(f"{connected.stripe}/connect?purge={purge}", json={})

    assert answer.status_code == 400
    assert answer.json["error"] == "purge must be true or false"
    assert status_of(connected)["connected"] is True


# Backfill -------------------------------------------------------------------------------------------------------------


def test_a_backfill_starts_with_all_six_types(backfill):
    answer = backfill()

    assert answer.status_code == 202
    assert answer.json["backfillId"].startswith("bf_")
    assert {key: answer.json[key] for key in ("success", "message", "syncStatus", "result")} == {
        "success": True,
        "message": "Backfill started",
        "syncStatus": "syncing",
        "result": {name: {"synced": 0} for name in DEFAULT_TYPES},
    }


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_no_body_at_all_is_an_empty_one(connected, content_type):
    answer = connected.client.post(f"{connected.stripe}/backfill", content_type=content_type)

    assert answer.status_code == 202
    assert list(answer.json["result"]) == list(DEFAULT_TYPES)


def test_a_backfill_of_chosen_types_answers_only_those(backfill):
    assert set(backfill({"objects": ["charge", "customer"]}).json["result"]) == {"charge", "customer"}


def test_the_same_request_again_answers_the_running_one(backfill):
    first = backfill({"objects": ["charge", "customer"]})

    again = backfill({"objects": ["customer", "charge"]})

    assert again.status_code == 200
    assert again.json["message"] == "Backfill already running"
    assert again.json["backfillId"] == first.json["backfillId"]


@pytest.mark.parametrize("other", [{"objects": ["customer"]}, {"createdAfter": "2025-01-01"}])
def test_another_request_meanwhile_is_a_conflict_that_names_the_running_one(backfill, other):
    running = backfill().json["backfillId"]

    answer = backfill(other)

    assert answer.status_code == 409
    assert answer.json["code"] == "backfill_in_progress"
    assert running in answer.text


def test_a_team_that_is_not_connected_cannot_backfill(owner):
    answer = owner.client.post(f"{owner.stripe}/backfill", json={})

    assert answer.status_code == 409
    assert answer.json["code"] == "not_connected"


@pytest.mark.parametrize(
    "objects",
    [
        [],
        ["customer", "customer"],
        ["customers"],
        ["customer", "unicorn"],
        ["Customer"],
        [None],
        [["customer"]],
        [{}],
        [1],
        "customer",
        {"customer": True},
        5,
        True,
    ],
)
def test_bad_objects_are_answered_with_the_valid_ones(backfill, objects):
    answer = backfill({"objects": objects})

    assert answer.status_code == 400
    assert answer.json["error"] == OBJECTS_SENTENCE


@pytest.mark.parametrize("field", ["objects", "createdAfter"])
def test_null_is_not_the_same_as_left_out(backfill, field):
    answer = backfill({field: None})

    assert answer.status_code == 400
    assert answer.json["error"] == f"{field} must not be null: leave it out instead"


@pytest.mark.parametrize(
    "moment",
    [
        "yesterday",
        "",
        "2025-13-01",
        "2025-02-30",
        "2025-01-01T25:00:00Z",
        "2025-01-01T00:00:00+99:00",
        "0001-01-01T00:00:00+14:00",
        "1735689600",
        1735689600,
        1735689600.5,
        True,
        ["2025-01-01"],
        {"gte": "2025-01-01"},
        "2025-01-01\0",
        "٢٠٢٥-01-01",
    ],
)
def test_an_unparsable_created_after_is_400(backfill, moment):
    answer = backfill({"createdAfter": moment})

    assert answer.status_code == 400
    assert answer.json["error"] == TIME_SENTENCE


@pytest.mark.parametrize("ahead", [timedelta(minutes=1), timedelta(days=400)])
def test_a_created_after_in_the_future_is_400(backfill, ahead):
    answer = backfill({"createdAfter": (datetime.now(UTC) + ahead).isoformat()})

    assert answer.status_code == 400
    assert answer.json["error"] == "createdAfter must not be in the future"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2025-01-01", "2025-01-01T00:00:00Z"),
        ("2025-01-01T12:30:00", "2025-01-01T12:30:00Z"),  # naive is UTC
        ("2025-01-01T12:30:00Z", "2025-01-01T12:30:00Z"),
        ("2025-01-01T12:30:00.000Z", "2025-01-01T12:30:00Z"),
        ("2025-01-01T12:30:00+02:00", "2025-01-01T10:30:00Z"),
    ],
)
def test_created_after_is_understood(connected, backfill, given, meant):
    assert backfill({"createdAfter": given}).status_code == 202

    assert status_of(connected)["backfill"]["createdAfter"] == meant


@pytest.mark.parametrize("body", ["[]", '"text"', "5", "null", "true"])
def test_a_body_that_is_no_object_is_400(connected, body):
    answer = connected.client.post(f"{connected.stripe}/backfill", data=body, content_type="application/json")

    assert answer.status_code == 400
    assert answer.json == {"error": "the body must be a JSON object", "code": "not_json"}


def test_an_unknown_key_is_answered_with_the_known_ones(backfill):
    answer = backfill({"object": ["customer"]})

    assert answer.status_code == 400
    assert answer.json["error"] == "object is not a known key: allowed are createdAfter, objects"
    assert answer.json["details"] == {"fields": {"object": ["is not a known key: allowed are createdAfter, objects"]}}


def test_several_mistakes_are_told_at_once(backfill):
    answer = backfill({"objects": [], "createdAfter": "soon"})

    assert answer.json["error"] == f"{OBJECTS_SENTENCE}; {TIME_SENTENCE}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["objects", "createdAfter", "x"]) | st.text(), inner)
    ),
    max_leaves=8,
)


@given(body=JSON)
@settings_of_hypothesis(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_whatever_crashes(backfill_any, body):
    answer = backfill_any(body)

    assert answer.status_code in (200, 202, 400, 409)
    assert "error" in answer.json or answer.json["success"]


def test_the_request_id_goes_with_the_backfill(connected, database):
    connected.client.post(f"{connected.stripe}/backfill", json={}, headers={"X-Request-Id": "from-the-browser"})

    assert database.execute("SELECT request_id FROM billstack.backfills").fetchone() == ("from-the-browser",)


def test_redis_away_does_not_lose_a_backfill(new_app, settings, connected):
    """It is recorded in Postgres; the scheduler enqueues it when Redis is back."""
    away = new_app(replace(settings, redis_url="redis://127.0.0.1:1")).test_client()
    away.set_cookie("billstack_session", connected.client.get_cookie("billstack_session").value)

    answer = away.post(f"{connected.stripe}/backfill", json={})

    assert answer.status_code == 202
    assert status_of(connected)["backfill"]["id"] == answer.json["backfillId"]


# Cancel, history, status ----------------------------------------------------------------------------------------------


def test_canceling_goes_back_to_the_state_before(connected, backfill):
    backfill_id = backfill().json["backfillId"]

    answer = connected.client.post(f"{connected.stripe}/backfill/cancel", json={})

    assert answer.status_code == 202
    assert answer.json["backfillId"] == backfill_id
    assert status_of(connected)["syncStatus"] == "pending"
    (past,) = connected.client.get(f"{connected.stripe}/backfills").json["backfills"]
    assert (past["id"], past["status"]) == (backfill_id, "canceled")


def test_canceling_nothing_is_fine(connected):
    answer = connected.client.post(f"{connected.stripe}/backfill/cancel", json={})

    assert answer.status_code == 202
    assert answer.json["backfillId"] is None


def test_history_is_newest_first_and_as_long_as_asked(connected, backfill):
    ids = []
    for _ in range(3):
        ids.insert(0, backfill().json["backfillId"])
        connected.client.post(f"{connected.stripe}/backfill/cancel", json={})

    everything = connected.client.get(f"{connected.stripe}/backfills").json["backfills"]
    two = connected.client.get(f"{connected.stripe}/backfills?limit=2").json["backfills"]

    assert [past["id"] for past in everything] == ids
    assert [past["id"] for past in two] == ids[:2]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "ten", "", "9" * 5000, "1e1", "0x10"])
def test_a_bad_limit_names_the_range(owner, limit):
    answer = owner.client.get(f"{owner.stripe}/backfills?limit={limit}")

    assert answer.status_code == 400
    assert answer.json["error"] == "limit must be a whole number from 1 to 100"


@pytest.fixture
def work(environment, stripe_url, monkeypatch):
    """Does the jobs that wait, in this process."""
    for name, value in (environment | {"STRIPE_API_BASE": stripe_url}).items():
        monkeypatch.setenv(name, value)

    def run():
        with redis.Redis.from_url(environment["REDIS_URL"]) as connection:
            SimpleWorker(["backfills"], connection=connection).work(burst=True, logging_level="CRITICAL")

    return run


def test_a_finished_backfill_is_ready_in_status_and_history(connected, backfill, work):
    backfill_id = backfill({"objects": ["customer", "product"]}).json["backfillId"]

    work()

    status = status_of(connected)
    schemas.StatusAnswer().load(status)
    assert status["syncStatus"] == "ready"
    assert status["lastSyncedAt"] == status["backfill"]["finishedAt"]
    assert status["result"]["customer"] == {"synced": 12, "status": "ready", "progress": 1.0, "error": None}
    history = connected.client.get(f"{connected.stripe}/backfills").json
    schemas.HistoryAnswer().load(history)
    assert [(past["id"], past["status"]) for past in history["backfills"]] == [(backfill_id, "ready")]
    assert history["backfills"][0]["result"]["customer"]["synced"] == 12


def test_connecting_again_keeps_the_mirror_and_its_status(connected, backfill, work):
    backfill({"objects": ["product"]})
    work()

    again = connected.client.post(f"{connected.stripe}/connect", json=CONNECT)

    assert again.json["syncStatus"] == "ready"


def test_a_viewer_reads_everything(connected, new_member):
    viewer = new_member("viewer", team_id=connected.team_id)

    for address in ("status", "webhook-url", "backfills"):
        assert viewer.client.get(f"{connected.stripe}/{address}").status_code == 200


def test_one_teams_backfill_is_in_no_other_teams_answers(backfill, new_member):
    backfill_id = backfill().json["backfillId"]
    stranger = new_member()

    for address in ("status", "backfills"):
        assert backfill_id not in stranger.client.get(f"{stranger.stripe}/{address}").text


def test_answers_have_the_documented_shape(owner):
    """The schemas refuse unknown keys, ask for all of theirs, and are what /api/docs shows."""
    client, stripe = owner.client, owner.stripe

    schemas.StatusAnswer().load(client.get(f"{stripe}/status").json)
    schemas.ConnectedAnswer().load(client.post(f"{stripe}/connect", json=CONNECT).json)
    schemas.WebhookUrlAnswer().load(client.get(f"{stripe}/webhook-url").json)
    schemas.StartedAnswer().load(client.post(f"{stripe}/backfill", json={}).json)
    schemas.StatusAnswer().load(client.get(f"{stripe}/status").json)
    schemas.CanceledAnswer().load(client.post(f"{stripe}/backfill/cancel", json={}).json)
    schemas.HistoryAnswer().load(client.get(f"{stripe}/backfills").json)


# The mirror, apart from any run ---------------------------------------------------------------------------------------


def mirrored(member, key):
    return {name: each[key] for name, each in status_of(member)["mirror"].items()}


def rows_of(database, team_id):
    found = {}
    for name, object_type in ((each.name, each) for each in in_order(DEFAULT_TYPES)):
        table = sql.Identifier(schema_name(team_id), object_type.table)
        live = sql.SQL("SELECT count(*) FROM {} WHERE deleted_at IS NULL").format(table)
        (found[name],) = database.execute(live).fetchone()
    return found


def test_nothing_is_said_of_a_mirror_that_is_not_there(owner):
    status = status_of(owner)

    assert (status["mirror"], status["lastRun"], status["lastFullSyncAt"]) == ({}, None, None)


def test_a_mirror_that_is_empty_says_so(connected):
    status = status_of(connected)

    assert mirrored(connected, "objects") == dict.fromkeys(DEFAULT_TYPES, 0)
    assert mirrored(connected, "complete") == dict.fromkeys(DEFAULT_TYPES, False)
    assert status["mirror"]["price"]["rightAsOf"] is None


def test_after_a_full_sync_each_type_is_complete_and_its_rows_are_counted(connected, backfill, work, database):
    backfill()
    work()

    status = status_of(connected)
    schemas.StatusAnswer().load(status)
    assert mirrored(connected, "objects") == rows_of(database, connected.team_id)
    assert set(mirrored(connected, "complete").values()) == {True}
    assert status["lastFullSyncAt"] == status["backfill"]["finishedAt"]
    # Right up to the second before its lists were asked, by Stripe's clock.
    earliest, now = datetime.fromisoformat(status["backfill"]["startedAt"]) - timedelta(seconds=5), datetime.now(UTC)
    right_as_of = map(datetime.fromisoformat, mirrored(connected, "rightAsOf").values())
    assert all(earliest <= moment <= now for moment in right_as_of)
    # Prices that no list gives are in the mirror, and no part of what the lists met.
    assert status["mirror"]["price"]["objects"] >= status["result"]["price"]["synced"]
    assert status["lastRun"]["status"] == "ready"
    assert status["lastRun"]["written"] == sum(each["synced"] for each in status["result"].values())


def test_a_selective_sync_is_no_full_one(connected, backfill, work, database):
    backfill()
    work()
    before = status_of(connected)
    backfill({"objects": ["product"]})
    work()

    status = status_of(connected)
    assert status["lastFullSyncAt"] == before["lastFullSyncAt"]
    assert list(status["result"]) == ["product"]
    assert mirrored(connected, "objects") == rows_of(database, connected.team_id)
    assert set(mirrored(connected, "complete").values()) == {True}
    assert (status["lastRun"]["objects"], status["lastRun"]["written"]) == (["product"], 0)


@pytest.mark.parametrize("request_body", [{"objects": ["customer"]}, {"createdAfter": "2020-01-01"}])
def test_only_what_was_read_whole_is_complete(connected, backfill, work, request_body):
    backfill(request_body)
    work()

    is_whole = "objects" in request_body
    complete = mirrored(connected, "complete")
    assert complete == dict.fromkeys(DEFAULT_TYPES, False) | {"customer": is_whole}
    assert status_of(connected)["lastFullSyncAt"] is None
    assert status_of(connected)["mirror"]["customer"]["objects"] == 12


def test_after_a_canceled_first_sync_the_mirror_has_rows_and_is_not_complete(connected, backfill, database):
    started = backfill().json["backfillId"]
    put_objects(database, connected.team_id, "customers", [json.dumps({"id": "cus_1"}), json.dumps({"id": "cus_2"})])

    connected.client.post(f"{connected.stripe}/backfill/cancel", json={})

    status = status_of(connected)
    schemas.StatusAnswer().load(status)
    assert (status["syncStatus"], status["result"]) == ("pending", {})
    assert status["mirror"]["customer"] == {
        "objects": 2,
        "complete": False,
        "completedAt": None,
        "rightAsOf": None,
        "comparedAt": None,
        "differed": None,
    }
    assert (status["lastRun"]["id"], status["lastRun"]["status"]) == (started, "canceled")


def test_a_failed_type_keeps_its_rows_in_the_mirror(connected, backfill, work, database, stripe_url):
    backfill()
    work()
    before = status_of(connected)["mirror"]
    permissions = [f"rak_{name}_read" for name in ("accounts_kyc_basic", "customer", "product", "plan", "event")]
    restricted = SandboxClient(stripe_url).call("POST", "keys", account="demo", permissions=permissions)["key"]
    connected.client.post(f"{connected.stripe}/connect", json={"secretKey": restricted})
    backfill()
    work()

    status = status_of(connected)
    assert status["syncStatus"] == "error"
    assert status["result"]["charge"]["synced"] == 0
    assert status["mirror"]["charge"]["objects"] == before["charge"]["objects"] > 0
    assert status["mirror"]["charge"]["complete"] is True
    assert status["mirror"]["charge"]["completedAt"] == before["charge"]["completedAt"]
    assert status["mirror"]["customer"]["completedAt"] >= before["customer"]["completedAt"]
    assert status["lastFullSyncAt"] == before["charge"]["completedAt"]


def test_a_disconnected_mirror_keeps_its_numbers_and_says_that_it_stands_still(connected, backfill, work):
    backfill()
    work()
    before = status_of(connected)["mirror"]

    connected.client.delete(f"{connected.stripe}/connect", json={})

    status = status_of(connected)
    assert status["mirror"] == before
    assert status["isActive"] is False
    assert any("the mirror is not updated" in warning for warning in status["warnings"])
