"""Deletes what people leave behind: counts of attempts, sessions, links and invitations that ended, old audit entries."""

from datetime import timedelta
from pathlib import Path

import psycopg

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("leftovers.sql")).bind()
# Longer than a year, so that what an audit of the last one asks for is there.
AUDIT_KEPT = timedelta(days=400)
_ENDED = ("prune_attempts", "prune_sessions", "prune_links", "prune_invitations")


def prune_leftovers(connection: psycopg.Connection) -> int:
    """How many rows went."""
    ended = sum(connection.execute(_QUERIES[each]).rowcount for each in _ENDED)
    return ended + connection.execute(_QUERIES["prune_audit_log"], {"kept": AUDIT_KEPT}).rowcount
