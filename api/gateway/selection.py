"""What a list is narrowed to, and the statement that reads it: blocks of store.sql, joined."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from psycopg import sql

from sync.sql import BoundQueries, Numbered, Queries

QUERIES = Queries(Path(__file__).with_name("store.sql"))
# Of these blocks, statements have one plan that is best for all values. So has a cursor's, which looks up one id. A page's
# limit is a part of its text, because the plan depends on it.
OF_ONE_PLAN = frozenset(
    {"page", "where_not_canceled", "after", "before", "newest_first", "oldest_first", "object", "objects"}
)
# These rows hold objects' JSON, which mostly is sent on as it is.
_WITH_BODIES = frozenset({"page", "seconds", "object", "objects"})
# Each team, type and limit has statements of its own. A connection that meets many meets most of them once or twice.
_PREPARED_FROM = 3


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects: names of `where_…` blocks, and their parameters. `created_…` are seconds, both included.

    `through`: by parameter, another type whose objects it narrows by. Its block `known_…` tells whether the mirror can.
    """

    blocks: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    created_from: int | None = None
    created_to: int | None = None
    through: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paging:
    """Newest first from `after`, or the ones right before `before`; both are ids."""

    limit: int
    after: str | None = None
    before: str | None = None

    @property
    def cursor(self) -> str | None:
        return self.after or self.before


def _narrowed(selection: Selection) -> list[str]:
    blocks = [*selection.blocks]
    blocks += ["where_created_from"] if selection.created_from is not None else []
    blocks += ["where_created_to"] if selection.created_to is not None else []
    return blocks


def page_blocks(selection: Selection, paging: Paging) -> tuple[str, ...]:
    """Within a second in the order of ids."""
    blocks = ["page", *_narrowed(selection)]
    if paging.before is not None:
        return (*blocks, "before", "oldest_first")
    return (*blocks, *(["after"] if paging.after is not None else []), "newest_first")


def ordered_page_blocks(selection: Selection, paging: Paging) -> tuple[str, ...]:
    """Within a second in Stripe's order."""
    blocks = ["seconds", *_narrowed(selection)]
    if paging.before is not None:
        return (
            *blocks,
            "seconds_from_cursor",
            "oldest_seconds",
            "before_place",
            "place_of_cursor",
            "oldest_place_first",
        )
    after = paging.after is not None
    blocks += [*(["seconds_until_cursor"] if after else []), "newest_seconds"]
    return (*blocks, *(["after_place", "place_of_cursor"] if after else []), "newest_place_first")


@lru_cache(1000)
def statement_of(schema: str, table: str, blocks: tuple[str, ...], limit: int) -> Numbered:
    """Most are planned each time: which index is best depends on the customer."""
    has_one_plan = blocks[0] == "cursor" or OF_ONE_PLAN.issuperset(blocks)
    prepared_from = _PREPARED_FROM if has_one_plan else None
    return bound(schema, table, limit).joined(blocks, prepared_from=prepared_from, is_raw=blocks[0] in _WITH_BODIES)


@lru_cache(1000)
def bound(schema: str, table: str, limit: int) -> BoundQueries:
    return QUERIES.bind(team=schema, table=table, limit=sql.Literal(limit))
