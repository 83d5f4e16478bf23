"""Statements that go together do so wholly or not at all, and fail as psycopg's own do."""

import itertools
import os
import socket
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from psycopg.pq import TransactionStatus

from sync import round_trip
from sync.json_text import AsJsonb
from sync.round_trip import Call, RoundTrips, forget_statements
from sync.sql import Numbered, Queries
from tests.sync.conftest import Team

_folders = itertools.count()


@pytest.fixture
def connection(team: Team):
    with team.connect() as made:
        made.execute("CREATE TEMPORARY TABLE numbers (number integer PRIMARY KEY)")
        yield made


@pytest.fixture
def trips(connection: psycopg.Connection) -> RoundTrips:
    return RoundTrips(connection)


@pytest.fixture
def numbered(tmp_path: Path):
    """A statement as its file has it."""

    def make(statement: str) -> Numbered:
        path = tmp_path / f"{next(_folders)}.sql"
        path.write_text(f"-- name: it\n{statement};\n")
        return Queries(path).bind().numbered("it")

    return make


@pytest.fixture
def insert(numbered) -> Numbered:
    return numbered("INSERT INTO numbers VALUES (%(number)s::integer) RETURNING number")


def numbers(connection: psycopg.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number").fetchall()]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "Zoë 🚀 '\"\\", "Zoë 🚀 '\"\\"),
        ("text", None, None),
        ("bigint", 2**62, 2**62),
        ("bigint", -1, -1),
        ("boolean", True, True),
        ("boolean", False, False),
        ("jsonb", AsJsonb(b'{"a":["\xc3\xab",1]}'), {"a": ["ë", 1]}),
    ],
)
def test_a_value_arrives_as_what_it_is(trips: RoundTrips, numbered, kind, value, expected) -> None:
    statement = numbered(f"SELECT %(value)s::{kind}, ARRAY['x']")

    assert trips.run([statement], {"value": value}) == (expected, ["x"])


@pytest.mark.parametrize("texts", [[], ["a"], ['"', "\\", "a,b", "{}", "NULL", "", " ", "ë🚀"]], ids=len)
def test_a_list_of_texts_arrives_as_it_is(trips: RoundTrips, numbered, texts) -> None:
    assert trips.run([numbered("SELECT %(value)s::text[]")], {"value": texts}) == (texts,)


def test_reading_gives_all_rows_of_each_statement(trips: RoundTrips, connection, insert, numbered) -> None:
    trips.run([insert], {"number": 1})
    trips.run([insert], {"number": 2})
    found = trips.read(
        [numbered("SELECT number FROM numbers ORDER BY number"), numbered("SELECT 1 WHERE %(never)s")], {"never": False}
    )

    assert found == [[(1,), (2,)], []]


def test_reading_changes_nothing(trips: RoundTrips, connection, numbered) -> None:
    with pytest.raises(errors.ReadOnlySqlTransaction):
        trips.read([numbered("SELECT 1"), numbered("CREATE TABLE made ()")], {})

    assert connection.execute("SELECT to_regclass('made')").fetchone() == (None,)


def test_a_statement_to_be_planned_each_time_is_never_prepared(trips: RoundTrips, connection, tmp_path) -> None:
    path = tmp_path / "blocks.sql"
    path.write_text("-- name: one\nSELECT %(number)s::integer\n-- name: two\nWHERE %(number)s > 0\n")
    joined = Queries(path).bind().joined(("one", "two"))

    assert trips.read([joined], {"number": 7}) == [[(7,)]]
    assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


def test_a_statement_worth_it_only_later_is_prepared_at_that_use(trips: RoundTrips, connection, tmp_path) -> None:
    path = tmp_path / "blocks.sql"
    path.write_text("-- name: one\nSELECT %(number)s::integer\n")
    joined = Queries(path).bind().joined(("one",), prepared_from=2)

    for expected in (0, 1, 1):
        assert trips.read([joined], {"number": 7}) == [[(7,)]]
        assert prepared(connection) == expected


def test_a_value_that_stands_twice_is_sent_once(trips: RoundTrips, numbered) -> None:
    statement = numbered("SELECT %(b)s::integer, %(a)s::integer, %(b)s::integer")

    assert statement.names == ("b", "a")
    assert trips.run([statement], {"a": 1, "b": 2, "other": 3}) == (2, 1, 2)


def test_the_row_is_the_last_statements(trips: RoundTrips, connection, insert, numbered) -> None:
    count = numbered("SELECT count(*), %(number)s::integer FROM numbers")

    assert trips.run([insert, count], {"number": 7}) == (1, 7)
    assert numbers(connection) == [7]


