"""API keys over HTTP: shown once, known by their hash only, good for what they say, until they are revoked."""

import hashlib
import re
import time
from dataclasses import replace

import pytest
import redis
from flask.testing import FlaskClient

from api.http.rate_limits import Limit, take

SCOPES = ["customers:read", "customers:write", "products:read", "subscriptions:read", "invoices:read"]


@pytest.fixture
def keys(owner):
    return f"/api/billstack/teams/{owner.team_id}/api-keys"


@pytest.fixture
def project(owner):
    answer = owner.client.post(f"/api/billstack/teams/{owner.team_id}/projects", json={"name": "Shop"})
    return answer.json["project"]["id"]


@pytest.fixture
def new_key(owner, keys):
    return lambda **body: owner.client.post(keys, json={"name": "Back end", **body}).json


@pytest.fixture
def use(client: FlaskClient, owner, project):
    """Reads the project's customers with a key."""
    address = f"/api/billstack/teams/{owner.team_id}/projects/{project}/customers"
    return lambda raw_key: client.get(address, headers={"Authorization": f"Bearer {raw_key}"})


def test_a_key_is_shown_once_and_kept_as_its_hash(owner, keys, database):
    answer = owner.client.post(keys, json={"name": "Back end"})

    raw_key, key = answer.json["rawKey"], answer.json["key"]
    assert answer.status_code == 201
    assert re.fullmatch(r"bs_[0-9a-f]{48}", raw_key)
    assert set(key) == {"id", "name", "prefix", "projectId", "scopes", "expiresAt", "createdAt", "lastUsedAt"}
    assert raw_key.startswith(key["prefix"])
    assert (key["projectId"], key["scopes"], key["expiresAt"], key["lastUsedAt"]) == (None, SCOPES, None, None)
    assert owner.client.get(keys).json == {"keys": [key]}
    ((row, digest),) = database.execute("SELECT api_keys::text, key_sha256 FROM billstack.api_keys")
    assert raw_key not in row
    assert digest == hashlib.sha256(raw_key.encode()).digest()


def test_what_is_asked_for_is_what_it_can(new_key, project):
    asked = {"projectId": project, "scopes": ["products:read"], "expiresAt": "2099-01-01T00:00:00Z"}

    key = new_key(**asked)["key"]

    assert {name: key[name] for name in asked} == asked


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["everything"]}, "scopes"),
        ({"name": "x", "scopes": ["products:read", "products:read"]}, "scopes"),
        ({"name": "x", "scopes": None}, "scopes"),
        ({"name": "x", "expiresAt": "2020-01-01"}, "expiresAt"),
        ({"name": "x", "expiresAt": "tomorrow"}, "expiresAt"),
        ({"name": "x", "projectId": 5}, "projectId"),
        ({"name": "x", "owner": "me"}, "owner"),
    ],
)
def test_bad_fields_are_named(owner, keys, body, field):
    answer = owner.client.post(keys, json=body)

    assert answer.status_code == 400
    assert field in answer.json["error"]


def test_a_key_for_another_teams_project_is_404(owner, keys, new_member):
    stranger = new_member()
    projects = f"/api/billstack/teams/{stranger.team_id}/projects"
    theirs = stranger.client.post(projects, json={"name": "x"}).json["project"]["id"]

    for project_id in (theirs, "proj_0"):
        assert owner.client.post(keys, json={"name": "x", "projectId": project_id}).status_code == 404


def test_a_key_opens_its_project(new_key, project, use):
    assert use(new_key(projectId=project)["rawKey"]).status_code == 200
    assert use(new_key()["rawKey"]).status_code == 200


@pytest.mark.parametrize("raw_key", ["bs_", "bs_x", f"bs_{'0' * 48}", f"bs_{'0' * 47}", f"bs_{'Ä' * 48}", "bs_%00"])
def test_what_is_no_key_is_401(use, raw_key):
    answer = use(raw_key)

    assert (answer.status_code, answer.json["code"]) == (401, "invalid_api_key")


def test_a_key_with_one_wrong_digit_is_401(new_key, use):
    """Its prefix is found; the rest decides."""
    raw_key = new_key()["rawKey"]
    other = "0" if raw_key[-1] != "0" else "1"

    assert use(raw_key[:-1] + other).status_code == 401


