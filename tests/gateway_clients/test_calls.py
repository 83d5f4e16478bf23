"""The same calls of Stripe's own libraries give the same results at Stripe (the sandbox) and through the gateway.

Each release makes the calls of calls.json twice, at two sandboxes that are equal to the byte: straight at the one, and
through the gateway that mirrors the other. What may differ:
- the headers Request-Id, Date and X-BillStack-…, and ids of requests inside objects;
- lists inside objects, which Stripe cuts at ten and the mirror keeps whole: compared as far as Stripe shows them;
- inline prices, which Stripe's lists leave out and nothing marks: the mirror lists them, too.
"""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest

from api.http.context import EXTENSION
from api.people import People
from api.projects.key_store import KeyStore, Scope
from scripts.sandbox.routes import Operation
from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox, Tenant
from scripts.sandbox.seeding import Recipe
from sync.object_types import OBJECT_TYPES
from tests.api.gateway.mirror_filling import connect_with_key, create_gateway, database_url_of, serving
from tests.factories import NOW
from tests.gateway_clients.clients import CLIENTS, Client, NotInstallable, run
from tests.sync.backfilling import Backfilling
from tests.sync.conftest import Team
from tests.sync.simulated_stripe import Clock, SimulatedStripe

ACCOUNT = "acme_incorporated"
SECRET_KEY = f"sk_test_{ACCOUNT}"
COUNTS = {"customer": 24, "product": 6, "price": 14, "subscription": 22, "invoice": 40, "charge": 30}
COUNTS |= {"coupon": 4, "promotion_code": 6, "tax_rate": 4, "checkout_session": 8, "credit_note": 6, "invoiceitem": 5}
COUNTS |= {"setup_intent": 5, "subscription_schedule": 4, "transfer": 5, "quote": 9, "payment_link": 4}
BETWEEN_CHANGES_S = 10


class SteppingSandbox(Sandbox):
    """Its time moves with changes only, so two of them see the same changes at the same times."""

    def __init__(self) -> None:
        self.time = Clock(NOW)
        super().__init__(self.time)
        self.add_account(ACCOUNT, Recipe(counts=COUNTS, profile="last-month", until=NOW - 120, types="all"))

    def admit(self, tenant: Tenant, operation: Operation, headers: Mapping[str, str]) -> None:
        if not operation.name.startswith("GET"):
            self.time.advance(BETWEEN_CHANGES_S)
        super().admit(tenant, operation, headers)


@pytest.fixture(scope="module", params=CLIENTS, ids=[client.name for client in CLIENTS])
def client(request):
    return request.param


@pytest.fixture(scope="module")
def command(client):
    """In CI, which sees to Node.js, a library that cannot be installed is a failure; elsewhere it is listed as not run."""
    try:
        return client.command()
    except NotInstallable as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{client.name}: {exc}", pytrace=False)
        pytest.skip(f"{client.name}: {exc}")


@pytest.fixture(scope="module")
def outcomes(client, command, new_database, redis_database):
    """What came of each call: at the sandbox, and through the gateway."""
    with SandboxThread(SteppingSandbox()) as sandbox:
        theirs = json.loads(run(*command, sandbox.url, SECRET_KEY, client.release))
    with (
        SandboxThread(SteppingSandbox()) as sandbox,
        psycopg.connect(new_database(), autocommit=True) as connection,
    ):
        app = create_gateway(connection, redis_database, sandbox.url)
        key = mirror(app, connection, sandbox.sandbox, client.mirror_speaks)
        with serving(app) as address:
            ours = json.loads(run(*command, address, key, client.release))
        app.extensions[EXTENSION].close()
    return theirs, ours


def mirror(app, connection, sandbox, api_version):
    """Reads the sandbox' account into a new team's mirror; a key that may do everything."""
    team_id = People(connection).create_team("Acme")
    connect_with_key(app, connection, team_id, SECRET_KEY)
    connection.execute("UPDATE billstack.connections SET api_version = %s", (api_version,))
    account = sandbox.tenant(ACCOUNT).account
    backfills = Backfilling(
        Team(team_id, database_url_of(connection), connection), SimulatedStripe(account, sandbox.time)
    )
    assert backfills.run(backfills.start(*OBJECT_TYPES)) == "ready"
    sandbox.time.now = NOW
    scopes = [scope.value for scope in Scope]
    return KeyStore(connection).create_key(team_id, "all", project_id=None, scopes=scopes, expires_at=None)[1]


def test_every_call_gives_what_stripe_gives(outcomes):
    theirs, ours = outcomes

    differing = [
        f"{json.dumps(their['call'])}\n    {where}\n    Stripe:  {stripes}\n    gateway: {gateways}"
        for their, our in zip(theirs, ours, strict=True)
        for where, stripes, gateways in list(differences(shown(their), shown(our)))[:2]
    ]

    assert len(theirs) > 130
    assert not differing, "\n" + "\n".join(each[:1500] for each in differing)


def test_the_mirror_answers_what_it_can(client, outcomes):
    """Of a release that pins another API version than the mirror's: nothing."""
    _, ours = outcomes
    reads = [each for each in ours if is_read(each["call"]) and "x-billstack-source" in each.get("headers", {})]

    misplaced = [
        each["call"] for each in reads if each["headers"]["x-billstack-source"] != expected_source(client, each["call"])
    ]

    assert misplaced == []
    assert len(reads) > 80


def is_read(call: dict[str, Any]) -> bool:
    return call["do"].rpartition(".")[2] in ("list", "retrieve", "search")


def expected_source(client: Client, call: dict[str, Any]) -> str:
    speaks_alike = client.release == "newest" or client.mirror_speaks is not None
    return "mirror" if speaks_alike and "asks" not in call else "stripe"


def differences(theirs: Any, ours: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two outcomes differ, and in what."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted(theirs.keys() | ours.keys()):
            yield from differences(theirs.get(name), ours.get(name), f"{where}.{name}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for at, (their, our) in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(their, our, f"{where}[{at}]")
    elif theirs != ours:
        yield where, theirs, ours


def shown(outcome: dict[str, Any]) -> Any:
    """Without what may differ."""
    headers = {name: value for name, value in outcome.get("headers", {}).items() if name != "x-billstack-source"}
    found = _comparable({**outcome, "headers": headers}, depth=0)
    if outcome["call"].get("any_order"):
        found["value"]["data"].sort(key=lambda each: each["id"])
    if outcome["call"]["do"] == "prices.list" and "value" in found:
        found["value"] = _without_inline(found["value"])
    return found


def _without_inline(value: Any) -> Any:
    if isinstance(value, dict):
        return {**value, "data": _without_inline(value["data"])}
    return [price for price in value if not (price["nickname"] or "").startswith("Agreed by hand")]


def _comparable(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return "req_" if value.startswith("req_") else value
    if isinstance(value, list):
        return [_comparable(each, depth) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("object") == "list" and depth > 1:
        return {"data": [_comparable(each, depth + 1) for each in value["data"][:10]], "url": value.get("url")}
    return {name: _comparable(each, depth + 1) for name, each in value.items()}
