"""During a rolling deploy a job meets tables of another version: it gives back what it took, and nothing fails."""

import psycopg
import pytest
from psycopg import sql
from rq import Queue

from sync.database.schema import SCHEMA_VERSION, mark, schema_name
from sync.errors import SchemaError
from sync.events.ledger import Ledger
from tests.factories import NOW, customer, encoded, event
from workers.context import refuse_unfit_postgres
from workers.jobs import events, reconcile
from workers.queues import COMPARISONS


@pytest.fixture
def old_tables(database, team_id) -> str:
    """The team's tables are of the version before, as while init-db has not come to them yet."""
    comment = sql.Literal(f"billstack {SCHEMA_VERSION - 1}")
    database.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema_name(team_id)), comment))
    return team_id


def test_events_stay_in_the_ledger_until_the_tables_fit(context, database, old_tables):
    body = encoded(event(customer(), created=NOW)).decode()
    Ledger(database, old_tables).record("evt_1", "customer.updated", NOW, body, delivered=True)

    assert events.apply_events(old_tables) == 0
    assert database.execute("SELECT state, attempts FROM billstack.events").fetchall() == [("pending", 0)]

    mark(database, schema_name(old_tables))
    assert events.apply_events(old_tables) == 1


def test_nothing_is_swept_into_tables_that_do_not_fit(context, database, old_tables, stripe):
    stripe.sandbox.tenant("demo").account.create("customer", email="new@example.com")

    assert events.sweep_events(old_tables) == 0

    mark(database, schema_name(old_tables))
    assert events.sweep_events(old_tables) > 0


def test_a_comparison_is_given_back_and_waits_for_the_scheduler(context, database, old_tables):
    reconcile_id, _ = reconcile.start_reconcile(context, old_tables, None)
    queue = Queue(COMPARISONS, connection=context.redis)
    queue.empty()

    assert reconcile.work_on_reconcile(reconcile_id) == "waits"
    assert database.execute("SELECT state, held_until < now() FROM billstack.reconciles").fetchall() == [
        ("running", True)
    ]
    assert queue.count == 0, "else it would be taken and given back without end"

    mark(database, schema_name(old_tables))
    assert reconcile.work_on_reconcile(reconcile_id) != "waits"


def test_a_comparison_whose_tables_change_under_it_is_given_back(context, database, team_id, monkeypatch):
    def upgraded_meanwhile(*_: object) -> str:
        comment = sql.Literal(f"billstack {SCHEMA_VERSION - 1}")
        database.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema_name(team_id)), comment))
        raise psycopg.errors.UndefinedColumn("column mirror.gone does not exist")

    monkeypatch.setattr(reconcile.ReconcileRun, "run", upgraded_meanwhile)
    reconcile_id, _ = reconcile.start_reconcile(context, team_id, None)

    assert reconcile.work_on_reconcile(reconcile_id) == "waits"
    assert database.execute("SELECT state, held_until < now() FROM billstack.reconciles").fetchall() == [
        ("running", True)
    ]


def test_a_process_does_not_start_on_a_database_that_only_newer_programs_know(context, database, database_url):
    database.execute("UPDATE billstack.schema_version SET version = version + 1")
    try:
        refuse_unfit_postgres(database_url, "DATABASE_URL")  # the upgrade says that this program may go on meanwhile
        database.execute("UPDATE billstack.schema_version SET oldest_program = version")
        with pytest.raises(SchemaError, match="deploy the newer program"):
            refuse_unfit_postgres(database_url, "DATABASE_URL")
    finally:
        database.execute("UPDATE billstack.schema_version SET version = %s, oldest_program = 2", (SCHEMA_VERSION,))


def test_a_job_does_not_go_on_in_an_api_version_that_the_connection_no_longer_has(
    context, database, team_id, monkeypatch
):
    """It would write objects in the old shape after the backfill had read them in the new one."""
    monkeypatch.setattr("sync.events.applying.BATCH_SIZE", 1)
    outcomes = []

    def changes_meanwhile(_, outcome, ended):
        database.execute("UPDATE billstack.connections SET api_version = '2023-10-16'")
        outcomes.append(outcome)

    monkeypatch.setattr("workers.redis.meter.Meter.events", changes_meanwhile)
    for number in (1, 2):
        body = encoded(event(customer(id=f"cus_{number}"), created=NOW)).decode()
        Ledger(database, team_id).record(f"evt_{number}", "customer.updated", NOW, body, delivered=True)

    events.apply_events(team_id)
    events.apply_events(team_id)  # the one that was woken, unless the first has taken its work already

    assert outcomes == ["applied", "fetched"], "by then the second event has another version than the connection"
