"""How many live rows a mirror has is known without counting them, whoever writes and whatever is folded meanwhile."""

import threading
from typing import Any

import psycopg
from psycopg import sql

from sync.database import row_counts, schema
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from tests.factories import NOW, customer, encoded, product
from tests.sync.conftest import Team
from tests.sync.mirrored import CUSTOMER, answer, mirror, open_window, page_of

PRODUCT = OBJECT_TYPES["product"]


def counted(team: Team) -> dict[str, int]:
    """As the status reads it."""
    rows = team.connection.execute(
        """
        SELECT table_name, sum(live)::int
        FROM (
            SELECT schema_name, table_name, live FROM billstack.row_counts
            UNION ALL
            SELECT schema_name, table_name, live FROM billstack.row_count_changes
        ) AS both_tables
        WHERE schema_name = %s
        GROUP BY table_name
        """,
        (team.schema,),
    ).fetchall()
    return {table: live for table, live in rows if live}


def live_rows(team: Team) -> dict[str, int]:
    """As they are."""
    found = {}
    for table in (object_type.table for object_type in OBJECT_TYPES.values()):
        statement = sql.SQL("SELECT count(*) FROM {} WHERE deleted_at IS NULL").format(
            sql.Identifier(team.schema, table)
        )
        row = team.connection.execute(statement).fetchone()
        assert row
        found[table] = row[0]
    return {table: live for table, live in found.items() if live}


def changes(team: Team) -> int:
    row = team.connection.execute(
        "SELECT count(*) FROM billstack.row_count_changes WHERE schema_name = %s", (team.schema,)
    ).fetchone()
    assert row
    return int(row[0])


def some_customers(*numbers: int) -> list[dict[str, Any]]:
    return [customer(f"cus_{number}") for number in numbers]


def test_pages_and_what_becomes_of_their_rows_are_counted(store: MirrorStore, team: Team) -> None:
    mirror(store, open_window(store), page_of(some_customers(1, 2, 3), as_of=NOW))
    store.apply_event(PRODUCT, "prod_1", encoded(product()), created=NOW, checked_until=None)
    at_first = counted(team)
    store.apply_deletion(CUSTOMER, "cus_1", encoded(customer("cus_1")), created=NOW + 60)
    store.apply_deletion(CUSTOMER, "cus_9", encoded(customer("cus_9")), created=NOW + 60)
    after_deletions = counted(team)
    store.put_fetched(CUSTOMER, "cus_9", answer(customer("cus_9"), as_of=NOW + 90), version=None)

    assert (at_first, after_deletions) == ({"customers": 3, "products": 1}, {"customers": 2, "products": 1})
    assert counted(team) == live_rows(team) == {"customers": 3, "products": 1}


def test_what_is_there_already_changes_no_count(store: MirrorStore, team: Team) -> None:
    mirror(store, open_window(store), page_of(some_customers(1, 2), as_of=NOW))
    before = changes(team)

    mirror(store, open_window(store), page_of(some_customers(1, 2), as_of=NOW + 60))
    store.apply_event(CUSTOMER, "cus_1", encoded(customer("cus_1", name="New")), created=NOW + 99, checked_until=None)

    assert changes(team) == before


def test_a_page_that_is_not_committed_is_not_counted(store: MirrorStore, team: Team) -> None:
    with team.connection.transaction(force_rollback=True):
        store.apply_event(CUSTOMER, "cus_1", encoded(customer()), created=NOW, checked_until=None)

    assert counted(team) == {}


def test_rows_that_somebody_deletes_by_hand_are_counted_too(store: MirrorStore, team: Team) -> None:
    mirror(store, open_window(store), page_of(some_customers(1, 2, 3), as_of=NOW))

    team.connection.execute(
        sql.SQL("DELETE FROM {} WHERE id <> 'cus_2'").format(sql.Identifier(team.schema, "customers"))
    )

    assert counted(team) == {"customers": 1}


def test_counts_are_exact_while_writers_and_schedulers_work_at_once(team: Team) -> None:
    def write(first: int) -> None:
        with team.connect() as connection:
            own = MirrorStore(connection, team.id)
            for number in range(first, first + 40):
                body = encoded(customer(f"cus_{number % 60}"))
                change = own.apply_deletion if number % 3 == 0 else own.apply_event
                options: dict[str, Any] = {} if number % 3 == 0 else {"checked_until": None}
                change(CUSTOMER, f"cus_{number % 60}", body, created=NOW + number, **options)

    def fold() -> None:
        with team.connect() as connection:
            for _ in range(30):
                row_counts.fold(connection)

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 20, 40)]
    threads += [threading.Thread(target=fold) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row_counts.fold(team.connection)

    assert changes(team) == 0
    assert counted(team) == live_rows(team)
    assert 0 < counted(team)["customers"] < 60


def test_a_mirror_of_the_version_before_is_counted_as_it_is(store: MirrorStore, team: Team) -> None:
    mirror(store, open_window(store), page_of(some_customers(1, 2, 3), as_of=NOW))
    with psycopg.connect(team.database_url) as connection, connection.transaction(force_rollback=True):
        for object_type in OBJECT_TYPES.values():
            for trigger in ("count_inserted", "count_removed", "count_turned"):
                drop = sql.SQL("DROP TRIGGER {} ON {}")
                table = sql.Identifier(team.schema, object_type.table)
                connection.execute(drop.format(sql.Identifier(trigger), table))
        row_counts.forget(connection, team.schema)

        schema.create_team_schema(connection, team.id)
        schema.create_team_schema(connection, team.id)

        counts = dict(
            connection.execute(
                "SELECT table_name, live FROM billstack.row_counts WHERE schema_name = %s", (team.schema,)
            ).fetchall()
        )
    assert counts == {each.table: 0 for each in OBJECT_TYPES.values()} | {"customers": 3}


def test_a_dropped_mirror_leaves_no_count(store: MirrorStore, team: Team) -> None:
    mirror(store, open_window(store), page_of(some_customers(1), as_of=NOW))

    with psycopg.connect(team.database_url) as connection, connection.transaction(force_rollback=True):
        schema.drop_team_schema(connection, team.id)
        left = connection.execute(
            "SELECT FROM billstack.row_counts WHERE schema_name = %(schema)s"
            " UNION ALL SELECT FROM billstack.row_count_changes WHERE schema_name = %(schema)s",
            {"schema": team.schema},
        ).fetchall()

    assert left == []