def test_no_row_is_none(trips: RoundTrips, numbered) -> None:
    assert trips.run([numbered("SELECT 1 WHERE %(never)s")], {"never": False}) is None


def test_none_has_had_an_effect_when_one_fails(trips: RoundTrips, connection, insert, numbered) -> None:
    divide = numbered("SELECT 1 / (%(number)s::integer - 7)")

    for statements in ([insert, divide], [divide, insert], [insert, divide, insert]):
        with pytest.raises(errors.DivisionByZero, match="division by zero"):
            trips.run(statements, {"number": 7})
        assert numbers(connection) == []

    assert trips.run([insert], {"number": 1}) == (1,), "the connection goes on"
    assert numbers(connection) == [1]


def test_a_bad_statement_fails_as_psycopgs_do(trips: RoundTrips, connection, numbered, insert) -> None:
    with pytest.raises(errors.UndefinedTable):
        trips.run([numbered("SELECT %(number)s::integer FROM nowhere")], {"number": 1})

    assert trips.run([insert], {"number": 1}) == (1,)


def test_each_statement_is_prepared_once(trips: RoundTrips, connection, insert) -> None:
    for number in range(5):
        trips.run([insert], {"number": number})

    (prepared,) = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    assert prepared == 1


def test_what_somebody_else_deallocated_is_prepared_again(trips: RoundTrips, connection, insert) -> None:
    trips.run([insert], {"number": 1})
    connection.execute("DEALLOCATE ALL")

    assert trips.run([insert], {"number": 3}) == (3,)
    assert numbers(connection) == [1, 3]


def test_a_nul_is_refused_and_not_where_a_text_ends(trips: RoundTrips, connection, insert, numbered) -> None:
    statement = numbered("SELECT %(value)s::text")

    with pytest.raises(psycopg.DataError, match="NUL"):
        trips.run([insert, statement], {"number": 1, "value": "cus_1\0"})

    assert trips.run([statement], {"value": "cus_2"}) == ("cus_2",), "the connection goes on"
    assert numbers(connection) == []


def test_more_than_a_socket_holds_goes_through_both_ways(trips: RoundTrips, numbered) -> None:
    text = "x" * 20_000_000

    found = trips.run([numbered("SELECT %(value)s::text"), numbered("SELECT %(value)s::text || 'y'")], {"value": text})

    assert found == (text + "y",)


def test_a_connection_that_was_cut_is_an_operational_error(trips: RoundTrips, team: Team, connection, insert) -> None:
    trips.run([insert], {"number": 1})
    team.connection.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))

    with pytest.raises(psycopg.OperationalError):
        trips.run([insert], {"number": 2})

    assert connection.closed


@pytest.mark.parametrize("is_prepared", [True, False])
def test_a_connection_that_was_cut_without_a_word_is_an_operational_error(
    trips: RoundTrips, connection, insert, is_prepared: bool
) -> None:
    """As by a server process that was killed. libpq's own error has no SQLSTATE."""
    if is_prepared:
        trips.run([insert], {"number": 1})
    with socket.socket(fileno=os.dup(connection.fileno())) as cut:
        cut.shutdown(socket.SHUT_RDWR)

    with pytest.raises(psycopg.OperationalError):
        trips.run([insert], {"number": 2})

    assert connection.closed


def test_a_connection_that_is_cut_meanwhile_is_an_operational_error(trips: RoundTrips, connection, numbered) -> None:
    statement = numbered("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(%(seconds)s::integer)")

    with pytest.raises(psycopg.OperationalError):
        trips.run([statement], {"seconds": 10})


def test_an_unknown_kind_of_value_is_our_mistake(trips: RoundTrips, insert) -> None:
    with pytest.raises(TypeError, match="float"):
        trips.run([insert], {"number": 1.5})

    assert trips.run([insert], {"number": 1}) == (1,), "the connection goes on"


# Shared servers ---------------------------------------------------------------------------------------------------------


def test_a_statements_name_is_made_of_its_text(trips: RoundTrips, connection, numbered) -> None:
    """So two processes never mean two things by one name, whichever connection a pooler lends them."""
    one, other = numbered("SELECT 1, %(number)s::integer"), numbered("SELECT 2, %(number)s::integer")
    trips.run([one, other], {"number": 1})

    found = dict(connection.execute("SELECT name, statement FROM pg_prepared_statements").fetchall())

    assert found == {f"billstack_{sha256(each.text).hexdigest()[:40]}": each.text.decode() for each in (one, other)}


def test_what_another_client_of_a_pooler_prepared_is_the_same(trips: RoundTrips, connection, insert) -> None:
    RoundTrips(connection).run([insert], {"number": 1})

    assert trips.run([insert], {"number": 2}) == (2,)