def test_a_revoked_key_is_out_at_once(owner, keys, new_key, use):
    created = new_key()
    before = use(created["rawKey"]).status_code

    answer = owner.client.delete(f"{keys}/{created['key']['id']}", json={})

    assert (before, answer.status_code) == (200, 204)
    assert use(created["rawKey"]).status_code == 401
    assert owner.client.delete(f"{keys}/{created['key']['id']}", json={}).status_code == 404


def test_an_expired_key_is_401(new_key, use, database):
    raw_key = new_key(expiresAt="2099-01-01")["rawKey"]
    before = use(raw_key).status_code

    database.execute("UPDATE billstack.api_keys SET expires_at = now()")

    assert (before, use(raw_key).status_code, use(raw_key).json["code"]) == (200, 401, "expired_api_key")


def test_another_team_revokes_nothing(new_key, new_member, use):
    created, stranger = new_key(), new_member()

    address = f"/api/billstack/teams/{stranger.team_id}/api-keys/{created['key']['id']}"

    assert stranger.client.delete(address, json={}).status_code == 404
    assert use(created["rawKey"]).status_code == 200


def test_a_missing_scope_is_named(new_key, use):
    answer = use(new_key(scopes=["products:read"])["rawKey"])

    assert (answer.status_code, answer.json["code"]) == (403, "missing_scope")
    assert answer.json["details"] == {"scope": "customers:read"}


def test_the_last_use_is_written_once_a_minute(owner, keys, new_key, use, database):
    raw_key = new_key()["rawKey"]

    use(raw_key)
    ((first, row),) = database.execute("SELECT last_used_at, xmin::text FROM billstack.api_keys").fetchall()
    use(raw_key)
    ((again, same_row),) = database.execute("SELECT last_used_at, xmin::text FROM billstack.api_keys").fetchall()
    database.execute("UPDATE billstack.api_keys SET last_used_at = last_used_at - interval '61 seconds'")
    use(raw_key)
    ((later,),) = database.execute("SELECT last_used_at FROM billstack.api_keys").fetchall()

    assert (first, row) == (again, same_row)
    assert later > first
    assert owner.client.get(keys).json["keys"][0]["lastUsedAt"]


@pytest.fixture
def slow_limit(monkeypatch):
    """So slow that no token comes back during a test."""
    limit = Limit("slow", most=3, rate=0.01)
    monkeypatch.setattr("api.projects.key_access.API_KEY_REQUESTS", limit)
    return limit


def test_answers_say_where_the_limit_stands(new_key, use, slow_limit):
    raw_key = new_key()["rawKey"]

    first, second = use(raw_key), use(raw_key)

    assert first.headers["RateLimit-Limit"] == "3"
    assert (first.headers["RateLimit-Remaining"], second.headers["RateLimit-Remaining"]) == ("2", "1")
    assert 100 < int(second.headers["RateLimit-Reset"]) <= 200


def test_a_key_that_is_used_too_fast_waits(new_key, use, slow_limit):
    created, other = new_key(), new_key()
    for _ in range(slow_limit.most - 1):
        use(created["rawKey"])

    last, refused = use(created["rawKey"]), use(created["rawKey"])

    assert (last.status_code, last.headers["RateLimit-Remaining"]) == (200, "0")
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_requests")
    assert 90 < int(refused.headers["Retry-After"]) <= 100
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert use(other["rawKey"]).status_code == 200


def test_a_key_whose_burst_is_used_up_waits_for_one_token_only(redis_url):
    """Stripe's libraries wait for a second or so; they give up on a Retry-After of most of a minute."""
    limit = Limit("quick", most=5, rate=0.5)
    with redis.Redis.from_url(redis_url) as connection:
        burst = [take(connection, limit, "a key") for _ in range(6)]
        time.sleep(burst[-1].wait_s)
        later = take(connection, limit, "a key")

    assert [each.is_allowed for each in burst] == [True] * 5 + [False]
    assert 0 < burst[-1].wait_s <= 1 / limit.rate
    assert later.is_allowed


def test_without_redis_everybody_may(new_app, settings, new_key, owner, project):
    raw_key = new_key()["rawKey"]
    app = new_app(replace(settings, redis_url="redis://127.0.0.1:1"))
    address = f"/api/billstack/teams/{owner.team_id}/projects/{project}/customers"

    answer = app.test_client().get(address, headers={"Authorization": f"Bearer {raw_key}"})

    assert answer.status_code == 200
    assert "RateLimit-Limit" not in answer.headers


def test_keys_are_in_no_log(new_key, use, log_lines):
    created = new_key()
    use(created["rawKey"])

    assert created["rawKey"][3:] not in str(log_lines())
