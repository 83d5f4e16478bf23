"""Folds recorded changes into the counts of live rows. Triggers on the mirrored tables record them (schema.sql)."""

from pathlib import Path

import psycopg

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("row_counts.sql")).bind()


def fold(connection: psycopg.Connection) -> int:
    """Adds the recorded changes to the counts. Returns how many tables had changed."""
    return connection.execute(_QUERIES["fold"]).rowcount


def live(connection: psycopg.Connection, schema: str, table: str) -> int:
    row = connection.execute(_QUERIES["live"], {"schema": schema, "table_name": table}).fetchone()
    assert row is not None
    return int(row[0])


def forget(connection: psycopg.Connection, schema: str) -> None:
    """Deletes the counts of a dropped mirror."""
    for statement in ("forget_counts", "forget_changes"):
        connection.execute(_QUERIES[statement], {"schema": schema})


def forget_table(connection: psycopg.Connection, schema: str, table: str) -> None:
    """Deletes the count of a dropped table."""
    for statement in ("forget_table_count", "forget_table_changes"):
        connection.execute(_QUERIES[statement], {"schema": schema, "table_name": table})
