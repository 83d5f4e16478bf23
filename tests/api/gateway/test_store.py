"""The gateway's statements: an answer and what vouches for it, in one round trip."""

import json
from itertools import groupby

import psycopg
import pytest

from api.gateway.selection import Paging, Selection
from api.gateway.store import MirrorReader
from sync.object_types import OBJECT_TYPES
from sync.round_trip import RoundTrips
from tests.api.gateway.mirror_filling import AS_OF, connect_team, finish_backfill, put_objects
from tests.factories import customer

CUSTOMER = OBJECT_TYPES["customer"]
OF_EMAIL = Selection(("where_email",), {"email": "nobody@example.com"})


@pytest.fixture
def reader(owner, database):
    connect_team(database, owner.team_id)
    customers = [customer(id=f"cus_{number}", created=AS_OF + number) for number in range(9)]
    put_objects(database, owner.team_id, "customers", [json.dumps(each) for each in customers])
    finish_backfill(database, owner.team_id)
    yield MirrorReader(database, owner.team_id)
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def round_trips(database: psycopg.Connection, tmp_path):
    """How often the connection sent something and waited for Postgres, since it was last asked."""
    path = tmp_path / "trace"
    with path.open("w") as file:
        database.pgconn.trace(file.fileno())
        read_until = 0

        def count() -> int:
            nonlocal read_until
            lines = path.read_text()[read_until:].splitlines()
            read_until = path.stat().st_size
            sides = [line.split("\t")[1] for line in lines if line.count("\t") > 1]
            return sum(side == "F" for side, _ in groupby(sides))

        yield count
        database.pgconn.untrace()


@pytest.mark.parametrize(
    "ask",
    [
        lambda reader: reader.found(CUSTOMER, ["cus_3"]),
        lambda reader: reader.page(CUSTOMER, Selection(), Paging(3)),
        lambda reader: reader.page(CUSTOMER, Selection(), Paging(3, after="cus_7")),
        lambda reader: reader.page(CUSTOMER, Selection(), Paging(3, before="cus_3")),
    ],
    ids=["retrieve", "list", "next page", "page before"],
)
def test_an_answer_and_its_standing_take_one_round_trip(reader, round_trips, ask):
    for _ in range(3):  # the third prepares
        ask(reader)
    round_trips()

    standing, found = ask(reader)

    assert found
    assert standing.right_as_of["customer"]
    assert round_trips() == 1


def test_what_is_read_together_is_of_one_moment(reader, database):
    snapshot = reader._statement(CUSTOMER, ("objects",))
    moment = type(snapshot)(b"SELECT pg_current_snapshot()::text, current_setting('transaction_isolation')", ())

    first, second = RoundTrips(database).read([moment, moment], {})

    assert first == second
    assert first[0][1] == "repeatable read"


@pytest.mark.parametrize(
    ("ask", "statements"),
    [
        (lambda reader: reader.found(CUSTOMER, ["cus_3"]), 1),
        (lambda reader: reader.found(CUSTOMER, ["cus_3", "cus_4"]), 1),
        (lambda reader: reader.page(CUSTOMER, Selection(), Paging(3)), 1),
        (lambda reader: reader.page(CUSTOMER, Selection(), Paging(3, after="cus_7")), 2),
        (lambda reader: reader.page(CUSTOMER, Selection(), Paging(3, before="cus_3")), 2),
        (lambda reader: reader.page(CUSTOMER, OF_EMAIL, Paging(3)), 0),
        (lambda reader: reader.page(CUSTOMER, OF_EMAIL, Paging(3, after="cus_7")), 1),
        (lambda reader: reader.page(CUSTOMER, Selection(created_from=1), Paging(3)), 0),
    ],
    ids=["one", "two", "list", "next page", "page before", "narrowed", "next page of narrowed", "by time"],
)
def test_what_is_planned_by_its_values_is_not_prepared(reader, database, ask, statements):
    """Of the customer with most of the invoices, another plan is best than of the others."""
    for _ in range(3):
        ask(reader)

    kept = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'billstack%' AND statement LIKE '%customers%'"
    assert database.execute(kept).fetchone() == (statements,)


def test_a_page_has_its_own_length_also_when_it_is_prepared(reader):
    for limit in (2, 3, 2, 3, 2, 3, 2, 3, 20):
        _, found = reader.page(CUSTOMER, Selection(), Paging(limit))

        assert (len(found.ids), found.has_more) == (min(limit, 9), limit < 9)


def test_a_cursor_that_is_gone_or_left_out_is_told(reader):
    for cursor in ("cus_none", "cus_3"):
        _, found = reader.page(CUSTOMER, OF_EMAIL, Paging(3, after=cursor))
        assert found is None

    _, found = reader.page(CUSTOMER, Selection(), Paging(3, after="cus_0"))
    assert found is not None
    assert found.ids == []
