"""Who did what is recorded, told to owners and operators only, and holds nothing secret."""

import json

import pytest

from api.http.context import EXTENSION
from api.http.seats import Seats
from api.people.audit import ACTIONS
from tests.api.conftest import PASSWORD

BROWSER = {"Accept": "text/html"}


@pytest.fixture
def log_of(owner):
    return f"/api/billstack/teams/{owner.team_id}/audit-log"


def actions(client, address):
    return [each["action"] for each in client.get(address).json["entries"]]


def test_what_is_done_to_keys_is_recorded(owner, log_of):
    keys = f"/api/billstack/teams/{owner.team_id}/api-keys"
    made = owner.client.post(keys, json={"name": "Back end", "scopes": ["customers:read"]}).json
    owner.client.delete(f"{keys}/{made['key']['id']}", json={})

    revoked, created = owner.client.get(log_of).json["entries"]

    assert (created["action"], created["actor"], created["actorId"]) == ("key.created", owner.email, owner.user_id)
    assert created["details"] == {"name": "Back end", "scopes": ["customers:read"]}
    assert (
        (revoked["action"], revoked["target"])
        == ("key.revoked", made["key"]["id"])
        == ("key.revoked", created["target"])
    )
    assert created["address"] == "127.0.0.1"
    assert made["rawKey"] not in json.dumps([revoked, created])


def test_an_entry_waits_for_no_seat_of_the_team(app, owner, log_of, monkeypatch):
    """The change is done by then: a team whose reads had all seats got a 500 for it, and no entry."""
    seats = NotedSeats()
    monkeypatch.setattr(app.extensions[EXTENSION].pool, "seats", seats)

    owner.client.post(f"/api/billstack/teams/{owner.team_id}/projects", json={"name": "App"})

    assert seats.taken_by[-2:] == [owner.team_id, None]
    assert actions(owner.client, log_of)[0] == "project.created"


class NotedSeats(Seats):
    def __init__(self):
        super().__init__()
        self.taken_by = []

    def take(self, team_id):
        self.taken_by.append(team_id)
        return super().take(team_id)


def test_what_is_done_to_members_is_recorded(owner, log_of, new_member):
    person = new_member()
    members = f"/api/billstack/teams/{owner.team_id}/members"
    link = owner.client.post(members, json={"email": person.email, "role": "viewer"}).json["link"]
    person.client.post("/api/auth/accept-invitation", json={"token": link.partition("token=")[2]})
    owner.client.patch(f"{members}/{person.user_id}", json={"role": "admin"})
    owner.client.delete(f"{members}/{person.user_id}", json={})

    entries = owner.client.get(log_of).json["entries"]

    assert [each["action"] for each in entries] == [
        "member.removed",
        "member.role_changed",
        "member.joined",
        "member.invited",
    ]
    assert [each["actorId"] for each in entries] == [owner.user_id, owner.user_id, person.user_id, owner.user_id]
    assert entries[0]["details"] == {"email": person.email, "role": "admin"}
    assert link.partition("token=")[2] not in json.dumps(entries)


def test_what_was_refused_or_only_read_is_not_recorded(owner, log_of, new_member):
    viewer = new_member("viewer", team_id=owner.team_id)
    viewer.client.post(f"/api/billstack/teams/{owner.team_id}/projects", json={"name": "x"})
    owner.client.post(f"/api/billstack/teams/{owner.team_id}/projects", json={})
    owner.client.get(f"/api/billstack/teams/{owner.team_id}/projects")

    assert owner.client.get(log_of).json["entries"] == []


def test_only_owners_read_a_teams_log(owner, log_of, new_member, operator):
    for role, status in (("owner", 200), ("admin", 403), ("viewer", 403)):
        member = new_member(role, team_id=owner.team_id)
        page = f"/teams/{owner.team_id}/audit-log"
        assert member.client.get(log_of).status_code == status
        assert member.client.get(page, headers=BROWSER).status_code == status
    assert new_member().client.get(log_of).status_code == 404
    assert operator.client.get(log_of).status_code == 404


