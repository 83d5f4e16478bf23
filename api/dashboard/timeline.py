"""A customer's history: created, subscribed, paid, failed, refunded, canceled. The statement is in timeline.sql."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg.rows import class_row

from sync.database.schema import schema_name
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("timeline.sql"))


@dataclass(frozen=True, slots=True)
class Moment:
    """`what` happened to the object of table `kind`. `amount` is in the currency's smallest unit."""

    at: datetime
    what: str
    kind: str
    id: str
    amount: int | None
    currency: str | None


def read_timeline(
    connection: psycopg.Connection, team_id: str, customer: str, mirrored: Collection[str], limit: int
) -> list[Moment]:
    """The newest first."""
    queries = _QUERIES.bind(team=schema_name(team_id))
    branches = [queries[name] for name in ("customers", "subscriptions", "charges", "refunded_charges")]
    if "refund" in mirrored:
        branches[-1] += queries["without_refunds"]
        branches.append(queries["refunds"])
    statement = f"{' UNION ALL '.join(branches)} {queries['newest']}"
    with connection.cursor(row_factory=class_row(Moment)) as cursor:
        return cursor.execute(statement.encode(), {"customer": customer, "limit": limit}).fetchall()
