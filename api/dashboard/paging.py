"""The order of a list and its pages. A page begins after a row, or ends before one, so it never shows a row twice."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from api.dashboard.mirror_tables import Table
from api.numbers.currencies import decimals
from sync.errors import NotFound

_SECOND = re.compile(r"(-?[0-9]{1,12})?")
_AMOUNT = re.compile(r"-Infinity|-?[0-9]{1,30}(\.[0-9]{1,30})?")
_LAST_SECOND = 253402300799  # of the year 9999


@dataclass(frozen=True, slots=True)
class Sort:
    """`key` is `created` or the type's amount. `name` is how an address says it."""

    key: str
    is_falling: bool

    @property
    def name(self) -> str:
        return f"{'-' * self.is_falling}{self.key}"

    @property
    def is_by_time(self) -> bool:
        return self.key == "created"

    @property
    def order(self) -> str:
        """The block of mirror_rows.sql, without its `by_`."""
        if self.is_by_time:
            return "newest" if self.is_falling else "oldest"
        return "largest" if self.is_falling else "smallest"

    @property
    def reverse(self) -> "Sort":
        return Sort(self.key, not self.is_falling)


NEWEST = Sort("created", True)


@dataclass(frozen=True, slots=True)
class Place:
    """Of a row in an order: the seconds of its creation, or its amount in whole units; '' for one without a time."""

    at: str
    id: str

    @property
    def is_undated(self) -> bool:
        return not self.at

    def __str__(self) -> str:
        return f"{self.at}:{self.id}"


def read_sort(table: Table, given: Mapping[str, str]) -> Sort:
    """Ignores an order that the type does not have."""
    name = given.get("sort", "")
    key = name.removeprefix("-")
    return Sort(key, name.startswith("-")) if key in sort_keys(table) else NEWEST


def sort_keys(table: Table) -> list[str]:
    return ["created", *([table.amount.key] if table.amount else [])]


def read_place(text: str | None, sort: Sort) -> Place | None:
    """Raises NotFound for what is no place in this order."""
    if not text:
        return None
    at, colon, id = text.partition(":")
    if not colon or "\0" in id or not (_SECOND if sort.is_by_time else _AMOUNT).fullmatch(at):
        raise NotFound("there is no such page: start from the first")
    return Place(str(min(int(at), _LAST_SECOND)) if sort.is_by_time and at else at, id)


def place_of(row: Mapping[str, Any], sort: Sort) -> Place:
    if sort.is_by_time:
        created: datetime | None = row["created"]
        return Place(str(int(created.timestamp())) if created else "", row["id"])
    amount = row[sort.key]
    worth = "-Infinity" if amount is None else f"{Decimal(amount).scaleb(-decimals(row['currency'])):f}"
    return Place(worth, row["id"])
