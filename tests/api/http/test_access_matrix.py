"""Every route with everybody who might call it: what is expected follows from what the route declares, nothing else.

A new route is in here by itself; one whose declaration says nothing about some caller fails.
"""

import itertools
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient

from api.account.live_status import HUB
from api.http.access import OF_KEYS, OF_PROJECTS, Access, access_of, scope_of
from api.projects.key_store import KeyStore, Scope
from api.projects.store import ProjectStore
from sync.teams.database_access import DatabaseAccess
from tests.api.gateway.mirror_filling import connect_team

UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
JSON = {"Content-Type": "application/json"}
# What a check of access answers; anything else means that the caller got past it.
REFUSALS = {401, 403, 404}


@dataclass(frozen=True)
class Someone:
    """Who calls: a session's client or a key, and what is true of them."""

    name: str
    client: FlaskClient
    headers: dict[str, str]
    role: str | None = None
    is_of_team: bool = False
    is_signed_in: bool = False
    is_operator: bool = False
    scopes: frozenset[str] | None = None  # None: no API key
    is_good_key: bool = True
    project: str | None = None  # of the key: this, other, or None for all


@pytest.fixture
def team(owner, database):
    """The team of the routes, connected, with two projects."""
    connect_team(database, owner.team_id)
    store = ProjectStore(database, owner.team_id)
    yield owner, store.create_project("This").id, store.create_project("Other").id
    DatabaseAccess(database, owner.team_id).remove()
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def everybody(app, team, new_member, database):
    return list(_everybody(app, team, new_member, database))


def _everybody(app, team, new_member, database):
    owner, this, other = team
    strangers = new_member("owner")
    stranger_project = ProjectStore(database, strangers.team_id).create_project("Theirs").id

    def member(name, someone, role, **facts):
        return Someone(name, someone.client, {}, role=role, is_signed_in=True, **facts)

    yield Someone("nobody", app.test_client(), {})
    for role in ("viewer", "admin"):
        someone = new_member(role, team_id=owner.team_id)
        yield member(role, someone, role, is_of_team=True)
    yield member("owner", owner, "owner", is_of_team=True)
    yield member("another team's owner", strangers, None)
    yield member("operator", new_member("owner", is_operator=True), None, is_operator=True)
    of_team = new_member("viewer", team_id=owner.team_id, is_operator=True)
    yield member("operator and viewer", of_team, "viewer", is_of_team=True, is_operator=True)

    def key(name, *, team_id=owner.team_id, project_id=None, scopes=tuple(Scope), wrong="", **facts):
        created, raw = KeyStore(database).create_key(
            team_id, name, project_id=project_id, scopes=[str(scope) for scope in scopes], expires_at=None
        )
        if wrong == "revoked":
            KeyStore(database).delete_key(team_id, created.id)
        if wrong == "expired":
            database.execute("UPDATE billstack.api_keys SET expires_at = now() WHERE id = %s", (created.id,))
        return Someone(
            name,
            app.test_client(),
            {"Authorization": f"Bearer {raw}"},
            is_of_team=team_id == owner.team_id,
            scopes=frozenset(map(str, scopes)),
            is_good_key=not wrong,
            **facts,
        )

    yield key("key of all scopes")
    for scope in Scope:
        yield key(f"key of {scope}", scopes=[scope])
    yield key("key of this project", project_id=this, project="this")
    yield key("key of another project", project_id=other, project="other")
    yield key("key of another team", team_id=strangers.team_id)
    yield key("key of another team's project", team_id=strangers.team_id, project_id=stranger_project, project="other")
    yield key("revoked key", wrong="revoked")
    yield key("expired key", wrong="expired")
    yield Someone(
        "made-up key",
        app.test_client(),
        {"Authorization": f"Bearer bs_{'0' * 48}"},
        scopes=frozenset(),
        is_good_key=False,
    )


def expected(someone, access, scope):
    """The status that refuses them, or None: they get past the check."""
    if access is Access.ANYONE:
        return None
    if someone.scopes is not None:
        return expected_of_key(someone, access, scope)
    if not someone.is_signed_in:
        return 401
    return {
        Access.SIGNED_IN: None,
        Access.NOBODY: 403,
        Access.OPERATE: None if someone.is_operator else 403,
        Access.READ_TEAM: of_role(someone, ("owner", "admin", "viewer")),
        Access.READ_PROJECT: of_role(someone, ("owner", "admin", "viewer")),
        Access.READ_MIRROR: of_role(someone, ("owner", "admin", "viewer")),
        Access.CHANGE_TEAM: of_role(someone, ("owner", "admin")),
        Access.CHANGE_PROJECT: of_role(someone, ("owner", "admin")),
        Access.OWN_TEAM: of_role(someone, ("owner",)),
        Access.READ_AS_OWNER: of_role(someone, ("owner",)),
    }[access]  # a new kind of access fails here until it says who it is for