def test_operators_read_the_whole_log(owner, operator):
    owner.client.post(f"/api/billstack/teams/{owner.team_id}/projects", json={"name": "Rocket"})

    entries = operator.client.get("/api/billstack/audit-log").json["entries"]

    assert (entries[0]["action"], entries[0]["teamId"]) == ("project.created", owner.team_id)
    assert {each["action"] for each in entries} == {"project.created", "session.began"}
    assert "project.created" in operator.client.get("/operators/audit-log", headers=BROWSER).text
    for address in ("/api/billstack/audit-log", "/operators/audit-log"):
        assert owner.client.get(address).status_code == 403


def test_what_is_done_on_the_command_line_is_recorded(app, operator):
    runner = app.test_cli_runner()
    runner.invoke(args=["create-user", "--email", "ada@example.com", "--operator"], input=PASSWORD)
    runner.invoke(args=["operator", "--email", "ada@example.com", "--revoke"])
    link = runner.invoke(args=["reset-link", "--email", "ada@example.com"]).stdout.strip()

    entries = operator.client.get("/api/billstack/audit-log?limit=4").json["entries"]

    assert [each["action"] for each in entries] == [
        "password.reset_link",
        "operator.revoked",
        "operator.granted",
        "user.ensured",
    ]
    assert {each["actor"] for each in entries} == {"command line"}
    assert link.partition("token=")[2] not in json.dumps(entries)
    assert PASSWORD not in json.dumps(entries)


def test_signing_in_is_in_the_log_without_the_address_of_the_person(client, owner, sign_in, log_lines):
    sign_in(client, owner.email, "wrong")
    sign_in(client, owner.email)

    lines = [each for each in log_lines() if each["event"] in ("sign_in.failed", "audit.recorded")]

    assert [(each["event"], each["user"]) for each in lines] == [
        ("sign_in.failed", owner.user_id),
        ("audit.recorded", owner.user_id),
    ]
    assert (lines[1]["action"], lines[1]["address"]) == ("session.began", "127.0.0.1")
    assert owner.email not in json.dumps(lines)


def test_pages_of_the_log_show_every_entry_once(owner, log_of):
    for number in range(5):
        owner.client.post(f"/api/billstack/teams/{owner.team_id}/projects", json={"name": str(number)})

    found, before, more = [], "", True
    while more:
        answer = owner.client.get(f"{log_of}?limit=2{before}").json
        found += [each["details"]["name"] for each in answer["entries"]]
        before, more = f"&before={answer['entries'][-1]['id']}", answer["hasMore"]

    assert found == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "before=0", "before=x", "before=9223372036854775808"])
def test_odd_pages_are_400(owner, log_of, query):
    assert owner.client.get(f"{log_of}?{query}").status_code == 400
    assert owner.client.get(f"/teams/{owner.team_id}/audit-log?{query}", headers=BROWSER).status_code == 200


def test_what_cannot_be_recorded_is_in_the_log(app, owner, log_lines, database):
    database.execute("ALTER TABLE billstack.audit_log RENAME TO gone")
    try:
        answer = owner.client.post(f"/api/billstack/teams/{owner.team_id}/projects", json={"name": "x"})
    finally:
        database.execute("ALTER TABLE billstack.gone RENAME TO audit_log")

    assert answer.status_code == 201
    (line,) = [each for each in log_lines() if each["event"] == "audit.not_recorded"]
    assert (line["action"], line["user"], line["of_team"]) == ("project.created", owner.user_id, owner.team_id)


def test_every_name_is_of_a_route(app):
    assert set(ACTIONS) <= set(app.view_functions)


def test_what_somebody_wrote_is_shown_as_text(owner):
    owner.client.post(f"/api/billstack/teams/{owner.team_id}/projects", json={"name": "<script>alert(1)</script>"})

    page = owner.client.get(f"/teams/{owner.team_id}/audit-log", headers=BROWSER).text

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
