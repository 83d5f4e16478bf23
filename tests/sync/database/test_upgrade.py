"""An upgrade beside a product at work: nobody waits for it for long, nothing is lost, and only what differs is touched."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from scripts.local.servers import at_database
from sync.database import row_counts, schema
from sync.database.upgrade import upgrade, upgrade_late_teams
from sync.errors import SchemaError
from sync.object_types import DEFAULT_TYPES, in_order
from sync.teams.database_access import DatabaseAccess
from sync.teams.mirrored_types import MirroredTypes
from tests.factories import FACTORIES, encoded

VERSION_2 = Path(__file__).with_name("schema_of_version_2.sql").read_text()
VERSION_3 = Path(__file__).with_name("schema_of_version_3.sql").read_text()
VERSION_4 = Path(__file__).with_name("schema_of_version_4.sql").read_text()
TEAMS = ("team_a", "team_b", "team_c")


@pytest.fixture
def database(postgres_server: Any) -> Iterator[str]:
    """Of version 2, with some teams, each with an object of every type."""
    name = "billstack_upgrade_test"
    with psycopg.connect(postgres_server.url, autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = at_database(postgres_server.url, name)
        with psycopg.connect(url, autocommit=True) as connection:
            _make_version_2(connection)
        yield url
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def _make_version_2(connection: psycopg.Connection) -> None:
    _, control, team, _ = re.split(r"^-- part: .*$", VERSION_2, flags=re.MULTILINE)
    connection.execute(control)
    connection.execute("INSERT INTO billstack.schema_version (version) VALUES (2)")
    for team_id in TEAMS:
        name = schema.schema_name(team_id)
        connection.execute("INSERT INTO billstack.teams (id, name) VALUES (%s, 'Test')", (team_id,))
        connection.execute(
            "INSERT INTO billstack.connections (team_id, account_id, livemode) VALUES (%s, 'acct_1', false)", (team_id,)
        )
        connection.execute(sql.SQL(team).format(team=sql.Identifier(name), team_name=sql.Literal(name)))
        for object_type in in_order(DEFAULT_TYPES):
            put(connection, team_id, object_type.table, FACTORIES[object_type.name]())


def put(connection: psycopg.Connection, team_id: str, table: str, about: dict[str, Any]) -> None:
    connection.execute(
        sql.SQL("INSERT INTO {} (id, raw, as_of, as_of_until) VALUES (%s, %s, 1, 2)").format(
            sql.Identifier(schema.schema_name(team_id), table)
        ),
        (about["id"], encoded(about).decode()),
    )


def rows(connection: psycopg.Connection, team_id: str, table: str) -> list[Any]:
    named = sql.Identifier(schema.schema_name(team_id), table)
    return connection.execute(
        sql.SQL("SELECT id, raw, as_of, as_of_until FROM {} ORDER BY id").format(named)
    ).fetchall()


def change_a_table(monkeypatch: pytest.MonkeyPatch, table: str = "charges") -> None:
    """As if this program's version had one more column there than the one before."""
    parts = dict(schema.parts())
    head = f"CREATE TABLE IF NOT EXISTS {{team}}.{table} (\n"
    name = next(name for name, text in parts.items() if head in text)
    column = f"new_column_{parts[name].count('new_column')}"
    parts[name] = parts[name].replace(
        head, head + f"    {column} text GENERATED ALWAYS AS (billstack.as_text(raw -> 'id')) STORED,\n"
    )
    monkeypatch.setattr(schema, "parts", lambda: parts)


def test_a_database_of_version_2_is_upgraded_with_all_its_rows(connection: psycopg.Connection) -> None:
    before = {
        (team, kind.table): rows(connection, team, kind.table) for team in TEAMS for kind in in_order(DEFAULT_TYPES)
    }

    upgrade(connection)

    schema.check_version(connection)
    for team_id in TEAMS:
        schema.check_team(connection, team_id)
    assert {key: rows(connection, *key) for key in before} == before


@pytest.mark.parametrize(("version", "text"), [(3, VERSION_3), (4, VERSION_4)], ids=["3", "4"])
def test_a_database_of_a_later_version_is_upgraded_with_all_its_rows(
    connection: psycopg.Connection, version: int, text: str
) -> None:
    _, *split = re.split(r"^-- part: (.*?) -*$", text, flags=re.MULTILINE)
    parts = dict(zip(split[::2], split[1::2], strict=True))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(schema, "parts", lambda: parts)
        upgrade(connection)
        schema.ensure_tables(connection, "team_a", in_order(["refund"]))
    put(connection, "team_a", "refunds", FACTORIES["refund"]())
    connection.execute("INSERT INTO billstack.mirrored_types (team_id, type) VALUES ('team_a', 'refund')")
    connection.execute("UPDATE billstack.schema_version SET version = %s, oldest_program = 2", (version,))
    for team_id in TEAMS:
        connection.execute(f"COMMENT ON SCHEMA stripe_{team_id} IS 'billstack {version}'")  # type: ignore[arg-type]
    tables = [(team, kind.table) for team in TEAMS for kind in in_order(DEFAULT_TYPES)] + [("team_a", "refunds")]
    before = {table: rows(connection, *table) for table in tables}

    upgrade(connection)

    schema.check_version(connection)
    for team_id in TEAMS:
        schema.check_team(connection, team_id)
    assert {table: rows(connection, *table) for table in tables} == before


