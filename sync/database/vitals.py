"""Metrics about all teams together: one read, however many teams there are, and no team's name."""

from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import class_row

from sync.database.session import SILENT_S
from sync.sql import Queries

# The application names of our processes (workers/context.py).
APPLICATIONS = ("billstack", "billstack backfill")

_QUERIES = Queries(Path(__file__).with_name("vitals.sql")).bind()


@dataclass(frozen=True, slots=True)
class Vitals:
    """`oldest_s`: seconds since the moment up to which the least current mirror is proven. None if none is.

    A part of a running backfill is held, free, or still held by a dead worker.
    """

    connected: int
    refused_keys: int
    unproven: int
    oldest_s: float | None
    backfills: int
    held: int
    free: int
    dead: int
    most_connections: int


def read_vitals(connection: psycopg.Connection) -> Vitals:
    with connection.cursor(row_factory=class_row(Vitals)) as cursor:
        found = cursor.execute(_QUERIES["vitals"], {"silent_s": SILENT_S}).fetchone()
    assert found
    return found


def count_connections(connection: psycopg.Connection) -> dict[str, int]:
    """Connections to Postgres by application. All others count as one."""
    return dict(connection.execute(_QUERIES["connections"], {"ours": list(APPLICATIONS)}).fetchall())
