"""The event log: what Stripe told, what became of it, and what comparisons repaired, for the team's members alone."""

import json

import pytest

from sync.events import log
from sync.events.ledger import Ledger
from sync.events.log import object_of
from sync.teams.connections import Connections
from tests.api.gateway.mirror_filling import connect_with_key
from tests.factories import customer, event, invoice


@pytest.fixture
def connected(app, owner, database):
    connect_with_key(app, database, owner.team_id, "sk_test_x")
    yield owner
    database.execute(f'DROP SCHEMA IF EXISTS "stripe_{owner.team_id}" CASCADE')


def record(database, team_id, about, type=None, *, created=100, state=None, error=None) -> str:
    told = event(about, type, created=created)
    Ledger(database, team_id).record(told["id"], told["type"], created, json.dumps(told), delivered=True)
    if state:
        database.execute("UPDATE billstack.events SET state = %s, error = %s WHERE id = %s", (state, error, told["id"]))
    return told["id"]


def listed(member, **query) -> list[str]:
    answer = member.client.get(f"{member.stripe}/events", query_string=query)
    assert answer.status_code == 200, answer.json
    return [each["id"] for each in answer.json["events"]]


def test_an_event_is_told_with_its_object_and_what_became_of_it(owner, database):
    event_id = record(database, owner.team_id, invoice("in_1"), "invoice.paid", state="failed", error="No answer.")

    (told,) = owner.client.get(f"{owner.stripe}/events").json["events"]

    assert told["id"] == event_id
    assert told["object"] == {"stripeObject": "invoice", "type": "invoice", "id": "in_1"}
    assert (told["type"], told["state"], told["error"]) == ("invoice.paid", "failed", "No answer.")
    assert told["createdAt"] == "1970-01-01T00:01:40Z"
    assert told["nextAttemptAt"]
    shown = owner.client.get(f"{owner.stripe}/events/{event_id}").json["event"]
    assert json.loads(shown.pop("body"))["id"] == event_id
    assert shown == told


def test_filters_choose_by_state_type_family_and_object(owner, database):
    paid = record(database, owner.team_id, invoice("in_1"), "invoice.paid", created=3, state="applied")
    voided = record(database, owner.team_id, invoice("in_2"), "invoice.voided", created=2, state="failed")
    person = record(database, owner.team_id, customer("cus_9"), created=1)

    assert listed(owner) == [paid, voided, person]
    assert listed(owner, state="failed") == [voided]
    assert listed(owner, state="pending") == [person]
    assert listed(owner, state="applied") == [paid]
    assert listed(owner, type="invoice.paid") == [paid]
    assert listed(owner, type="invoice.*") == [paid, voided]
    assert listed(owner, object="cus_9") == [person]
    assert listed(owner, object="cus_") == []
    assert listed(owner, state="failed", object="cus_9") == []


