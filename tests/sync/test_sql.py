"""Annotated SQL files: every block is found, names are bound as identifiers, and none is left over."""

import re
from pathlib import Path

import pytest

from sync.sql import Queries

ROOT = Path(__file__).parents[2]
SQL_FILES = sorted(path for folder in ("sync", "workers", "api") for path in (ROOT / folder).rglob("*.sql"))

# A list's WHERE is put together of blocks that are named after what it is narrowed by. Of the views for dbt, all are made.
COMPOSED = {ROOT / "api/gateway/store.sql", ROOT / "api/dashboard/mirror_rows.sql", ROOT / "sync/database/dbt.sql"}


def names_in(path: Path) -> list[str]:
    return re.findall(r"^-- name: (\w+)$", path.read_text(), re.MULTILINE)


def write(folder: Path, text: str) -> Queries:
    path = folder / "some.sql"
    path.write_text(text)
    return Queries(path)


def test_a_block_goes_from_its_name_to_the_next(tmp_path: Path) -> None:
    queries = write(
        tmp_path, "-- About the file.\n\n-- name: one\n-- Why.\nSELECT 1;\n\n-- name: two\nSELECT 2;\n"
    ).bind()

    assert "SELECT 1" in queries["one"]
    assert "SELECT 2" not in queries["one"]
    assert "SELECT 2" in queries["two"]


def test_bound_names_are_quoted_as_identifiers(tmp_path: Path) -> None:
    queries = write(tmp_path, "-- name: one\nSELECT 1 FROM {team}.{table};\n")

    statement = queries.bind(team='stripe_"; DROP SCHEMA billstack; --', table="customers")["one"]

    assert '"stripe_""; DROP SCHEMA billstack; --"."customers"' in statement


@pytest.mark.parametrize("path", SQL_FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_block_hides_another_of_its_name(path: Path) -> None:
    names = names_in(path)

    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    "path", [path for path in SQL_FILES if path not in COMPOSED], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_block_is_run_in_its_room(path: Path) -> None:
    code = "".join(module.read_text() for module in path.parent.glob("*.py"))

    assert [name for name in names_in(path) if f'"{name}"' not in code] == []


def test_statements_that_run_for_each_page_are_short_enough_for_psycopg_to_remember() -> None:
    """psycopg forgets how it read a statement of more than 4096 characters, and reads it again each time."""
    queries = Queries(ROOT / "sync/mirror/store.sql")

    bound = queries.bind(team="stripe_team_" + 40 * "x", table="subscriptions")

    assert len(bound["mirror_page"]) < 4096


def test_comments_between_clauses_are_for_readers_alone(tmp_path: Path) -> None:
    queries = write(tmp_path, "-- name: one\nSELECT 1,\n    -- why\n    'a -- b'\n").bind()

    assert queries["one"].split() == ["SELECT", "1,", "'a", "--", "b'"]
