"""Keeps the counts of live rows short to read; triggers on the mirrored tables record each change (schema.sql)."""

from pathlib import Path

import psycopg

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("row_counts.sql")).bind()


def fold(connection: psycopg.Connection) -> int:
    """Adds what has changed to the counts; returns how many tables had changed."""
    return connection.execute(_QUERIES["fold"]).rowcount


def forget(connection: psycopg.Connection, schema: str) -> None:
    """Of a mirror that was dropped."""
    for statement in ("forget_counts", "forget_changes"):
        connection.execute(_QUERIES[statement], {"schema": schema})
