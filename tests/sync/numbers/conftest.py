"""A sandbox's business, and how the tests put objects into a mirror and ask it."""

import time
from collections.abc import Iterable
from typing import Any

import pytest
from psycopg import sql

from scripts.sandbox.account import Account
from scripts.sandbox.seeding import Recipe
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES
from tests.factories import Json, encoded
from tests.sync.conftest import Team

Business = dict[str, list[Json]]


@pytest.fixture(scope="package")
def business() -> Business:
    """All objects of a sandbox's account, by type."""
    account = Account("numbers", Recipe(scale=0.3), time.time)
    return {name: list(account.objects(name, full=True)) for name in DEFAULT_TYPES}


def put(team: Team, type_name: str, objects: Iterable[Json]) -> None:
    table = sql.Identifier(team.schema, OBJECT_TYPES[type_name].table)
    with team.connection.cursor() as cursor:
        cursor.executemany(
            sql.SQL("INSERT INTO {} (id, raw, as_of, as_of_until) VALUES (%s, %s, 1, 2)").format(table),
            [(each["id"], encoded(each).decode()) for each in objects],
        )


def read(team: Team, query: str) -> list[tuple[Any, ...]]:
    """With the team's schema as search_path, as its own role has it."""
    with team.connection.transaction():
        team.connection.execute("SELECT set_config('search_path', %s, true)", (team.schema,))
        return team.connection.execute(query.encode()).fetchall()
