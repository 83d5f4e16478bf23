"""The team's own Stripe key at the gateway: whom it lets in, and everybody whom it must not."""

import base64
import json
from dataclasses import replace

import pytest

from api.http.access import Access, access_of
from api.http.context import EXTENSION
from api.http.rate_limits import API_KEY_REQUESTS
from api.projects.store import ProjectStore
from sync.teams.connections import Connections
from tests.api.gateway.mirror_filling import finish_backfill, put_key, put_objects
from tests.api.http.test_access_matrix import calls_of
from tests.factories import customer
from workers.error_reports import ErrorReports
from workers.key_watch import KeyWatch
from workers.logging import write_lines

FULL = "sk_test_demo"
NEXT = "sk_test_demo_rolled"
MIRRORED = "/v1/customers/cus_mirrored"
MAY_NEVER = [
    *(
        "sk_live_demo",
        "rk_test_demo",
        "sk_test_another",
        "sk_test_dem",
        "sk_test_demo2",
        "sk_test_Demo",
        "sk_test_",
        "sk_",
    ),
    *(
        "SK_test_demo",
        "sk_test_demo,",
        "sk_test_demo\u00e9",
        "sk_test_demo%00",
        "sk_test_demo=",
        "pk_test_demo",
        "demo",
    ),
]


@pytest.fixture(scope="module")
def stripe(sandbox):
    sandbox.add_account("demo", scale=0.01)
    sandbox.add_account("another", scale=0.01)
    return sandbox


@pytest.fixture
def settings(settings, stripe):
    return replace(settings, stripe_api_base=stripe.url)


@pytest.fixture
def team(owner, database):
    """Connected with the account's full key; its mirror is read, and holds a customer that Stripe does not."""
    connect(owner, FULL)
    put_objects(database, owner.team_id, "customers", [json.dumps(customer("cus_mirrored"))])
    finish_backfill(database, owner.team_id)
    yield owner
    database.execute(f'DROP SCHEMA IF EXISTS "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def let_in(team):
    assert team.client.post(f"{team.stripe}/own-key", json={}).status_code == 200
    return team


@pytest.fixture
def ask(client):
    def send(key, path=MIRRORED, method="GET", **headers):
        return client.open(path, method=method, headers={"Authorization": f"Bearer {key}", **headers})

    return send


def connect(member, key):
    answer = member.client.post(f"{member.stripe}/connect", json={"secretKey": key})
    assert answer.status_code == 200, answer.json


def shown(member):
    return member.client.get(f"{member.stripe}/own-key").json


# Let in ---------------------------------------------------------------------------------------------------------------


def test_it_is_kept_out_at_first(team, ask):
    answer = ask(FULL)

    assert shown(team) == {"isLetIn": False, "letInAt": None, "lastUsedAt": None}
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "invalid_api_key")


def test_let_in_it_reads_the_mirror_ahead_of_flask_and_through_it(let_in, ask):
    at_root = ask(FULL)
    under_team = ask(FULL, f"/api/billstack/teams/{let_in.team_id}/mirror{MIRRORED}")
    by_basic = ask("", Authorization=f"Basic {base64.b64encode(f'{FULL}:'.encode()).decode()}")

    for answer in (at_root, under_team, by_basic):
        assert (answer.status_code, answer.headers["X-BillStack-Source"]) == (200, "mirror")
        assert answer.json["id"] == "cus_mirrored"
        assert answer.headers["RateLimit-Limit"] == str(API_KEY_REQUESTS.most)
    assert shown(let_in)["lastUsedAt"]


def test_what_the_mirror_lacks_and_what_changes_something_goes_to_stripe_with_it(let_in, ask, stripe):
    made = ask(FULL, "/v1/customers?name=Ada", "POST")
    read = ask(FULL, f"/v1/customers/{made.json['id']}", **{"X-BillStack-Fresh": "true"})

    assert (made.status_code, made.headers["X-BillStack-Source"]) == (200, "stripe")
    assert (read.status_code, read.json["name"], read.headers["X-BillStack-Source"]) == (200, "Ada", "stripe")
    assert ask(FULL, f"/v1/customers/{made.json['id']}").headers["X-BillStack-Source"] == "mirror"


