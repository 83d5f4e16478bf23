"""Each kind of answer of the gateway by each kind of key, at the root of the host and under the team's path.

What is expected follows from what each kind of answer says it needs.
"""

from dataclasses import dataclass, field

import pytest
from psycopg import sql

from api.people import People, Role
from api.people.passwords import hash_password
from api.projects.key_store import KeyStore, Scope
from api.projects.store import ProjectStore
from sync.database.schema import schema_name
from tests.api.conftest import PASSWORD, sign_in
from tests.api.gateway.two_teams import ALL, SECRET_OF_OTHERS, two_teams

FROM_STRIPE = frozenset({Scope.READ_STRIPE})
CHANGING = frozenset({Scope.CHANGE_STRIPE})


@dataclass(frozen=True)
class Kind:
    """`mirror`: scopes that all are needed for the mirror's answer; `stripe`: any of these has Stripe asked."""

    name: str
    path: str
    mirror: frozenset[Scope] | None = None
    stripe: frozenset[Scope] = FROM_STRIPE
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200


CUSTOMERS, INVOICES = frozenset({Scope.READ_CUSTOMERS}), frozenset({Scope.READ_INVOICES})
KINDS = [
    Kind("object", "/v1/customers/{customer}", CUSTOMERS),
    Kind("list", "/v1/invoices?limit=3", INVOICES),
    Kind("missing", "/v1/customers/cus_none", CUSTOMERS, status=404),
    Kind("nested", "/v1/invoices/{invoice}/lines", INVOICES),
    Kind("items", "/v1/subscription_items?subscription={subscription}", frozenset({Scope.READ_SUBSCRIPTIONS})),
    Kind("expanded", "/v1/invoices/{invoice}?expand[]=customer", INVOICES | CUSTOMERS),
    Kind("refused", "/v1/customers?limit=0", frozenset(), status=400),
    Kind("search", "/v1/customers/search?query=email%3A%27nobody%40nowhere.example%27", CUSTOMERS),
    Kind("search of Stripe's", "/v1/customers/search?query=name~%27ada%27"),
    Kind("plan", "/v1/plans/{recurring}", frozenset({Scope.READ_PRODUCTS})),
    Kind("no plan", "/v1/plans/price_none", status=404),
    Kind("plans", "/v1/plans"),
    Kind("forwarded", "/v1/balance"),
    Kind("fresh", "/v1/customers/{customer}", headers={"X-BillStack-Fresh": "true"}),
    Kind("version", "/v1/customers/{customer}", headers={"Stripe-Version": "2023-10-16"}),
    Kind("account", "/v1/customers/{customer}", headers={"Stripe-Account": "acct_1other"}, status=403),
    Kind("changed", "/v1/customers/{customer}", stripe=CHANGING, method="POST"),
    Kind("deleted", "/v1/customers/cus_none", stripe=CHANGING, method="DELETE", status=404),
]


@pytest.fixture(scope="module")
def teams(new_database, redis_database):
    with two_teams(new_database, redis_database) as teams:
        teams.let_in(teams.ours)
        yield teams


@pytest.fixture(scope="module")
def credentials(teams):
    """(scopes that count, header) by what kind of key it is; no scopes: it is turned away with the status."""
    keys = {f"key of {scope}": ({scope}, teams.key(scope)[1]) for scope in Scope}
    keys |= {"key of all": (set(ALL), teams.key(*ALL)[1])}
    project = ProjectStore(teams.connection, teams.ours.id).create_project("Shop").id
    expired_id, expired = teams.key(*ALL)
    teams.connection.execute("UPDATE billstack.api_keys SET expires_at = now() WHERE id = %s", (expired_id,))
    revoked_id, revoked = teams.key(*ALL)
    KeyStore(teams.connection).delete_key(teams.ours.id, revoked_id)
    keys |= {
        "of a project": (403, teams.key(*ALL, project_id=project)[1]),
        "expired": (401, expired),
        "revoked": (401, revoked),
        "made up": (401, "bs_" + "0" * 48),
        "the team's Stripe key, let in": (set(ALL), teams.ours.stripe_key),
        "another team's Stripe key, not let in": (401, teams.others.stripe_key),
    }
    return keys


