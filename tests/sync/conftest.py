"""A team with an empty mirror for each test.

Creating a schema takes as long as dozens of tests, so the tests of this folder share a database and its teams, and each
test leaves them empty.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from sync.backfill.part_records import PartStore
from sync.backfill.records import BackfillStore
from sync.database import schema
from sync.events.ledger import Ledger
from sync.ids import new_id
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from tests.factories import ACCOUNT_ID

_OWN_TABLES = ("seen_pages", "named_prices", "checked", "rejects", "shared_seconds")


@dataclass(frozen=True)
class Team:
    """A connected team, and how to reach its database; connections are in autocommit mode, as everywhere."""

    id: str
    database_url: str
    connection: psycopg.Connection

    @property
    def schema(self) -> str:
        return schema.schema_name(self.id)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.database_url, autocommit=True)


def make_team(database_url: str, connection: psycopg.Connection, account_id: str = ACCOUNT_ID) -> Team:
    team_id = new_id("team")
    with connection.transaction():
        connection.execute("INSERT INTO billstack.teams (id, name) VALUES (%s, 'Test')", (team_id,))
        connection.execute(
            "INSERT INTO billstack.connections (team_id, account_id, livemode, secret_key) VALUES (%s, %s, false, '')",
            (team_id, account_id),
        )
        schema.create_team_schema(connection, team_id)
        schema.ensure_tables(connection, team_id, OBJECT_TYPES.values())
    return Team(team_id, database_url, connection)


def empty_team(team: Team) -> None:
    """Leaves the team connected, its mirror empty, and no trace of backfills and events."""
    connection = team.connection
    for table in ("backfills", "events", "activity", "mirrored_types", "type_proofs"):
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE team_id = %s").format(sql.Identifier("billstack", table)), (team.id,)
        )
    of_types = (table for object_type in OBJECT_TYPES.values() for table in schema.tables_of(object_type))
    for table in (*of_types, *_OWN_TABLES):
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(team.schema, table)))


@pytest.fixture(scope="session")
def shared_database(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture(scope="session")
def shared_teams(shared_database: str) -> Iterator[list[Team]]:
    with psycopg.connect(shared_database, autocommit=True) as connection:
        yield [make_team(shared_database, connection, account_id) for account_id in (ACCOUNT_ID, "acct_1Other")]


@pytest.fixture
def team(shared_teams: list[Team]) -> Iterator[Team]:
    yield shared_teams[0]
    empty_team(shared_teams[0])


@pytest.fixture
def other_team(shared_teams: list[Team]) -> Iterator[Team]:
    yield shared_teams[1]
    empty_team(shared_teams[1])


@pytest.fixture
def store(team: Team) -> MirrorStore:
    return MirrorStore(team.connection, team.id)


@pytest.fixture
def backfills(team: Team) -> BackfillStore:
    return BackfillStore(team.connection)


@pytest.fixture
def part_store(team: Team) -> PartStore:
    return PartStore(team.connection)


@pytest.fixture
def ledger(team: Team) -> Ledger:
    return Ledger(team.connection, team.id)
