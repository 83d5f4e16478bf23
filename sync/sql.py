"""Reads annotated `.sql` files: each `-- name: x` line opens a block that a store runs from a method of the same name."""

import re
from pathlib import Path
from typing import LiteralString

from psycopg import sql

_HEADING = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
# A line's comment and indentation. psycopg reads a statement of over 4096 characters anew each time it is run.
_FOR_READERS = re.compile(r"^\s*(?:--.*)?", re.MULTILINE)


class Queries:
    """The blocks of one file. `{schema}`-like placeholders are bound once, when a store is built."""

    def __init__(self, path: Path) -> None:
        _, *parts = _HEADING.split(path.read_text())
        self._blocks = {name: _FOR_READERS.sub("", text) for name, text in zip(parts[::2], parts[1::2], strict=True)}

    def bind(self, **identifiers: str) -> "BoundQueries":
        names = {name: sql.Identifier(value) for name, value in identifiers.items()}
        # LiteralString: the text comes from our own files, never from a caller.
        return BoundQueries({name: _render(text, names) for name, text in self._blocks.items()})


class BoundQueries:
    """`queries["upsert_page"]` is a statement ready for psycopg."""

    def __init__(self, statements: dict[str, LiteralString]) -> None:
        self._statements = statements

    def __getitem__(self, name: str) -> LiteralString:
        return self._statements[name]


def _render(text: LiteralString, names: dict[str, sql.Identifier]) -> LiteralString:
    return sql.SQL(text).format(**names).as_string() if names else text
