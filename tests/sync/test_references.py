"""The columns that name other objects are those of schema.sql, and an index finds the rows that name an object."""

import re

import pytest

from sync.database.schema import parts
from sync.object_types import OBJECT_TYPES
from sync.registry.references import ONE_WAY, REFERENCES

COLUMN = re.compile(r"^    (\w+) text\s+GENERATED ALWAYS AS \((?:coalesce\(\s*)?billstack\.as_id", re.MULTILINE)
INDEX = re.compile(r"CREATE INDEX IF NOT EXISTS \w+\s+ON {team}\.\w+ \((\w+)[,)]")
# Of nothing that the mirror has.
OTHERS = {"destination", "destination_payment", "latest_attempt"}
KNOWN = sorted((name, column) for name in OBJECT_TYPES for column in REFERENCES.get(name, {}))


def test_every_column_of_an_id_is_told() -> None:
    written = {(name, column) for name in OBJECT_TYPES for column in COLUMN.findall(parts()[f"type {name}"])}

    assert written - set(KNOWN) - {(name, column) for name, column in written if column in OTHERS} == set()


@pytest.mark.parametrize(("name", "column"), KNOWN, ids="-".join)
def test_the_column_is_there_and_indexed(name: str, column: str) -> None:
    part = parts()[f"type {name}"]

    assert re.search(rf"^    {column} text", part, re.MULTILINE)
    is_found_otherwise = (name, column) in ONE_WAY or (name, column) == ("subscription", "price")  # by all its items
    assert (column in INDEX.findall(part)) != is_found_otherwise