def test_tables_that_a_type_has_got_since_are_made_for_teams_that_mirror_it_only(
    connection: psycopg.Connection,
) -> None:
    """As of a deploy of the same version, by a program that knew nothing of them."""
    upgrade(connection)
    for team_id, name in (("team_a", "payout"), ("team_b", "refund")):
        MirroredTypes(connection, team_id).add([name])
    put(connection, "team_a", "payouts", FACTORIES["payout"]())
    added = ("payout_balance_transactions", "payout_readings")
    for table in added:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("stripe_team_a", table)))
    told: list[str] = []

    upgrade(connection, told.append)

    assert told == ["1 teams need an upgrade"]
    assert len(rows(connection, "team_a", "payouts")) == 1
    for table in added:
        assert connection.execute("SELECT to_regclass(%s)", (f"stripe_team_a.{table}",)).fetchone() != (None,)
        assert connection.execute("SELECT to_regclass(%s)", (f"stripe_team_b.{table}",)).fetchone() == (None,)
    upgrade(connection, told.append)
    assert len(told) == 1, "and then nothing is missing"


def test_typed_columns_of_rows_from_version_2_read_right_after_the_upgrade(connection: psycopg.Connection) -> None:
    plan = {"id": "gold", "product": "prod_gold", "currency": "usd", "amount": 900}
    item = {"id": "si_1", "quantity": 3, "plan": plan}
    bare = {"id": "sub_9", "object": "subscription", "created": 5, "items": {"data": [item]}}
    put(connection, "team_a", "subscriptions", bare)
    payer = {"billing_details": {"email": "payer@example.com"}, "receipt_email": None}
    put(connection, "team_a", "charges", FACTORIES["charge"]("ch_9", amount=10.5, **payer))
    put(connection, "team_a", "customers", FACTORIES["customer"]("cus_9", balance=10.5))
    assert connection.execute("SELECT balance FROM stripe_team_a.customers WHERE id = 'cus_9'").fetchone() == (11,)

    upgrade(connection)

    def found(statement: str) -> Any:
        return connection.execute(statement).fetchone()  # type: ignore[arg-type]

    named = found("SELECT price, product, currency FROM stripe_team_a.subscriptions WHERE id = 'sub_9'")
    amounts = found("SELECT unit_amount, quantity FROM stripe_team_a.subscriptions WHERE id = 'sub_9'")
    assert (named, amounts) == (("gold", "prod_gold", "usd"), (900, 3))
    assert found("SELECT amount, receipt_email FROM stripe_team_a.charges WHERE id = 'ch_9'") == (
        None,
        "payer@example.com",
    )
    assert found("SELECT balance FROM stripe_team_a.customers WHERE id = 'cus_9'") == (None,)


def test_a_table_with_new_columns_is_made_again_with_its_rows_rights_and_an_administrators_index(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(connection)
    DatabaseAccess(connection, "team_a").open()
    connection.execute("CREATE INDEX of_an_administrator ON stripe_team_a.charges ((raw -> 'amount'))")
    connection.execute("GRANT SELECT ON stripe_team_a.charges TO pg_monitor")
    before = rows(connection, "team_a", "charges")
    change_a_table(monkeypatch)

    upgrade(connection)

    assert rows(connection, "team_a", "charges") == before
    assert connection.execute("SELECT new_column_0 FROM stripe_team_a.charges").fetchall() == [(before[0][0],)]
    indexes = connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'charges'").fetchall()
    assert {("of_an_administrator",), ("charges_pkey",), ("charges_newest",)} <= set(indexes)
    for role in (DatabaseAccess(connection, "team_a").role, "pg_monitor"):
        granted = connection.execute("SELECT has_table_privilege(%s, 'stripe_team_a.charges', 'SELECT')", (role,))
        assert granted.fetchone() == (True,)
    DatabaseAccess(connection, "team_a").remove()
    left = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%\\_next' OR nspname LIKE '%wanted%'"
    )
    assert left.fetchall() == []