# Kept out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", MAY_NEVER)
def test_no_other_key_gets_in(let_in, client, key):
    under_team = f"/api/billstack/teams/{let_in.team_id}/mirror{MIRRORED}"
    for path, method in ((MIRRORED, "GET"), (under_team, "GET"), ("/v1/balance", "GET"), ("/v1/customers", "POST")):
        for given in (f"Bearer {key}", f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"):
            answer = client.open(path, method=method, headers={"Authorization": given})

            assert answer.status_code == 401, (path, given)
            assert key not in answer.text or key == "demo"


def test_it_opens_nothing_but_the_gateway(let_in, client, app, database):
    project = ProjectStore(database, let_in.team_id).create_project("Shop").id
    headers = {"Authorization": f"Bearer {FULL}", "Content-Type": "application/json"}
    asked = 0
    for method, address, endpoint in calls_of(app, let_in.team_id, project):
        if access_of(app, endpoint) is Access.ANYONE or endpoint.startswith(("mirror.", "rq_dashboard.")):
            continue
        assert client.open(address, method=method, headers=headers).status_code == 401, (method, address)
        asked += 1

    assert asked > 50


def test_another_teams_mirror_stays_closed(let_in, ask, new_member, database):
    stranger = new_member()
    connect(stranger, "sk_test_another")
    finish_backfill(database, stranger.team_id)
    assert stranger.client.post(f"{stranger.stripe}/own-key", json={}).status_code == 200

    assert ask(FULL, f"/api/billstack/teams/{stranger.team_id}/mirror{MIRRORED}").status_code == 404
    assert ask("sk_test_another").status_code == 404, "of its own mirror"
    database.execute(f'DROP SCHEMA "stripe_{stranger.team_id}" CASCADE')


def test_a_team_with_a_restricted_key_cannot_let_it_in(owner, stripe, ask, database):
    key = stripe.sandbox.restrict("demo", frozenset(("rak_accounts_kyc_basic_read", "rak_customer_read")))
    connect(owner, key)

    answer = owner.client.post(f"{owner.stripe}/own-key", json={})

    assert (answer.status_code, answer.json["code"]) == (409, "restricted_key")
    assert ask(key).status_code == 401
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


def test_a_team_without_a_key_cannot_let_one_in(owner):
    answer = owner.client.post(f"{owner.stripe}/own-key", json={})

    assert (answer.status_code, answer.json["code"]) == (409, "not_connected")


def test_two_teams_of_one_account_cannot_both(let_in, new_member, ask, app, database):
    second = new_member()
    connect(second, FULL)

    answer = second.client.post(f"{second.stripe}/own-key", json={})
    put_key(app, database, second.team_id, "sk_test_of_second")
    assert second.client.post(f"{second.stripe}/own-key", json={}).status_code == 200
    put_key(app, database, second.team_id, FULL)

    assert (answer.status_code, answer.json["code"]) == (409, "key_let_in_elsewhere")
    assert shown(second)["isLetIn"] is False, "the first team's programs go on"
    assert ask(FULL).status_code == 200
    database.execute(f'DROP SCHEMA "stripe_{second.team_id}" CASCADE')


def test_a_viewer_sees_it_and_cannot_change_it(let_in, new_member):
    viewer = new_member("viewer", team_id=let_in.team_id)

    assert shown(viewer)["isLetIn"] is True
    for method in ("POST", "DELETE"):
        assert viewer.client.open(f"{let_in.stripe}/own-key", method=method, json={}).status_code == 403


# No longer ------------------------------------------------------------------------------------------------------------


def test_turned_off_it_is_refused_with_the_next_request(let_in, ask, database):
    assert ask(FULL).status_code == 200

    assert let_in.client.delete(f"{let_in.stripe}/own-key", json={}).status_code == 204

    assert ask(FULL).status_code == ask(FULL, "/v1/customers", "POST").status_code == 401
    assert let_in.client.delete(f"{let_in.stripe}/own-key", json={}).status_code == 404
    ((kept,),) = database.execute(
        "SELECT num_nonnulls(own_key_sha256, own_key_since, own_key_used_at) FROM billstack.connections"
    ).fetchall()
    assert kept == 0


def test_disconnected_it_is_refused_and_stays_so(let_in, ask):
    assert let_in.client.delete(f"{let_in.stripe}/connect", json={}).status_code == 204
    gone = ask(FULL)
    connect(let_in, FULL)

    assert gone.status_code == ask(FULL).status_code == 401
    assert shown(let_in)["isLetIn"] is False


def test_after_a_rotation_the_new_key_counts_and_the_old_one_does_not(let_in, ask, app, database):
    put_key(app, database, let_in.team_id, NEXT)

    assert (ask(FULL).status_code, ask(NEXT).status_code) == (401, 200)


def test_a_restricted_key_in_its_place_ends_it(let_in, ask, stripe):
    key = stripe.sandbox.restrict("demo", frozenset(("rak_accounts_kyc_basic_read", "rak_customer_read")))
    connect(let_in, key)

    assert ask(FULL).status_code == ask(key).status_code == 401
    assert shown(let_in)["isLetIn"] is False


def test_the_hash_alone_lets_nobody_in(let_in, ask, app, database):
    """Such as after a program before this one, which knows of no hash, has replaced or forgotten the key."""
    was = database.execute("SELECT own_key_sha256 FROM billstack.connections").fetchone()
    put_key(app, database, let_in.team_id, NEXT)
    database.execute("UPDATE billstack.connections SET own_key_sha256 = %s", was)
    replaced = ask(FULL).status_code
    database.execute("UPDATE billstack.connections SET secret_key = NULL")

    assert (replaced, ask(FULL).status_code) == (401, 401)


def test_a_key_that_stripe_has_refused_is_refused(let_in, ask, app):
    context = app.extensions[EXTENSION]
    with context.pool.connection() as connection:
        connected = Connections(connection, context.box).get(let_in.team_id)

    KeyWatch(context, connected).answered(401)

    assert ask(FULL).status_code == 401
    assert let_in.client.post(f"{let_in.stripe}/own-key", json={}).json["code"] == "key_refused"


# Told nowhere ---------------------------------------------------------------------------------------------------------


def test_the_key_is_in_no_log_report_audit_entry_or_page(let_in, ask, log_lines, database):
    for key in (FULL, "sk_live_somebodys", "rk_live_somebodys"):
        for path in (MIRRORED, "/v1/balance", "/v1/customers/cus_none", "/v1/customers?limit=0", f"/v1/{key}"):
            ask(key, path)
    lines = log_lines()
    audited = database.execute("SELECT audit_log::text FROM billstack.audit_log").fetchall()
    stored = database.execute("SELECT connections::text FROM billstack.connections").fetchall()
    page = let_in.client.get(f"/teams/{let_in.team_id}/api-keys", headers={"Accept": "text/html"}).text

    assert {line.get("api_key") for line in lines} == {None, f"stripe_key_of_{let_in.team_id}"}
    assert "key.stripe_let_in" in str(audited)
    assert "Let in" in page
    for told in (lines, audited, stored, page):
        assert not any(key in str(told) for key in (FULL, "sk_live_somebodys", "rk_live_somebodys"))


def test_an_error_report_of_its_request_does_not_have_it(let_in, app, monkeypatch, client):
    def fail(*given):
        raise RuntimeError(f"with {FULL}")

    reported = []
    monkeypatch.setattr("api.gateway.lean_reads.read_mirror", fail)
    write_lines("INFO", ErrorReports(reported.append))

    answer = client.get(MIRRORED, headers={"Authorization": f"Bearer {FULL}", "X-Request-Id": FULL})

    assert (answer.status_code, len(reported)) == (500, 1)
    assert FULL not in answer.text + str(reported)


def test_changes_of_the_setting_are_audited(let_in):
    let_in.client.delete(f"{let_in.stripe}/own-key", json={})

    entries = let_in.client.get(f"/api/billstack/teams/{let_in.team_id}/audit-log").json["entries"]
    assert [each["action"] for each in entries if each["action"].startswith("key.")] == [
        "key.stripe_kept_out",
        "key.stripe_let_in",
    ]


def test_it_has_the_limit_of_any_key(let_in, ask, app):
    remaining = [int(ask(FULL, path).headers["RateLimit-Remaining"]) for path in (MIRRORED, "/v1/customers?limit=0")]

    assert remaining[0] - 1 <= remaining[1] <= remaining[0], "each takes one, and time gives one back"
    app.extensions[EXTENSION].redis.flushdb()


def test_using_it_too_fast_is_429(let_in, ask, monkeypatch):
    monkeypatch.setattr(
        "api.projects.key_access.API_KEY_REQUESTS", replace(API_KEY_REQUESTS, name="few", most=2, rate=0.01)
    )

    statuses = [ask(FULL).status_code for _ in range(4)]

    assert statuses == [200, 200, 429, 429]
