"""What came into a team's mirror, by hour or day. The statements that write the data also count it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.rows import class_row

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("activity.sql")).bind()

Span = Literal["hour", "day"]


@dataclass(frozen=True, slots=True)
class Activity:
    """The span that begins `at`: objects mirrored by backfills, and applied events."""

    at: datetime
    objects: int
    events: int


def activity_since(connection: psycopg.Connection, team_id: str, span: Span, since: datetime) -> list[Activity]:
    """The oldest first. Spans in which nothing happened are left out."""
    with connection.cursor(row_factory=class_row(Activity)) as cursor:
        return cursor.execute(_QUERIES["since"], {"team_id": team_id, "span": span, "since": since}).fetchall()


def prune_activity(connection: psycopg.Connection, kept: timedelta) -> int:
    return connection.execute(_QUERIES["prune"], {"kept": kept}).rowcount
