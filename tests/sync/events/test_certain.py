"""A batch takes few round trips, whatever is in it, and what somebody else writes meanwhile is never overwritten unseen."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from sync.events.applying import BATCH_SIZE, apply_next, record_events
from sync.events.ledger import Ledger
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from sync.round_trip import RoundTrips
from sync.stripe.answers import Answer
from tests.factories import NOW, Json, charge, customer, encoded, event, invoice, product
from tests.sync.conftest import Team
from tests.sync.mirrored import row
from tests.sync.simulated_stripe import SimulatedStripe, mirrored_of, simulated_stripe, source_of

CUSTOMER = OBJECT_TYPES["customer"]


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe(counts={"customer": 2, "product": 1})


@pytest.fixture
def round_trips(team: Team, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many statements each round trip has, also those of psycopg."""
    found: list[int] = []
    send, execute = RoundTrips.send, psycopg.Cursor.execute

    def counted_send(trips, begin, calls, end, **options):
        found.append(len(calls))
        return send(trips, begin, calls, end, **options)

    def counted_execute(cursor, *arguments, **options):
        found.append(1)
        return execute(cursor, *arguments, **options)

    monkeypatch.setattr(RoundTrips, "send", counted_send)
    monkeypatch.setattr(psycopg.Cursor, "execute", counted_execute)
    return found


@pytest.fixture
def connection(team: Team) -> Iterator[psycopg.Connection]:
    """A new one. On the one that tests share, psycopg may have deallocated what we prepared."""
    with team.connect() as made:
        yield made


def record(team: Team, *events: Json) -> None:
    assert record_events(Ledger(team.connection, team.id), map(encoded, events)) == len(events)


def states(team: Team) -> dict[str, int]:
    found = team.connection.execute("SELECT state, count(*) FROM billstack.events GROUP BY state").fetchall()
    return dict(found)


def test_a_batch_takes_three_round_trips(
    team: Team, stripe: SimulatedStripe, connection: psycopg.Connection, round_trips: list[int]
) -> None:
    """They claim the events, look at the rows, and write them."""
    record(team, event(customer()), event(invoice()), event(charge(), created=NOW + 1), event(product()))
    round_trips.clear()

    applied = apply_next(connection, team.id, source_of(stripe), mirrored_of(stripe))

    assert applied.outcomes == {"applied": 4}
    assert len(round_trips) == 3, round_trips


def test_a_batch_of_many_changes_takes_few_round_trips(
    team: Team, stripe: SimulatedStripe, connection: psycopg.Connection, round_trips: list[int], store: MirrorStore
) -> None:
    record(team, *(event(customer(f"cus_{number}", name=f"{again}"), created=NOW + again)
        for number in range(50) for again in (1, 2, 3)))  # fmt: skip
    round_trips.clear()

    applied = apply_next(connection, team.id, source_of(stripe), mirrored_of(stripe))

    assert applied.outcomes == {"applied": 150}
    assert len(round_trips) < 15, round_trips
    assert {row(store, f"cus_{number}").raw["name"] for number in range(50)} == {"3"}  # type: ignore[union-attr]


def test_the_last_batch_says_so(team: Team, stripe: SimulatedStripe) -> None:
    record(team, *(event(customer(f"cus_{number}")) for number in range(BATCH_SIZE + 1)))

    found = [apply_next(team.connection, team.id, source_of(stripe), mirrored_of(stripe)) for _ in range(2)]

    assert [each.is_last for each in found] == [False, True]
    assert states(team) == {"applied": BATCH_SIZE + 1}


@pytest.mark.parametrize("is_known", [False, True], ids=["inserts", "changes"])
def test_a_row_that_somebody_else_writes_meanwhile_is_judged_as_it_is_then(
    team: Team, stripe: SimulatedStripe, connection: psycopg.Connection, store: MirrorStore, is_known: bool
) -> None:
    """Between a batch's look and its writing: an answer that is newer than the event."""
    if is_known:
        store.put_fetched(CUSTOMER, "cus_1", Answer(encoded(customer()), NOW - 9, NOW - 8), version=None)
    newer = customer(name="newer")
    record(team, event(customer(name="of the event"), created=NOW))
    found = []

    def apply() -> None:
        found.append(apply_next(connection, team.id, source_of(stripe), mirrored_of(stripe)).outcomes)

    with team.connection.transaction():
        store.put_fetched(CUSTOMER, "cus_1", Answer(encoded(newer), NOW + 5, NOW + 6), version=None)
        applying = threading.Thread(target=apply)
        applying.start()
        applying.join(0.3)
        assert applying.is_alive(), "it waits for the row"
    applying.join()

    assert found == [{"older": 1}]
    assert row(store, "cus_1").raw == newer  # type: ignore[union-attr]


def test_plans_that_were_made_for_a_few_rows_do_not_read_whole_tables_later(
    team: Team, stripe: SimulatedStripe, connection: psycopg.Connection
) -> None:
    """A connection keeps them, and a backfill fills the tables within a minute."""
    team.connection.execute("DELETE FROM billstack.events")
    record(team, *(event(customer(f"cus_{number}")) for number in range(10)))
    team.connection.execute("VACUUM ANALYZE")

    apply_next(connection, team.id, source_of(stripe), mirrored_of(stripe))
    record(team, *(event(customer(f"cus_{number}", name="new"), created=NOW + 1) for number in range(10)))
    apply_next(connection, team.id, source_of(stripe), mirrored_of(stripe))

    kept = connection.execute("SELECT name, cardinality(parameter_types) FROM pg_prepared_statements").fetchall()
    assert len(kept) > 5
    for name, count in kept:
        assert "Seq Scan" not in plan(connection, name, count)


def plan(connection: psycopg.Connection, name: str, parameters: int) -> str:
    values = sql.SQL("({})").format(sql.SQL(", ").join([sql.NULL] * parameters)) if parameters else sql.SQL("")
    with connection.transaction():
        connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        explain = sql.SQL("EXPLAIN EXECUTE {}{}").format(sql.Identifier(name), values)
        return "\n".join(line for (line,) in connection.execute(explain).fetchall())


def test_whoever_knows_that_no_event_is_pending_knows_it_for_good(team: Team, stripe: SimulatedStripe) -> None:
    """Batches do not wait for the disk, and a crash of Postgres undoes the last of them. Then a backfill must not be over."""
    record(team, event(customer()))
    team.connection.execute("SET synchronous_commit = on")
    try:
        apply_next(team.connection, team.id, source_of(stripe), mirrored_of(stripe))
        applied_at = position(team, "insert")

        assert Ledger(team.connection, team.id).pending(NOW) == 0

        assert position(team, "flush") >= applied_at
    finally:
        team.connection.execute("RESET synchronous_commit")


def position(team: Team, kind: str) -> int:
    """In Postgres' log: up to where it is written, or on the disk."""
    ask = sql.SQL("SELECT ({}() - '0/0')::bigint").format(sql.Identifier(f"pg_current_wal_{kind}_lsn"))
    found = team.connection.execute(ask).fetchone()
    assert found
    return int(found[0])
