"""Each kind of answer and each kind of key: what the gateway lets whom have."""

import io
import json

import pytest

from api.projects.key_store import KeyStore, Scope
from api.projects.store import ProjectStore
from tests.api.gateway.mirror_filling import connect_with_key, finish_backfill, prove, put_objects
from tests.factories import customer, product


@pytest.fixture
def team(app, owner, database):
    """All customers and no invoice were read; Stripe is out of reach."""
    connect_with_key(app, database, owner.team_id, "sk_test_none")
    prove(database, owner.team_id, ["customer", "product"])
    put_objects(database, owner.team_id, "customers", [json.dumps(customer("cus_1"))])
    put_objects(database, owner.team_id, "products", [json.dumps(product("prod_1"))])
    yield owner
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def status_of(team, client, database):
    """The answer to a request at the root of the host, by a key with these scopes."""

    def ask(method, path, *scopes, project_id=None, team_id=team.team_id, **options):
        names = [str(scope) for scope in scopes]
        _, raw = KeyStore(database).create_key(team_id, "k", project_id=project_id, scopes=names, expires_at=None)
        return client.open(path, method=method, headers={"Authorization": f"Bearer {raw}"}, **options).status_code

    return ask


FROM_MIRROR, UNREAD, ELSEWHERE = "/v1/customers/cus_1", "/v1/invoices/in_1", "/v1/balance"
# 502: it went to Stripe, which nothing reaches here.
TABLE = [
    ("GET", FROM_MIRROR, [Scope.READ_CUSTOMERS], 200),
    ("GET", FROM_MIRROR, [Scope.READ_STRIPE], 200),
    ("GET", FROM_MIRROR, [Scope.READ_PRODUCTS], 403),
    ("GET", FROM_MIRROR, [Scope.CHANGE_STRIPE], 403),
    ("GET", UNREAD, [Scope.READ_INVOICES], 503),
    ("GET", UNREAD, [Scope.READ_STRIPE], 502),
    ("GET", ELSEWHERE, [Scope.READ_CUSTOMERS], 403),
    ("GET", ELSEWHERE, [Scope.READ_STRIPE], 502),
    ("POST", FROM_MIRROR, [Scope.READ_STRIPE, Scope.CHANGE_CUSTOMERS], 403),
    ("POST", FROM_MIRROR, [Scope.CHANGE_STRIPE], 502),
    ("DELETE", FROM_MIRROR, [Scope.READ_STRIPE], 403),
    ("DELETE", FROM_MIRROR, [Scope.CHANGE_STRIPE], 502),
]


@pytest.mark.parametrize(("method", "path", "scopes", "status"), TABLE)
def test_scopes_decide(status_of, method, path, scopes, status):
    assert status_of(method, path, *scopes) == status


@pytest.mark.parametrize("path", [FROM_MIRROR, UNREAD, ELSEWHERE])
def test_a_key_of_a_project_reaches_nothing(status_of, team, database, path):
    project_id = ProjectStore(database, team.team_id).create_project("Shop").id

    assert status_of("GET", path, *Scope, project_id=project_id) == 403


def test_another_teams_key_reads_its_own_mirror(status_of, app, new_member, database):
    stranger = new_member()
    connect_with_key(app, database, stranger.team_id, "sk_test_none")
    finish_backfill(database, stranger.team_id)

    assert status_of("GET", FROM_MIRROR, Scope.READ_CUSTOMERS, team_id=stranger.team_id) == 404
    database.execute(f'DROP SCHEMA "stripe_{stranger.team_id}" CASCADE')


@pytest.mark.parametrize("path", [FROM_MIRROR, ELSEWHERE])
def test_nobody_reads_nothing_and_is_told_in_stripes_form(client, path):
    answer = client.get(path)

    assert (answer.status_code, answer.json["error"]["type"]) == (401, "invalid_request_error")


def test_a_file_is_refused_clearly(status_of):
    assert status_of("POST", "/v1/files", Scope.CHANGE_STRIPE, data={"file": (io.BytesIO(b"x"), "a.txt")}) == 400


@pytest.mark.parametrize("name", ["Stripe-Account", "Stripe-Version", "Idempotency-Key"])
def test_a_header_that_http_cannot_carry_is_refused(team, client, database, name):
    _, raw = KeyStore(database).create_key(
        team.team_id, "k", project_id=None, scopes=["stripe:read", "stripe:write"], expires_at=None
    )

    answer = client.post("/v1/customers", headers={"Authorization": f"Bearer {raw}", name: "ÿ"})

    assert answer.status_code == 400