def test_nothing_is_left_in_the_session(trips: RoundTrips, connection, numbered) -> None:
    settings = "SELECT current_setting('enable_seqscan'), current_setting('transaction_isolation')"
    connection.execute("SET default_transaction_isolation = 'serializable'")

    within = trips.run([numbered("SELECT set_config('enable_seqscan', 'off', true)"), numbered(settings)], {})

    assert within == ("off", "read committed")
    assert connection.execute(settings).fetchone() == ("on", "serializable")


def test_without_names_where_each_transaction_may_have_another_server(
    trips: RoundTrips, connection, insert, monkeypatch
) -> None:
    monkeypatch.setattr(trips, "_prepare", lambda statement: b"of_another_server")

    assert [trips.run([insert], {"number": number}) for number in (1, 2)] == [(1,), (2,)]


# Several round trips in one transaction ---------------------------------------------------------------------------------


def test_a_transaction_ends_with_its_block(trips: RoundTrips, connection, insert) -> None:
    with trips.transaction([insert]) as opened:
        assert opened.run([Call(insert, {"number": 1}), Call(insert, {"number": 2})]) == [[(1,)], [(2,)]]
        assert opened.run([Call(insert, {"number": 3})]) == [[(3,)]]

    assert numbers(connection) == [1, 2, 3]


def test_the_last_round_trip_may_end_it(trips: RoundTrips, connection, insert, numbered) -> None:
    count = Call(numbered("SELECT count(*) FROM numbers"), {})
    with trips.transaction([]) as opened:
        opened.run([Call(insert, {"number": 1})])
        assert opened.end([Call(insert, {"number": 2}), count]) == [[(2,)], [(2,)]]
        assert connection.info.transaction_status == TransactionStatus.IDLE

    assert numbers(connection) == [1, 2]


def test_a_block_that_raises_leaves_nothing(trips: RoundTrips, connection, insert) -> None:
    def act() -> None:
        with trips.transaction([insert]) as opened:
            opened.run([Call(insert, {"number": 1})])
            raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        act()

    assert numbers(connection) == []


@pytest.mark.parametrize("ends", [False, True])
def test_a_statement_that_fails_leaves_nothing(trips: RoundTrips, connection, insert, ends: bool) -> None:
    twice = [Call(insert, {"number": 2}), Call(insert, {"number": 2})]

    def act() -> None:
        with trips.transaction([insert]) as opened:
            opened.run([Call(insert, {"number": 1})])
            (opened.end if ends else opened.run)(twice)

    with pytest.raises(errors.UniqueViolation):
        act()

    assert numbers(connection) == []
    assert trips.run([insert], {"number": 1}) == (1,), "the connection goes on"


def test_psycopg_takes_part_in_the_transaction(trips: RoundTrips, connection, insert) -> None:
    with trips.transaction([]) as opened:
        opened.run([Call(insert, {"number": 1})])
        with pytest.raises(errors.UniqueViolation), connection.transaction():
            connection.execute("INSERT INTO numbers VALUES (1)")
        connection.execute("INSERT INTO numbers VALUES (2)")

    assert numbers(connection) == [1, 2]


def test_only_what_is_worth_it_is_prepared(trips: RoundTrips, connection, insert, numbered) -> None:
    for number in (1, 3):
        with trips.transaction([insert]) as opened:
            opened.run([Call(insert, {"number": number}), Call(numbered(f"SELECT {number}"), {})])

    (prepared,) = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    assert prepared == 1


def test_after_a_lost_name_the_same_can_run_again_without_names(
    trips: RoundTrips, connection, insert, monkeypatch
) -> None:
    monkeypatch.setattr(trips, "_prepare", lambda statement: b"of_another_server")

    def act() -> None:
        with trips.transaction([insert]) as opened:
            opened.run([Call(insert, {"number": 1})])

    with pytest.raises(errors.InvalidSqlStatementName):
        act()
    act()

    assert numbers(connection) == [1]


def test_plans_are_made_again_after_a_while(
    trips: RoundTrips, connection: psycopg.Connection, insert: Numbered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those for an empty table would read all of it when it is full, until somebody analyzes it."""
    trips.run([insert], {"number": 1})
    forget_statements(connection)
    assert prepared(connection) == 1

    monkeypatch.setattr(round_trip, "_PLANS_LAST_S", 0.0)
    forget_statements(connection)
    assert prepared(connection) == 0
    trips.run([insert], {"number": 2})

    assert (numbers(connection), prepared(connection)) == ([1, 2], 1)


def prepared(connection: psycopg.Connection) -> int:
    found = connection.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'billstack%'").fetchone()
    assert found
    return int(found[0])
