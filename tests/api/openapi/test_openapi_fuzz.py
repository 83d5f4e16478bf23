"""Sends every operation of our OpenAPI document odd addresses, queries, headers and bodies, from everybody who may call it.

hypothesis makes the requests, which the tests have already, and not schemathesis (4.32): that brings a dozen packages, and
knows only what the document says. Here addresses hold ids that exist, so a request gets past the check of access; the
mirror's lists get Stripe's parameters, which the document does not name; and headers are odd, too.
Each run sends the same requests. With --runslow it sends more of them, and new ones each time.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from api.account.live_status import HUB
from api.gateway.errors import is_of_mirror
from api.projects.key_store import KeyStore, Scope
from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox
from sync.object_types import OBJECT_TYPES
from sync.teams.database_access import DatabaseAccess
from sync.teams.mirrored_types import MirroredTypes
from tests.api.conftest import PASSWORD
from tests.api.gateway.mirror_filling import fill_mirror, finish_backfill
from tests.api.openapi.odd_requests import Operation, Request, operations, requests_of

KEY = "sk_test_demo"
# Of each operation: a fifth of what a property of the suite has, as there are so many of them.
EXAMPLES = settings_of_hypothesis.default.max_examples // 5


@dataclass(frozen=True)
class Caller:
    name: str
    client: FlaskClient
    headers: dict[str, str]


@dataclass(frozen=True)
class Surroundings:
    """What the requests meet: a connected team with objects, people, keys and a project."""

    callers: list[Caller]
    known: dict[str, object]

    def is_whole(self) -> bool:
        """Some requests take away what the next ones need."""
        team = f"/api/billstack/teams/{self.known['team_id']}"
        project = f"{team}/projects/{self.known['project_id']}"
        looks = {
            "owner": (f"{team}/stripe/status", f"{project}/customers/{self.known['customer_id']}", f"{team}/members"),
            "viewer": (f"{team}/stripe/status",),
            "key": (f"{team}/mirror/v1/customers/{self.known['object_id']}",),
        }
        return all(
            caller.client.get(address, headers=caller.headers).status_code == 200
            for caller in self.callers
            for address in looks.get(caller.name, ())
        )


@pytest.fixture(scope="module")
def stripe():
    with SandboxThread(Sandbox()) as sandbox:
        sandbox.add_account("demo", scale=0.01)
        yield sandbox


@pytest.fixture
def settings(settings, stripe):
    return replace(settings, stripe_api_base=stripe.url, stripe_account_rps=2000.0, stripe_endpoint_rps=1000.0)


@pytest.fixture
def surroundings(app, new_member, database, stripe, monkeypatch):
    """Makes them again."""
    # A stream that opens would not end for two minutes.
    monkeypatch.setattr(app.extensions[HUB], "is_over", lambda viewer: True)
    teams = []

    def make() -> Surroundings:
        owner = new_member()
        teams.append(owner.team_id)
        viewer = new_member("viewer", team_id=owner.team_id)
        assert owner.client.post(f"{owner.stripe}/connect", json={"secretKey": KEY}).status_code == 200
        with database.transaction():
            MirroredTypes(database, owner.team_id).add(OBJECT_TYPES)
        fill_mirror(database, owner.team_id, stripe, "demo")
        finish_backfill(database, owner.team_id)
        team = f"/api/billstack/teams/{owner.team_id}"
        project = owner.client.post(f"{team}/projects", json={"name": "App"}).json["project"]["id"]
        person = owner.client.post(f"{team}/projects/{project}/customers", json={"email": "ada@example.com"})
        invited = owner.client.post(f"{team}/members", json={"email": "bob@example.com", "role": "viewer"}).json
        key, raw = KeyStore(database).create_key(
            owner.team_id, "fuzz", project_id=None, scopes=[str(scope) for scope in Scope], expires_at=None
        )
        known = {
            **{"team_id": owner.team_id, "project_id": project, "customer_id": person.json["customer"]["id"]},
            **{
                "user_id": viewer.user_id,
                "key_id": key.id,
                "object_id": next(stripe.objects("customer", account="demo"))["id"],
            },
            **{"invitation_id": invited["invitation"]["id"], "projectId": project, "email": owner.email},
            **{"password": PASSWORD, "currentPassword": PASSWORD, "newPassword": f"{PASSWORD} 2", "secretKey": KEY},
            "session_id": owner.client.get("/api/auth/sessions").json["sessions"][0]["id"],
        }
        callers = [
            Caller("owner", owner.client, {}),
            Caller("viewer", viewer.client, {}),
            Caller("key", app.test_client(), {"Authorization": f"Bearer {raw}"}),
            Caller("nobody", app.test_client(), {}),
        ]
        return Surroundings(callers, known)

    yield make
    for team_id in teams:
        DatabaseAccess(database, team_id).remove()
        database.execute(f'DROP SCHEMA IF EXISTS "stripe_{team_id}" CASCADE')


def test_no_request_is_answered_other_than_promised(client, database, surroundings):
    spec = client.get("/api/openapi.json").json
    here, met = surroundings(), Counter()

    for operation in operations(spec):
        # Otherwise all further tries to sign in would be one too many.
        database.execute("DELETE FROM billstack.attempts")
        if not here.is_whole():
            here = surroundings()
        send_many(spec, operation, here, met)

    # Otherwise all of it was turned away at the door.
    assert met["answered"] > met["refused"] / 5
    assert met["2xx of changes"] > 50


def send_many(spec, operation: Operation, here: Surroundings, met: Counter) -> None:
    @settings_of_hypothesis(
        max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck), deadline=timedelta(seconds=20)
    )
    # The owner is the one of them who may change nearly everything.
    @given(st.sampled_from(here.callers) | st.just(here.callers[0]), requests_of(spec, operation, here.known))
    def send(caller: Caller, request: Request) -> None:
        answer = caller.client.open(
            request.address,
            method=request.method,
            headers=request.headers | caller.headers,
            data=request.body,
        )
        assert broken_promises(answer, request.address) == [], (caller.name, answer.status, answer.data[:500])
        met["refused" if answer.status_code >= 400 else "answered"] += 1
        met["2xx of changes"] += answer.status_code < 300 and operation.method != "GET"
        answer.close()  # a stream

    send()


def broken_promises(answer, address: str) -> list[str]:
    """Of the contract, section 1."""
    status, found = answer.status_code, []
    # 502: Stripe was asked, and refused.
    if status == 422 or (status >= 500 and status != 502):
        found.append("no such status")
    if not answer.headers.get("X-Request-Id"):
        found.append("no X-Request-Id")
    if status >= 400 and not is_error(answer, address):
        found.append("not an error as it should be")
    if status in (429, 503) and "Retry-After" not in answer.headers:
        found.append("no Retry-After")
    return found


def is_error(answer, address: str) -> bool:
    told = answer.json if answer.is_json else None
    if not isinstance(told, dict):
        return False
    if is_of_mirror(address):
        return isinstance(told["error"], dict) and {"type", "message"} <= told["error"].keys()
    is_ours = isinstance(told.get("error"), str) and re.fullmatch("[a-z]+(_[a-z]+)*", told.get("code", ""))
    return bool(is_ours) and told["error"] != "" and told.keys() <= {"error", "code", "details"}
