"""Numbers of a team's business in Postgres; the statements are in store.sql."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row

from sync.database.schema import schema_name
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("store.sql"))


@dataclass(frozen=True, slots=True)
class InCurrency:
    """Amounts are per month, in the currency's smallest unit.

    `lost` subscriptions have ended since a moment. `left` of them, and all that `stayed`, had begun before it. `moves`:
    by month (ISO 8601), how many more subscriptions ran at its end; the first month has all earlier ones too.
    """

    currency: str
    mrr: int
    active_subscriptions: int
    new_mrr: int
    churned_mrr: int
    began: int
    lost: int
    stayed: int
    left: int
    moves: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventCounts:
    processed: int
    waiting: int
    failed: int


class NumbersStore:
    """The numbers of a team, or of one project's customers."""

    def __init__(self, connection: psycopg.Connection[Any], team_id: str, project_id: str | None = None) -> None:
        self._connection = connection
        self._queries = _QUERIES.bind(team=schema_name(team_id))
        self._whose = {"team_id": team_id, "project_id": project_id}

    def currencies(self, since: datetime, first: date) -> list[InCurrency]:
        """`first` is the first month of `moves`."""
        params = self._whose | {"since": since, "first": first}
        with self._connection.cursor(row_factory=class_row(InCurrency)) as cursor:
            return cursor.execute(self._queries["currencies"], params).fetchall()

    def statuses(self) -> dict[str, int]:
        """How many subscriptions have each status."""
        return dict(self._connection.execute(self._queries["statuses"], self._whose).fetchall())

    def new_customers(self, first: date) -> dict[date, int]:
        """By day. The first day includes all earlier ones."""
        name = "new_people" if self._whose["project_id"] else "new_customers"
        return dict(self._connection.execute(self._queries[name], self._whose | {"first": first}).fetchall())

    def events(self, since: datetime) -> EventCounts:
        """The team's events, even for a project."""
        with self._connection.cursor(row_factory=class_row(EventCounts)) as cursor:
            found = cursor.execute(self._queries["events"], self._whose | {"since": since}).fetchone()
        assert found is not None
        return found

    def revenue(self, first: date) -> dict[str, dict[str, int]]:
        """By currency and month (ISO 8601): net revenue, in the currency's smallest unit."""
        return dict(self._connection.execute(self._queries["revenue"], {"first": first}).fetchall())

    def failed_payments(self, since: datetime) -> int:
        row = self._connection.execute(self._queries["failed_payments"], {"since": since}).fetchone()
        return row[0] if row else 0
