"""Who may call what, checked over every route that the application has."""

import pytest

from api.http.access import OF_KEYS, Access, access_of

TEAM_PREFIX = "/api/billstack/teams/"
UNSAFE_METHODS = {"POST", "PUT", "PATCH", "DELETE"}
API_KEY = {"Authorization": f"Bearer bs_{'0' * 48}"}
CHANGES = {Access.CHANGE_TEAM, Access.OWN_TEAM, Access.CHANGE_PROJECT}
JSON = {"Content-Type": "application/json"}


def test_every_route_says_who_may_call_it(app):
    assert [endpoint for endpoint in app.view_functions if access_of(app, endpoint) is None] == []


def test_a_route_that_does_not_say_it_answers_nobody(app, owner, monkeypatch):
    monkeypatch.setitem(app.view_functions, "auth.show_session", lambda: "secret")

    assert owner.client.get("/api/auth/session").status_code == 403


def test_only_these_are_open_to_anyone(app):
    open_to_all = {endpoint for endpoint in app.view_functions if access_of(app, endpoint) is Access.ANYONE}

    assert open_to_all == {
        "auth.sign_in",
        "auth.sign_out",
        "set_up.set_up",  # while there is no user
        "dashboard.entry_pages.sign_in",
        "dashboard.entry_pages.set_up",
        "invitations.accept",  # with the token of a link
        "dashboard.account.show_invitation",
        "credentials.set_new_password",  # with the token of a link
        "dashboard.account.new_password",
        "health.healthz",
        "health.readyz",
        "metrics.show_metrics",
        "webhooks.receive",  # signed by Stripe
        "openapi",
        "docs",
        "static",
        "rq_dashboard.static",  # of the package: a sandboxed page sends no cookie for it
    }


def test_every_change_of_a_team_is_declared_as_one(app):
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith(TEAM_PREFIX)]

    for rule in rules:
        if access_of(app, rule.endpoint) is Access.GATEWAY:
            continue  # what it changes is at Stripe, and asks for stripe:write
        changes = bool(rule.methods & UNSAFE_METHODS)
        assert (access_of(app, rule.endpoint) in CHANGES) == changes, rule.rule


def test_without_a_session_everything_else_is_401(app, client):
    for method, address in _calls(app, "team_x"):
        answer = client.open(address, method=method, headers=JSON, follow_redirects=True)

        assert answer.status_code == 401, address


def test_an_api_key_reaches_no_team_endpoint(app, client):
    for method, address in _calls(app, "team_x", only_teams=True):
        assert client.open(address, method=method, headers=JSON | API_KEY).status_code == 403, address


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_of_an_api_key_has_no_case(client, scheme):
    answer = client.get(f"{TEAM_PREFIX}team_x/stripe/status", headers={"Authorization": f"{scheme} bs_{'0' * 48}"})

    assert answer.status_code == 403


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "Bearer sk_test_demo", "nonsense", "Basic \x00"])
def test_other_authorization_is_none(owner, client, value):
    """A proxy's own password does not get in the way of a session."""
    assert client.get("/api/auth/session", headers={"Authorization": value}).status_code == 401
    assert owner.client.get("/api/auth/session", headers={"Authorization": value}).status_code == 200


def test_an_api_key_is_refused_even_beside_a_session(app, owner):
    for method, address in _calls(app, owner.team_id, only_teams=True):
        assert owner.client.open(address, method=method, headers=JSON | API_KEY).status_code == 403, address


def test_another_team_looks_like_one_that_does_not_exist(app, owner, new_member):
    stranger = new_member()

    for method, address in _calls(app, owner.team_id, only_teams=True):
        answer = stranger.client.open(address, method=method, headers=JSON)
        nothing = stranger.client.open(address.replace(owner.team_id, "team_0"), method=method, headers=JSON)

        assert answer.status_code == nothing.status_code == 404, address
        assert answer.json == nothing.json


def test_a_viewer_changes_nothing(app, owner, new_member):
    viewer = new_member("viewer", team_id=owner.team_id)

    for method, address in _calls(app, owner.team_id, only_teams=True):
        if method in UNSAFE_METHODS:
            assert viewer.client.open(address, method=method, headers=JSON).status_code == 403, address


def test_a_removed_member_is_out_at_once(app, owner, database):
    database.execute("DELETE FROM billstack.members")

    for method, address in _calls(app, owner.team_id, only_teams=True):
        assert owner.client.open(address, method=method, headers=JSON).status_code == 404, address


@pytest.mark.parametrize("team_id", ["%00", "team_%00", "team_'", "TEAM_X", "..", "%F0%9F%92%B8", "team_" + "x" * 500])
def test_what_cannot_be_a_team_id_is_404(app, owner, team_id):
    for method, address in _calls(app, team_id, only_teams=True):
        assert owner.client.open(address, method=method, headers=JSON).status_code == 404, address


def _calls(app, team_id, *, only_teams=False):
    """(method, address) of every route that is not open to anyone; those of projects and keys are the matrix's."""
    for rule in app.url_map.iter_rules():
        access = access_of(app, rule.endpoint)
        is_team = rule.rule.startswith(TEAM_PREFIX) and access not in OF_KEYS
        if access in (Access.ANYONE, Access.NOBODY) or (only_teams and not is_team):
            continue
        values = {name: 0 if name in ("instance_number", "per_page", "page") else "x" for name in rule.arguments}
        address = rule.rule
        for name, value in (values | {"team_id": team_id}).items():
            for converter in (f"<{name}>", f"<int:{name}>", f"<path:{name}>"):
                address = address.replace(converter, str(value))
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            yield method, address