def of_role(someone, roles):
    if not someone.is_of_team:
        return 404
    return None if someone.role in roles else 403


def expected_of_key(someone, access, scope):
    if access not in OF_KEYS:
        return 403
    if not someone.is_good_key:
        return 401
    if not someone.is_of_team:
        return 404
    if access is Access.READ_MIRROR and someone.project is not None:
        return 403
    if access in OF_PROJECTS and someone.project == "other":
        return 404
    return None if str(scope) in someone.scopes else 403


def test_every_route_answers_everybody_as_it_declares(app, team, everybody, monkeypatch):
    owner, project_id, _ = team
    # A stream that opens is past the check, and would not end for two minutes.
    monkeypatch.setattr(app.extensions[HUB], "is_over", lambda viewer: True)
    checked = 0
    # Changes come last, and are sent with nothing in them, so that they change nothing that a later call needs.
    calls = sorted(calls_of(app, owner.team_id, project_id), key=lambda call: call[0] in UNSAFE)
    for (method, address, endpoint), someone in itertools.product(calls, everybody):
        access, scope = access_of(app, endpoint), scope_of(app, endpoint)
        assert access is not None, endpoint
        if access is Access.GATEWAY:
            continue  # tests/api/gateway/test_keys.py
        want = expected(someone, access, scope) or expected(someone, access, FURTHER_SCOPES.get(endpoint, scope))
        if endpoint.startswith("mirror.") and "stripe:read" in (someone.scopes or ()):
            want = expected(someone, access, Scope.READ_STRIPE)  # it reads all that Stripe would tell it
        if want is None and (endpoint in LEFT_ALONE or (method in UNSAFE and access in OF_ONESELF)):
            continue

        answer = someone.client.open(address, method=method, headers=JSON | someone.headers, follow_redirects=True)

        got = answer.status_code
        where = f"{method} {address} by {someone.name}: {got} {answer.data[:200]!r}"
        if want is not None:
            assert got == want, where
        elif got in REFUSALS:
            assert is_of_the_object(answer), where
        checked += 1
    assert checked > 1000


# The views that need another scope besides the one they declare.
FURTHER_SCOPES = dict.fromkeys(("numbers.show_team_analytics", "numbers.show_project_analytics"), Scope.READ_CUSTOMERS)
# Where they may, the next call would lack what it needs: the project, the mirror, or one's own session.
LEFT_ALONE = {"stripe.disconnect_stripe", "projects.delete_project"}
OF_ONESELF = (Access.ANYONE, Access.SIGNED_IN)


def is_of_the_object(answer):
    """Past the check, what the address names is looked for and not found; signing in is refused by itself."""
    if answer.json is None:
        return True
    error = answer.json["error"]
    said = error["message"] if isinstance(error, dict) else error
    return answer.status_code == 404 and "team" not in said.replace("the team has no such member", "")


def calls_of(app, team_id, project_id):
    """Method, address and endpoint of every route; further ids in an address are of nothing that there is."""
    known = {"team_id": team_id, "project_id": project_id} | OF_RQ
    for rule in app.url_map.iter_rules():
        values = {name: known.get(name, "x_0") for name in rule.arguments}
        with app.test_request_context():
            _, address = rule.build(values, append_unknown=False)
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            yield method, address, rule.endpoint


# What /rq lets through to rq-dashboard, and a file of its own.
OF_RQ = {
    **{"instance_number": "0", "per_page": "8", "page": "1", "registry_name": "queued", "order": "asc"},
    "filename": "css/main.css",
}


@pytest.mark.parametrize("access", OF_KEYS)
def test_each_access_of_keys_has_a_route(app, access):
    """Otherwise the matrix would say nothing about it."""
    assert any(access_of(app, rule.endpoint) is access for rule in app.url_map.iter_rules())


def test_a_view_of_keys_must_name_a_scope(app):
    from_rules = {rule.endpoint for rule in app.url_map.iter_rules()}

    for endpoint in from_rules:
        if access_of(app, endpoint) is Access.GATEWAY:
            continue  # its view decides by what was asked
        assert (access_of(app, endpoint) in OF_KEYS) == (scope_of(app, endpoint) is not None), endpoint
