"""How all teams together are, for metrics: one read, whatever the number of teams, and none of their names."""

from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import class_row

from sync.database.session import SILENT_S
from sync.sql import Queries

# What our processes call themselves (workers/context.py).
APPLICATIONS = ("billstack", "billstack backfill")

_QUERIES = Queries(Path(__file__).with_name("vitals.sql")).bind()


@dataclass(frozen=True, slots=True)
class Vitals:
    """`oldest_s`: seconds since the moment up to which the least known mirror is proven; None: none is.

    Parts of running backfills are held, free, or still held by a worker that is dead.
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
    """To Postgres, by application; those that are not ours together."""
    return dict(connection.execute(_QUERIES["connections"], {"ours": list(APPLICATIONS)}).fetchall())
