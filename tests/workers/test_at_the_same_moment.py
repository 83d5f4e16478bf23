"""What people and processes do to one team at the same moment neither deadlocks nor leaves halves behind."""

import contextlib
import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql

import api.account.connecting
import api.webhooks.setup
from api.account.backfills import cancel_backfill, start_backfill
from api.account.connecting import connect, disconnect
from api.webhooks.setup import set_up_webhook, take_down_webhook
from sync.backfill.records import BackfillStore
from sync.database.schema import schema_name
from sync.errors import Conflict
from sync.object_types import DEFAULT_TYPES, in_order
from sync.stripe.webhook_endpoint import set_up
from sync.teams.connections import Connections

KEY = {"secret_key": "sk_test_demo", "publishable_key": None, "webhook_secret": None}


def begin(context, team_id):
    start_backfill(context, team_id, None, None, None)


def running(database, team_id):
    return database.execute(
        "SELECT id FROM billstack.backfills WHERE team_id = %s AND state = 'running'", (team_id,)
    ).fetchall()


def wait_until_somebody_waits(database):
    deadline = time.monotonic() + 10
    while not database.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_backfill_that_begins_while_the_team_connects_does_not_deadlock(context, team_id, database):
    with ThreadPoolExecutor(1) as thread, psycopg.connect(context.settings.database_url) as beginning:
        beginning.execute("SELECT 1 FROM billstack.connections WHERE team_id = %s FOR UPDATE", (team_id,))
        connecting = thread.submit(connect, context, team_id, **KEY)
        wait_until_somebody_waits(database)

        BackfillStore(beginning).start(team_id, ["product"], None, request_id=None)
        beginning.commit()

        assert connecting.result().account_id


def test_a_new_key_does_not_wait_for_pages_that_are_being_written(context, team_id, database):
    """It would hold the next ones back meanwhile, or deadlock with them."""
    tables = sql.SQL(", ").join(sql.Identifier(schema_name(team_id), each.table) for each in in_order(DEFAULT_TYPES))
    with ThreadPoolExecutor(1) as thread, psycopg.connect(context.settings.database_url) as writing:
        writing.execute(sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(tables))
        try:
            assert thread.submit(connect, context, team_id, **KEY).result(timeout=60).account_id
        finally:
            writing.rollback()


@pytest.mark.parametrize("purge", [False, True])
def test_a_backfill_that_begins_while_the_team_disconnects_ends_with_it(context, team_id, database, monkeypatch, purge):
    """The webhook is taken down at Stripe, which takes a while, before the keys are forgotten."""
    monkeypatch.setattr(api.account.connecting, "take_down_webhook", lambda *_: begin(context, team_id))

    disconnect(context, team_id, purge=purge)

    assert running(database, team_id) == []
    with pytest.raises(Conflict, match="not connected"):
        begin(context, team_id)


def endpoints(stripe):
    return stripe.sandbox.tenant("demo").account.list("/v1/webhook_endpoints", {}).json()["data"]


@pytest.mark.parametrize("purge", [False, True])
def test_a_webhook_that_stripe_makes_while_the_team_disconnects_is_taken_down(
    context, team_id, stripe, monkeypatch, purge
):
    def made_and_disconnected(*arguments, **options):
        made = set_up(*arguments, **options)
        assert len(endpoints(stripe)) == 1
        disconnect(context, team_id, purge=purge)
        return made

    monkeypatch.setattr(api.webhooks.setup, "set_up", made_and_disconnected)

    with pytest.raises(Conflict, match="disconnected"):
        set_up_webhook(context, team_id)

    assert endpoints(stripe) == []


@pytest.mark.parametrize("purge", [False, True])
def test_a_disconnect_takes_down_the_webhook_that_was_made_meanwhile(context, team_id, stripe, monkeypatch, purge):
    def take_down_late(context, connected):
        monkeypatch.undo()
        set_up_webhook(context, team_id)
        take_down_webhook(context, connected)

    monkeypatch.setattr(api.account.connecting, "take_down_webhook", take_down_late)

    disconnect(context, team_id, purge=purge)

    assert endpoints(stripe) == []


def test_a_backfill_waits_for_a_disconnect_and_then_does_not_begin(context, team_id, database):
    with ThreadPoolExecutor(1) as thread, psycopg.connect(context.settings.database_url) as disconnecting:
        Connections(disconnecting, context.box).lock(team_id)
        beginning = thread.submit(begin, context, team_id)
        wait_until_somebody_waits(database)

        Connections(disconnecting, context.box).forget_keys(team_id)
        disconnecting.commit()

        with pytest.raises(Conflict, match="not connected"):
            beginning.result()
    assert running(database, team_id) == []


def test_a_crowd_gets_no_error_of_the_database(context, team_id, database):
    deeds = [
        lambda: connect(context, team_id, **KEY),
        lambda: begin(context, team_id),
        lambda: cancel_backfill(context, team_id),
        lambda: disconnect(context, team_id, purge=False),
        lambda: begin(context, team_id),
        lambda: connect(context, team_id, **KEY),
        lambda: disconnect(context, team_id, purge=True),
    ]

    def do(deed):
        with contextlib.suppress(Conflict):  # not connected, or another one runs
            deed()

    with ThreadPoolExecutor(6) as crowd:
        list(crowd.map(do, itertools.islice(itertools.cycle(deeds), 120)))

    disconnect(context, team_id, purge=True)
    assert running(database, team_id) == []