def test_pages_follow_each_other_without_gap_or_overlap(owner, database):
    ids = [record(database, owner.team_id, customer(), created=100 + number // 3) for number in range(10)]
    met, cursor = [], None
    while True:
        query = {"limit": 3} | ({"before": cursor} if cursor else {})
        answer = owner.client.get(f"{owner.stripe}/events", query_string=query).json
        met += [each["id"] for each in answer["events"]]
        cursor = answer["nextCursor"]
        if cursor is None:
            break

    assert sorted(met) == sorted(ids)
    created = dict(database.execute("SELECT id, created FROM billstack.events").fetchall())
    assert [created[each] for each in met] == sorted(created.values(), reverse=True)


def test_a_page_looks_at_so_many_events_and_says_where_to_look_further(owner, database, monkeypatch):
    monkeypatch.setattr(log, "_LOOK", 4)
    monkeypatch.setattr(log, "_LOOK_INTO", 4)
    wanted = record(database, owner.team_id, customer("cus_9"), created=1, state="applied")
    for second in range(2, 12):
        record(database, owner.team_id, customer("cus_1"), created=second, state="applied")
    pages, cursor = [], None
    while True:
        query = {"object": "cus_9"} | ({"before": cursor} if cursor else {})
        answer = owner.client.get(f"{owner.stripe}/events", query_string=query).json
        pages.append([each["id"] for each in answer["events"]])
        cursor = answer["nextCursor"]
        if cursor is None:
            break

    assert pages == [[], [], [wanted]]


@pytest.mark.parametrize("query", ["state=lost", "limit=0", "before=x", "before=1.%00", "object="])
def test_an_impossible_question_is_refused(owner, query):
    assert owner.client.get(f"{owner.stripe}/events?{query}").status_code == 400


@pytest.mark.parametrize(
    ("body", "about"),
    [
        pytest.param('{"data": {"object": {"id": "cus_1", "object": "customer"}}}', ("customer", "cus_1"), id="plain"),
        pytest.param(
            '{"related_object": {"id": "m_1", "type": "v1.billing.meter"}}', ("billing.meter", "m_1"), id="thin"
        ),
        pytest.param('{"data": {"object": {"object": "invoice"}}}', None, id="a preview"),
        pytest.param('{"data": {"object": {"id": 1}}}', None, id="an odd id"),
        pytest.param("not JSON", None, id="no JSON"),
        pytest.param("[" * 100_000, None, id="too deep"),
    ],
)
def test_the_object_of_an_event_is_read_from_its_body(body, about):
    assert object_of(body) == about


# Replay ---------------------------------------------------------------------------------------------------------------


def replay(member, event_id, team=None):
    return member.client.post(f"{(team or member).stripe}/events/{event_id}/replay", json={})


def test_a_replayed_event_is_due_again_and_the_audit_log_says_who(connected, database):
    event_id = record(database, connected.team_id, customer(), state="failed", error="x")

    answer = replay(connected, event_id)

    assert answer.status_code == 202
    assert answer.json["eventId"] == event_id
    row = database.execute("SELECT state, attempts, error FROM billstack.events WHERE id = %s", (event_id,)).fetchone()
    assert row == ("pending", 0, None)
    entry = database.execute(
        "SELECT action, actor, target FROM billstack.audit_log WHERE action LIKE 'event%'"
    ).fetchone()
    assert entry == ("event.replayed", connected.email, event_id)


def test_nobody_else_replays(app, connected, database, new_member):
    event_id = record(database, connected.team_id, customer(), state="applied")

    viewer, stranger = new_member("viewer", team_id=connected.team_id), new_member("owner")

    assert replay(viewer, event_id).status_code == 403
    assert replay(stranger, event_id, connected).status_code == 404
    connect_with_key(app, database, stranger.team_id, "sk_test_x")
    assert replay(stranger, event_id).status_code == 404
    assert replay(connected, "evt_unknown").status_code == 404
    assert database.execute("SELECT state FROM billstack.events").fetchall() == [("applied",)]
    database.execute(f'DROP SCHEMA "stripe_{stranger.team_id}" CASCADE')


def test_a_disconnected_team_replays_nothing(owner, database):
    event_id = record(database, owner.team_id, customer(), state="applied")

    answer = replay(owner, event_id)

    assert (answer.status_code, answer.json["code"]) == (409, "not_connected")


# Repairs --------------------------------------------------------------------------------------------------------------


def repair(database, team_id, object_id, fields=()):
    database.execute(
        "INSERT INTO billstack.repairs (team_id, reconcile_id, type, object_id, kind, fields)"
        " VALUES (%s, 'rc_1', 'customer', %s, 'stale', %s)",
        (team_id, object_id, json.dumps(list(fields))),
    )


def test_repairs_are_listed_newest_first_to_their_team_alone(owner, database, new_member):
    differs = {"path": "email", "old": '"a@b"', "new": None}
    for number in range(3):
        repair(database, owner.team_id, f"cus_{number}", [differs])
    stranger = new_member("owner")

    first = owner.client.get(f"{owner.stripe}/repairs?limit=2").json
    rest = owner.client.get(f"{owner.stripe}/repairs?limit=2&before={first['repairs'][-1]['id']}").json

    assert [each["objectId"] for each in first["repairs"] + rest["repairs"]] == ["cus_2", "cus_1", "cus_0"]
    assert (first["hasMore"], rest["hasMore"]) == (True, False)
    assert first["repairs"][0]["differences"] == [differs]
    assert stranger.client.get(f"{stranger.stripe}/repairs").json["repairs"] == []
    assert stranger.client.get(f"{owner.stripe}/repairs").status_code == 404


def test_a_purge_deletes_them(connected, database):
    repair(database, connected.team_id, "cus_1")
    purge = f"{connected.stripe}/connect?purge=true"

    assert connected.client.delete(purge, headers={"Content-Type": "application/json"}).status_code == 204

    assert database.execute("SELECT count(*) FROM billstack.repairs").fetchone() == (0,)
    assert Connections(database, None).get(connected.team_id) is None


# Pages ----------------------------------------------------------------------------------------------------------------


def test_the_pages_show_events_and_repairs_with_links_to_their_objects(connected, database, new_member):
    event_id = record(database, connected.team_id, customer("cus_7"), state="failed", error="<b>No</b> answer.")
    repair(database, connected.team_id, "cus_8", [{"path": "email", "old": '"<i>"', "new": None}])
    team, viewer = f"/teams/{connected.team_id}", new_member("viewer", team_id=connected.team_id)

    page = connected.client.get(f"{team}/events").text
    one = connected.client.get(f"{team}/events/{event_id}").text
    repairs = connected.client.get(f"{team}/repairs").text

    assert f'href="{team}/explore/customers/cus_7"' in page
    assert f'href="{team}/explore/customers/cus_7"' in one
    assert "&lt;b&gt;No&lt;/b&gt; answer." in one
    assert f'href="{team}/explore/customers/cus_8"' in repairs
    assert "&lt;i&gt;" in repairs
    assert "Replay" in page
    assert "Replay" not in viewer.client.get(f"{team}/events").text
    assert "Replay" not in viewer.client.get(f"{team}/events/{event_id}").text


def test_an_event_in_a_deleted_or_unknown_shape_has_a_page(owner, database):
    Ledger(database, owner.team_id).record("evt_odd", "x.y", 1, "not JSON", delivered=False)

    assert owner.client.get(f"/teams/{owner.team_id}/events/evt_odd").status_code == 200
    assert owner.client.get(f"/teams/{owner.team_id}/events?state=lost&object=%00").status_code == 200
