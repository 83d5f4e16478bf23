"""Reads annotated `.sql` files. Each `-- name: x` line begins a block, which the store's method `x` runs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

from psycopg import sql

import sync.stored_values  # noqa: F401  # every store reads with it

_HEADING = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
# A line's comment and indentation. psycopg parses a statement of over 4096 characters again at each run.
_FOR_READERS = re.compile(r"^\s*(?:--.*)?", re.MULTILINE)
_PARAMETER = re.compile(r"%\((\w+)\)s")


class Queries:
    """One file's blocks. Placeholders like `{schema}` are bound once, when a store is built."""

    def __init__(self, path: Path) -> None:
        _, *parts = _HEADING.split(path.read_text())
        self._blocks = {name: _FOR_READERS.sub("", text) for name, text in zip(parts[::2], parts[1::2], strict=True)}

    def bind(self, **parts: str | sql.Composable) -> "BoundQueries":
        """A str becomes an identifier."""
        names = {name: sql.Identifier(part) if isinstance(part, str) else part for name, part in parts.items()}
        return BoundQueries(self._blocks, names)


@dataclass(frozen=True, slots=True, eq=False)
class Numbered:
    """A statement in Postgres' own form, with $1, $2 and so on. `names` are their names in order.

    `prepared_from` is its use in a connection from which on it is prepared, which costs a round trip. None: never, because
    the best plan depends on the values. The values of `is_raw` rows stay the bytes that Postgres sent.
    """

    text: bytes
    names: tuple[str, ...]
    prepared_from: int | None = 1
    is_raw: bool = False


class BoundQueries:
    """`queries["upsert_page"]` is a statement ready for psycopg."""

    def __init__(self, blocks: Mapping[str, LiteralString], names: Mapping[str, sql.Composable]) -> None:
        self._blocks = blocks
        self._names = names
        self._statements: dict[str, LiteralString] = {}
        self._numbered: dict[str, Numbered] = {}

    def __getitem__(self, name: str) -> LiteralString:
        if name not in self._statements:
            # LiteralString: the text comes from our own files, never from a caller.
            self._statements[name] = _render(self._blocks[name], self._names)
        return self._statements[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._blocks)

    def numbered(self, name: str) -> Numbered:
        """Returns the same object each time for a name."""
        if name not in self._numbered:
            self._numbered[name] = _number(self[name])
        return self._numbered[name]

    def joined(self, names: tuple[str, ...], *, prepared_from: int | None = None, is_raw: bool = False) -> Numbered:
        """A statement of several blocks, planned each time unless they are said to have one best plan."""
        return _number("\n".join(self[name] for name in names), prepared_from, is_raw)


def _number(statement: str, prepared_from: int | None = 1, is_raw: bool = False) -> Numbered:
    names = tuple(dict.fromkeys(_PARAMETER.findall(statement)))
    text = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", statement)
    return Numbered(text.encode(), names, prepared_from, is_raw)


def _render(text: LiteralString, names: Mapping[str, sql.Composable]) -> LiteralString:
    return sql.SQL(text).format(**names).as_string() if names else text
