"""Reads annotated `.sql` files: each `-- name: x` line opens a block that a store runs from a method of the same name."""

import re
from pathlib import Path
from typing import LiteralString, cast

from psycopg import sql

_HEADING = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


class Queries:
    """The blocks of one file. `{schema}`-like placeholders are bound once, when a store is built."""

    def __init__(self, path: Path) -> None:
        _, *parts = _HEADING.split(path.read_text())
        self._blocks = dict(zip(parts[::2], parts[1::2], strict=True))

    def bind(self, **identifiers: str) -> "BoundQueries":
        names = {name: sql.Identifier(value) for name, value in identifiers.items()}
        # LiteralString: the text comes from our own files, never from a caller.
        blocks = {
            name: sql.SQL(cast(LiteralString, text)).format(**names) if names else sql.SQL(cast(LiteralString, text))
            for name, text in self._blocks.items()
        }
        return BoundQueries(blocks)


class BoundQueries:
    """`queries["upsert_page"]` is a statement ready for psycopg."""

    def __init__(self, blocks: dict[str, sql.Composable]) -> None:
        self._rendered = {name: block.as_string(None) for name, block in blocks.items()}

    def __getitem__(self, name: str) -> LiteralString:
        return cast(LiteralString, self._rendered[name])
