"""What a payout is made of is read from the mirror where it is known; what only Stripe can tell is asked of Stripe."""

import json

import psycopg
import pytest
from psycopg import sql

from api.http.context import EXTENSION
from api.people import People
from api.projects.key_store import KeyStore, Scope
from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox
from sync.database.schema import schema_name
from sync.mirror.payouts import PAYOUT, TRANSACTION, PayoutStore, read_payout
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from sync.teams.connections import Connections
from sync.teams.mirrored_types import MirroredTypes
from tests.api.gateway.mirror_filling import (
    connect_with_key,
    create_gateway,
    fill_mirror,
    finish_backfill,
)
from workers.stripe_account import open_source

BALANCE = "/v1/balance_transactions"
MANUAL = "Balance transaction history can only be filtered on automatic transfers, not manual."


@pytest.fixture(scope="module")
def sandbox():
    with SandboxThread(Sandbox()) as served:
        few = {
            name: 0 for name, each in OBJECT_TYPES.items() if name not in ("charge", "payout", "balance_transaction")
        }
        served.add_account("demo", types="all", profile="last-month", counts={**few, "customer": 3, "charge": 90})
        yield served


@pytest.fixture(scope="module")
def connection(new_database):
    with psycopg.connect(new_database(), autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def app(sandbox, connection, redis_database):
    app = create_gateway(connection, redis_database, sandbox.url)
    yield app
    app.extensions[EXTENSION].close()


@pytest.fixture(scope="module")
def team_id(app, connection, sandbox):
    """A team that has read what its payouts are made of."""
    team_id = People(connection).create_team("Acme")
    connect_with_key(app, connection, team_id, "sk_test_demo")
    fill_mirror(connection, team_id, sandbox, "demo")
    finish_backfill(connection, team_id)
    read(app, connection, team_id)
    return team_id


@pytest.fixture
def undone(connection, team_id):
    """What a test does to the mirror is put right after it."""
    tables = [sql.Identifier(schema_name(team_id), name) for name in ("payouts", "payout_readings")]
    kept = [connection.execute(sql.SQL("SELECT * FROM {}").format(table)).fetchall() for table in tables[1:]]
    yield
    connection.execute(sql.SQL("UPDATE {} SET as_of_until = 1700000000").format(tables[0]))
    connection.execute(sql.SQL("DELETE FROM {}").format(tables[1]))
    with connection.cursor() as cursor:
        cursor.executemany(sql.SQL("INSERT INTO {} VALUES (%s, %s, %s, %s, %s)").format(tables[1]), kept[0])
    MirroredTypes(connection, team_id).add([PAYOUT.name])


def read(app, connection, team_id):
    context = app.extensions[EXTENSION]
    connected = Connections(connection, context.box).get(team_id)
    store = MirrorStore(connection, team_id)
    for payout in PayoutStore(store).unread(limit=1000):
        read_payout(store, open_source(context, connected), payout)


class Asking:
    def __init__(self, app, connection, team_id, sandbox):
        self._web, self._sandbox = app.test_client(), sandbox.sandbox.tenant("demo").account
        self._keys = KeyStore(connection)
        self._team_id = team_id

    def ours(self, *scopes, **params):
        """(status, source, body)"""
        names = [scope.value for scope in scopes or tuple(Scope)]
        raw_key = self._keys.create_key(self._team_id, "k", project_id=None, scopes=names, expires_at=None)[1]
        answer = self._web.get(BALANCE, query_string=params, headers={"Authorization": f"Bearer {raw_key}"})
        return answer.status_code, answer.headers.get("X-BillStack-Source"), json.loads(answer.data)

    def stripes(self, **params):
        return self._sandbox.list(BALANCE, params).json()

    def payouts(self, *, automatic=True):
        return [each["id"] for each in self._sandbox.objects("payout") if each["automatic"] is automatic]

    def manual(self):
        return self._sandbox.create("payout", reconciliation_status="not_applicable")["id"]


@pytest.fixture
def asking(app, connection, team_id, sandbox):
    return Asking(app, connection, team_id, sandbox)


def by_id(found):
    return {each["id"]: each for each in found["data"]}


def test_the_mirror_lists_what_each_payout_is_made_of_as_stripe_does(asking):
    for payout_id in asking.payouts():
        status, source, ours = asking.ours(payout=payout_id, limit=100)

        assert (status, source) == (200, "mirror")
        assert by_id(ours) == by_id(asking.stripes(payout=payout_id, limit=100))
        assert [each["created"] for each in ours["data"]] == sorted(
            (each["created"] for each in ours["data"]), reverse=True
        )
    assert len(asking.payouts()) > 3


def test_it_is_combined_with_other_filters_and_read_page_by_page(asking):
    payout_id = max(asking.payouts(), key=lambda each: len(asking.stripes(payout=each, limit=100)["data"]))
    every = asking.stripes(payout=payout_id, limit=100)["data"]
    second = every[len(every) // 2]["created"]
    for params in ({"type": "payout"}, {"type": "charge"}, {"created[gte]": second}, {"currency": "xxx"}):
        _, source, ours = asking.ours(payout=payout_id, limit=100, **params)
        assert source == "mirror"
        assert by_id(ours) == by_id(asking.stripes(payout=payout_id, limit=100, **params))

    found, after = [], {}
    while True:
        _, source, page = asking.ours(payout=payout_id, limit=3, **after)
        assert source == "mirror"
        found += page["data"]
        if not page["has_more"]:
            break
        after = {"starting_after": found[-1]["id"]}

    assert len(found) == len(every) > 3
    assert {each["id"] for each in found} == {each["id"] for each in every}


def test_a_cursor_of_another_payout_is_refused_as_stripe_does(asking):
    first, other = asking.payouts()[:2]
    cursor = asking.stripes(payout=other)["data"][0]["id"]

    status, _, ours = asking.ours(payout=first, starting_after=cursor)

    assert status == 400
    assert ours["error"]["code"] == asking.stripes(payout=first, starting_after=cursor)["error"]["code"]


def test_stripe_says_itself_what_it_cannot_tell(asking):
    assert asking.ours(payout=asking.manual())[2]["error"]["message"] == MANUAL
    assert asking.ours(payout="po_none")[2]["error"]["code"] == "resource_missing"
    assert asking.ours(payout="po_none")[1] == "stripe"


@pytest.mark.parametrize(
    "doubt",
    [
        "UPDATE {team}.payouts SET as_of_until = as_of_until + 1",
        "UPDATE {team}.payout_readings SET missing = 1",
        "UPDATE {team}.payout_readings SET refusal = 'No.'",
        "DELETE FROM {team}.payout_readings",
    ],
)
def test_what_the_mirror_does_not_know_whole_comes_from_stripe(asking, connection, team_id, undone, doubt):
    connection.execute(sql.SQL(doubt).format(team=sql.Identifier(schema_name(team_id))))
    payout_id = asking.payouts()[0]

    status, source, ours = asking.ours(payout=payout_id)

    assert (status, source) == (200, "stripe")
    assert by_id(ours) == by_id(asking.stripes(payout=payout_id))
    status, _, refused = asking.ours(Scope.READ_INVOICES, payout=payout_id)
    assert status == 403
    assert "does not know all balance transactions of this payout" in refused["error"]["message"]


def test_a_team_that_mirrors_no_payouts_asks_stripe(asking, connection, team_id, undone):
    MirroredTypes(connection, team_id).stop(PAYOUT, purge=False)

    assert asking.ours(payout=asking.payouts()[0])[:2] == (200, "stripe")
    assert asking.ours(limit=1)[:2] == (200, "mirror")
    _, _, refused = asking.ours(Scope.READ_INVOICES, payout=asking.payouts()[0])
    assert "this team does not mirror payouts" in refused["error"]["message"]


def test_so_does_a_team_that_never_had_their_table(app, connection, sandbox):
    team_id = People(connection).create_team("Other")
    connect_with_key(app, connection, team_id, "sk_test_demo")
    finish_backfill(connection, team_id)
    MirroredTypes(connection, team_id).stop(PAYOUT, purge=True)
    asking = Asking(app, connection, team_id, sandbox)

    assert asking.ours(payout=asking.payouts()[0])[:2] == (200, "stripe")
    _, _, refused = asking.ours(Scope.READ_INVOICES, payout=asking.payouts()[0])
    assert "this team does not mirror payouts" in refused["error"]["message"]


def test_tables_that_an_older_program_has_made_are_as_if_nothing_was_read(app, connection, sandbox):
    team_id = People(connection).create_team("Old")
    connect_with_key(app, connection, team_id, "sk_test_demo")
    finish_backfill(connection, team_id)
    for table in ("payout_readings", "payout_balance_transactions"):
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(schema_name(team_id), table)))
    asking = Asking(app, connection, team_id, sandbox)

    assert PayoutStore(MirrorStore(connection, team_id)).unread(limit=5) == []
    assert asking.ours(payout=asking.payouts()[0])[:2] == (200, "stripe")
    assert TRANSACTION.name in MirroredTypes(connection, team_id).names()
