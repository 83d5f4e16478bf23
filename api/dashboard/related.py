"""Links between an object and others, in both directions."""

from collections.abc import Collection
from dataclasses import dataclass

import psycopg

from api.dashboard.asked import Asked
from api.dashboard.mirror_rows import MirrorRows, Row
from api.dashboard.mirror_tables import TABLES, Table, naming
from api.dashboard.search_store import SearchStore

# Of each list on an object's page.
LIMIT = 10


@dataclass(frozen=True, slots=True)
class Named:
    """An object that another one names. `kind` is its table, or None if the mirror does not have it."""

    words: str
    id: str
    kind: str | None
    title: str | None


@dataclass(frozen=True, slots=True)
class Naming:
    """Rows that name an object in a column. One more than LIMIT shows that there are more."""

    table: Table
    column: str
    rows: list[Row]


def read_named(
    connection: psycopg.Connection, team_id: str, mirrored: Collection[str], kind: str, object_id: str
) -> list[Named]:
    """Without those that the object's columns link to already."""
    references = TABLES[kind].references
    linked = {column.key for column in TABLES[kind].columns if column.kind == "link"}
    found = MirrorRows(connection, team_id).references(kind, object_id)
    ids = {column: id for column, id in found.items() if id and column not in linked}
    tables = {table for column in ids for table in references[column]}
    hits = SearchStore(connection, team_id, mirrored).by_ids(list(ids.values()), tables)
    by_place = {(hit.kind, hit.id): hit for hit in hits}
    named = []
    for column, id in ids.items():
        hit = next((by_place[table, id] for table in references[column] if (table, id) in by_place), None)
        named.append(Named(words_of(column), id, hit.kind if hit else None, hit.title if hit else None))
    return named


def read_naming(
    connection: psycopg.Connection, team_id: str, mirrored: Collection[str], kind: str, object_id: str
) -> list[Naming]:
    """Of each mirrored table with a column for such objects; its rows may be none."""
    mirror = MirrorRows(connection, team_id)
    return [
        Naming(table, column, mirror.list_rows(table.name, _that_name(table, column, object_id), limit=LIMIT + 1))
        for table, column in naming(kind, mirrored)
    ]


def words_of(column: str) -> str:
    return column.replace("_", " ").capitalize()


def _that_name(table: Table, column: str, object_id: str) -> Asked:
    return Asked({}, (table.where_reference(column),), {"reference": object_id}, column)
