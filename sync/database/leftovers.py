"""Deletes expired data: attempt counts, sessions, links and invitations that ended, old repairs and audit entries."""

from datetime import timedelta
from pathlib import Path

import psycopg

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("leftovers.sql")).bind()
# More than a year, so that an audit of the last year finds everything.
AUDIT_KEPT = timedelta(days=400)
# As long as events are kept.
REPAIRS_KEPT = timedelta(days=30)
_ENDED = ("prune_attempts", "prune_sessions", "prune_links", "prune_invitations")


def prune_leftovers(connection: psycopg.Connection) -> int:
    """Returns how many rows were deleted."""
    ended = sum(connection.execute(_QUERIES[each]).rowcount for each in _ENDED)
    ended += connection.execute(_QUERIES["prune_repairs"], {"kept": REPAIRS_KEPT}).rowcount
    return ended + connection.execute(_QUERIES["prune_audit_log"], {"kept": AUDIT_KEPT}).rowcount