def ask(teams, kind, prefix, raw_key, client=None):
    headers = dict(kind.headers) | ({"Authorization": f"Bearer {raw_key}"} if raw_key else {})
    path = prefix + kind.path.format(**teams.ours.ids, recurring=recurring_price(teams))
    return (client or teams.app.test_client()).open(path, method=kind.method, headers=headers)


def recurring_price(teams):
    named = sql.SQL("SELECT min(id) FROM {} WHERE type = 'recurring'").format(
        sql.Identifier(schema_name(teams.ours.id), "prices")
    )
    return teams.connection.execute(named).fetchone()[0]


def expected(kind, scopes):
    """(status, source); a refusal of ours has no source."""
    if isinstance(scopes, int):
        return scopes, None
    if kind.name == "refused":
        return kind.status, None
    if kind.mirror is not None and (Scope.READ_STRIPE in scopes or kind.mirror <= scopes):
        return kind.status, "mirror" if kind.status == 200 else None
    return (kind.status, "stripe") if kind.stripe & scopes else (403, None)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_at_the_root(teams, credentials, kind):
    got = {name: ask(teams, kind, "", raw) for name, (_, raw) in credentials.items()}

    assert {name: (each.status_code, each.headers.get("X-BillStack-Source")) for name, each in got.items()} == {
        name: expected(kind, scopes) for name, (scopes, _) in credentials.items()
    }
    for answer in got.values():
        assert answer.status_code == 200 or set(answer.json) == {"error"}
        assert teams.ours.stripe_key.encode() not in answer.data


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_without_a_key_there_is_nothing(teams, kind):
    assert ask(teams, kind, "", None).status_code == 401


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_another_teams_key(teams, kind):
    """At the root it is a key like any other, of its own team; under our team's path it reaches nothing."""
    _, raw = teams.key(*ALL, team=teams.others)

    of_root = ask(teams, kind, "", raw)
    of_path = ask(teams, kind, f"/api/billstack/teams/{teams.ours.id}/mirror", raw)

    assert of_path.status_code == 404
    assert of_path.json["error"]["message"] == "there is no such team"
    if of_root.status_code == 200:
        assert teams.ours.ids["customer"].encode() not in of_root.data
    _, own = teams.key(*ALL)
    assert SECRET_OF_OTHERS.encode() not in ask(teams, kind, "", own).data


@pytest.fixture(scope="module")
def member(teams):
    """A client that carries a viewer's session."""
    people, client = People(teams.connection), teams.app.test_client()
    people.add_member(teams.ours.id, people.create_user("viewer@example.com", hash_password(PASSWORD)), Role.VIEWER)
    assert sign_in(client, "viewer@example.com").status_code == 200
    return client


# What the documentation of the types' own addresses lets members try, and their answer.
OF_SESSIONS = {"object": 200, "list": 200, "expanded": 200, "missing": 404, "refused": 400, "search": 200}
ASKS_STRIPE = {"fresh": 403, "version": 403, "account": 403, "search of Stripe's": 403}


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_members_session_sees_the_mirror_and_has_nobody_asked(teams, member, kind):
    of_root = ask(teams, kind, "", None, member)
    of_path = ask(teams, kind, f"/api/billstack/teams/{teams.ours.id}/mirror", None, member)
    of_others = ask(teams, kind, f"/api/billstack/teams/{teams.others.id}/mirror", None, member)

    refused = 403 if kind.method != "GET" else 401  # a change with a cookie comes from a form of another site
    assert of_root.status_code == refused
    assert of_path.status_code == (OF_SESSIONS | ASKS_STRIPE).get(kind.name, refused)
    assert of_path.headers.get("X-BillStack-Source") in (None, "mirror")
    assert of_others.status_code in (refused, 404)
