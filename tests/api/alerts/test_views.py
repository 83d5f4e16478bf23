"""A team's owner says where alerts go; others see what is wrong, but not the address or the secret."""

import json
from dataclasses import replace

import pytest

from sync.alerts.store import AlertStore
from sync.teams.secrets import SecretBox

URL = "https://hooks.example.com/t/secret-token"


@pytest.fixture
def settings(settings):
    return replace(settings, smtp_url="smtp://mail.example.com", mail_from="billstack@example.com")


def at(member, place=""):
    return f"/api/billstack/teams/{member.team_id}/alerts{place}"


def put(member, **body):
    return member.client.put(at(member), json=body)


def get(member):
    return member.client.get(at(member)).json


def test_nothing_is_on_until_an_owner_turns_it_on(owner):
    assert get(owner) == {
        "enabled": False,
        "webhookUrl": None,
        "emails": [],
        "canSendEmail": True,
        "alerts": [],
        "notices": [],
    }


def test_the_secret_is_shown_once_and_kept_until_a_new_one_is_wanted(owner, database):
    first = put(owner, webhookUrl=URL, emails=[owner.email.upper()])

    assert first.status_code == 200
    secret = first.json["webhookSecret"]
    assert secret.startswith("whsec_")
    assert get(owner)["webhookUrl"] == URL
    assert get(owner)["emails"] == [owner.email]
    assert "webhookSecret" not in get(owner)
    assert put(owner, webhookUrl=f"{URL}/2").json["webhookSecret"] is None
    assert get(owner)["emails"] == []
    second = owner.client.post(at(owner, "/secret"), json={}).json["webhookSecret"]
    assert second not in (None, secret)
    receivers = AlertStore(database, SecretBox((b"k" * 32,))).receivers(owner.team_id)
    assert receivers.webhook_secret == second


def test_the_address_and_the_secret_are_encrypted_and_in_no_log(owner, database, log_lines):
    log_lines()
    secret = put(owner, webhookUrl=URL).json["webhookSecret"]

    row = database.execute("SELECT webhook_url, webhook_secret FROM billstack.alert_settings").fetchone()
    assert not any(text.encode() in sealed for text in (URL, secret, "token") for sealed in row)
    logged = json.dumps(log_lines())
    assert "secret-token" not in logged
    assert secret not in logged
    entries = database.execute(
        "SELECT action, details::text FROM billstack.audit_log WHERE action LIKE 'alerts%'"
    ).fetchall()
    assert [action for action, _ in entries] == ["alerts.changed"]
    assert "token" not in entries[0][1]


def test_others_see_only_the_host(owner, new_member):
    put(owner, webhookUrl=URL)
    admin = new_member("admin", team_id=owner.team_id)

    assert get(admin)["webhookUrl"] == "https://hooks.example.com/…"
    page = admin.client.get(f"/teams/{owner.team_id}/alerts").text
    assert "secret-token" not in page
    assert "secret-token" in owner.client.get(f"/teams/{owner.team_id}/alerts").text


@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_only_an_owner_changes_them(owner, new_member, role):
    member = new_member(role, team_id=owner.team_id)
    json_type = {"Content-Type": "application/json"}

    assert put(member, webhookUrl=URL).status_code == 403
    assert member.client.delete(at(member), headers=json_type).status_code == 403
    assert member.client.post(at(member, "/test"), json={}).status_code == 403
    assert member.client.post(at(member, "/secret"), json={}).status_code == 403
    assert get(owner)["enabled"] is False


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"webhookUrl": "http://example.com"}, "webhookUrl"),
        ({"webhookUrl": "https://127.0.0.1/"}, "webhookUrl"),
        ({"webhookUrl": "https://10.0.0.1/"}, "webhookUrl"),
        ({"webhookUrl": "x"}, "webhookUrl"),
        ({"emails": ["stranger@example.com"]}, "emails"),
        ({"emails": ["x"]}, "emails"),
        ({}, None),
        ({"url": URL}, "url"),
    ],
)
def test_a_bad_receiver_is_refused_and_named(owner, body, field):
    answer = put(owner, **body)

    assert answer.status_code == 400, answer.json
    assert field is None or field in answer.json["error"]
    assert get(owner)["enabled"] is False, "nothing is left of it"


def test_a_server_without_mail_takes_no_addresses(new_app, settings, owner, sign_in):
    client = new_app(replace(settings, smtp_url=None, mail_from=None)).test_client()
    sign_in(client, owner.email)

    answer = client.put(at(owner), json={"emails": [owner.email]})

    assert (answer.status_code, answer.json["code"]) == (409, "no_mail_server")


def test_turned_off_everything_is_forgotten(owner, database):
    put(owner, webhookUrl=URL)

    answer = owner.client.delete(at(owner), headers={"Content-Type": "application/json"})

    assert answer.status_code == 204
    assert get(owner)["enabled"] is False
    assert database.execute("SELECT count(*) FROM billstack.alert_settings").fetchone() == (0,)


def test_a_test_says_why_it_did_not_arrive_and_there_are_few_an_hour(owner):
    assert owner.client.post(at(owner, "/test"), json={}).json["code"] == "alerts_off"
    put(owner, webhookUrl="https://hook.invalid/")

    answers = [owner.client.post(at(owner, "/test"), json={}) for _ in range(11)]

    assert answers[0].json == {
        "success": False,
        "message": "the webhook's address must have a host whose name can be resolved",
        "results": {"webhook": "the webhook's address must have a host whose name can be resolved"},
    }
    (notice, *_) = get(owner)["notices"]
    assert (notice["kind"], notice["state"], notice["attempts"]) == ("test", "failed", 1)
    assert answers[-1].status_code == 429


def test_the_page_shows_what_is_wrong_and_what_was_told(owner, database):
    put(owner, webhookUrl=URL)
    database.execute(
        "INSERT INTO billstack.alerts (team_id, kind, is_on, since, details) VALUES (%s, 'backfill_failed', true, now(), %s)",
        (owner.team_id, json.dumps({"error": "<b>No</b>"})),
    )

    page = owner.client.get(f"/teams/{owner.team_id}/alerts").text

    assert "1 wrong" in page
    assert "&lt;b&gt;No&lt;/b&gt;" in page