def test_tables_that_have_their_columns_are_left_alone(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(connection)
    before = oids(connection)
    change_a_table(monkeypatch)

    upgrade(connection)

    changed = {name for name, oid in oids(connection).items() if before[name] != oid}
    assert changed == {f"stripe_{team_id}.charges" for team_id in TEAMS}


def oids(connection: psycopg.Connection) -> dict[str, int]:
    found = connection.execute(
        """
        SELECT nspname || '.' || relname, pg_class.oid
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname LIKE 'stripe\\_team%' AND relkind = 'r'
        """
    )
    return dict(found.fetchall())


def test_what_is_written_while_the_table_is_made_again_is_in_it(
    connection: psycopg.Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(connection)
    for number in range(2000):
        put(connection, "team_a", "charges", FACTORIES["charge"](f"old_{number}"))
    written: dict[str, int] = {}
    stopped = threading.Event()

    def write() -> None:
        number = 0
        with psycopg.connect(database, autocommit=True) as writer:
            while not stopped.is_set():
                number += 1
                put(writer, "team_a", "charges", FACTORIES["charge"](f"new_{number}"))
                writer.execute(
                    "UPDATE stripe_team_a.charges SET as_of = %s WHERE id = %s", (number, f"old_{number % 2000}")
                )
                written[f"old_{number % 2000}"], written[f"new_{number}"] = number, 1

    change_a_table(monkeypatch)
    thread = threading.Thread(target=write)
    thread.start()
    upgrade(connection)
    during = len(written)
    stopped.set()
    thread.join()

    assert during > 0
    found = {object_id: as_of for object_id, _, as_of, _ in rows(connection, "team_a", "charges")}
    assert {object_id: found.get(object_id) for object_id in written} == written
    assert len(found) == 2001 + sum(object_id.startswith("new_") for object_id in written)


def test_a_readers_open_transaction_is_waited_for_and_named_and_holds_up_nobody_behind_the_upgrade(
    connection: psycopg.Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(connection)
    change_a_table(monkeypatch)
    told: list[str] = []
    with (
        psycopg.connect(database, application_name="somebody's psql") as reader,
        psycopg.connect(database, autocommit=True) as status,
    ):
        reader.execute("SELECT FROM stripe_team_b.charges")
        status.execute("SET statement_timeout = '20s'")
        run = threading.Thread(target=upgrade, args=(connection, told.append))
        run.start()
        while run.is_alive() and not any("psql" in line for line in told):
            for team_id in TEAMS:
                rows(status, team_id, "charges")
            time.sleep(0.01)
        schema.check_team(status, "team_a")
        assert "new_column_0" not in columns(status, "team_b")
        assert "new_column_0" in columns(status, "team_c"), "one team's reader holds up no other team's upgrade"
        reader.rollback()
        run.join()

    assert "new_column_0" in columns(connection, "team_b")


def columns(connection: psycopg.Connection, team_id: str, table: str = "charges") -> set[str]:
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
        (schema.schema_name(team_id), table),
    )
    return {name for (name,) in found}


def test_a_transaction_that_never_ends_is_an_error_that_names_it_and_the_other_teams_are_upgraded(
    connection: psycopg.Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(connection)
    change_a_table(monkeypatch)
    with psycopg.connect(database, application_name="forgotten") as reader:
        reader.execute("SELECT FROM stripe_team_a.charges")
        time.sleep(1)

        with pytest.raises(SchemaError, match=r"team_a are locked by a transaction of forgotten \(pid \d+"):
            upgrade(connection, patience_s=1)

    assert "new_column_0" in columns(connection, "team_c")
    upgrade(connection)
    assert "new_column_0" in columns(connection, "team_a")


def test_an_administrators_view_is_named_and_nothing_is_lost(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(connection)
    connection.execute("CREATE VIEW public.of_an_administrator AS SELECT id FROM stripe_team_a.charges")
    change_a_table(monkeypatch)

    with pytest.raises(SchemaError, match="of_an_administrator"):
        upgrade(connection)

    assert len(rows(connection, "team_a", "charges")) == 1
    connection.execute("DROP VIEW public.of_an_administrator")


def test_live_rows_are_counted_after_the_upgrade_as_they_are(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(connection, "team_a", "charges", FACTORIES["charge"]("ch_2"))
    connection.execute("UPDATE stripe_team_a.charges SET deleted_at = now() WHERE id = 'ch_2'")

    for _ in range(2):
        change_a_table(monkeypatch)
        upgrade(connection)
        put(connection, "team_a", "charges", FACTORIES["charge"](f"ch_{len(rows(connection, 'team_a', 'charges'))}x"))
        row_counts.fold(connection)

    counted = connection.execute(
        "SELECT table_name, live FROM billstack.row_counts WHERE schema_name LIKE 'stripe_team_a%'"
    )
    assert dict(counted.fetchall()) == dict.fromkeys((each.table for each in in_order(DEFAULT_TYPES)), 1) | {
        "charges": 3
    }


def test_a_team_that_the_version_before_connects_after_init_db_is_upgraded_by_the_scheduler(
    connection: psycopg.Connection,
) -> None:
    upgrade(connection)
    connection.execute("DROP SCHEMA stripe_team_a CASCADE")
    _, _, team, _ = re.split(r"^-- part: .*$", VERSION_2, flags=re.MULTILINE)
    named = {"team": sql.Identifier("stripe_team_a"), "team_name": sql.Literal("stripe_team_a")}
    connection.execute(sql.SQL(team).format(**named))  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="init-db"):
        schema.check_team(connection, "team_a")

    assert upgrade_late_teams(connection) == 1

    schema.check_team(connection, "team_a")
    assert upgrade_late_teams(connection) == 0


def views(connection: psycopg.Connection, team_id: str) -> set[str]:
    rows = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = %s", (schema.schema_name(team_id),))
    return {name for (name,) in rows}


def test_views_of_numbers_stand_on_the_tables_made_again_with_their_rights(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(connection)
    before = views(connection, "team_a")
    connection.execute("GRANT SELECT ON stripe_team_a.customer_totals TO pg_monitor")
    change_a_table(monkeypatch)

    upgrade(connection)

    assert "mrr" in before
    assert views(connection, "team_a") == before
    assert connection.execute("SELECT charges FROM stripe_team_a.revenue_by_month").fetchall() == [(1,)]
    granted = connection.execute("SELECT has_table_privilege('pg_monitor', 'stripe_team_a.customer_totals', 'SELECT')")
    assert granted.fetchone() == (True,)


def test_a_view_that_changed_is_made_again_and_only_then(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(connection)
    connection.execute("GRANT SELECT ON stripe_team_a.mrr TO pg_monitor")
    parts = schema.parts()
    numbers = parts["numbers"]
    changed = numbers.replace("SELECT currency,\n", "SELECT 'new'::text AS new_column,\n    currency,\n", 1)
    assert changed != numbers

    upgrade(connection)
    unchanged = connection.execute("SELECT 'stripe_team_a.mrr'::regclass::oid").fetchone()
    upgrade(connection)
    assert connection.execute("SELECT 'stripe_team_a.mrr'::regclass::oid").fetchone() == unchanged
    monkeypatch.setattr(schema, "parts", lambda: {**parts, "numbers": changed})
    upgrade(connection)

    assert connection.execute("SELECT new_column, currency FROM stripe_team_a.mrr").fetchall() == [("new", "usd")]
    granted = connection.execute("SELECT has_table_privilege('pg_monitor', 'stripe_team_a.mrr', 'SELECT')")
    assert granted.fetchone() == (True,)


def test_somebodys_own_view_with_a_name_of_ours_is_named_and_kept(connection: psycopg.Connection) -> None:
    connection.execute("CREATE VIEW stripe_team_b.mrr AS SELECT 1 AS own")

    with pytest.raises(SchemaError, match=r"stripe_team_b\.mrr does not belong to BillStack"):
        upgrade(connection)

    assert connection.execute("SELECT own FROM stripe_team_b.mrr").fetchall() == [(1,)]
    connection.execute("ALTER VIEW stripe_team_b.mrr RENAME TO own_mrr")
    upgrade(connection)
    assert "mrr" in views(connection, "team_b")


def test_nothing_claims_that_a_mirror_is_complete_that_a_backup_left_out(
    connection: psycopg.Connection,
) -> None:
    upgrade(connection)
    for state in ("running", "ready"):
        connection.execute(
            "INSERT INTO billstack.backfills (id, team_id, objects, state) VALUES (%s, 'team_a', '{charge}', %s)",
            (f"bf_{state}", state),
        )
    connection.execute(
        "INSERT INTO billstack.type_proofs VALUES ('team_a', 'charge', now(), 1), ('team_b', 'charge', now(), 1)"
    )
    schema.drop_team_schema(connection, "team_a")

    told: list[str] = []
    upgrade(connection, told.append)

    assert connection.execute("SELECT team_id FROM billstack.type_proofs").fetchall() == [("team_b",)]
    states = connection.execute("SELECT DISTINCT state FROM billstack.backfills WHERE team_id = 'team_a'").fetchall()
    assert states == [("canceled",)]
    assert any("team_a has no tables any more: start a backfill" in line for line in told)
    told.clear()
    upgrade(connection, told.append)
    assert told == []
    schema.ensure_team_schema(connection, "team_a")  # as the backfill's start does
    assert rows(connection, "team_a", "charges") == []
