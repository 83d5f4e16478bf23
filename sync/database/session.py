"""The connection that renews a lease.

Postgres closes it when its client is gone, which shows that the holder is dead.
"""

from pathlib import Path

import psycopg

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("session.sql")).bind()

# A holder that has not renewed for this long is dead if its connection is closed too. Behind a pooler, a living
# holder's connection may be closed, but then it has renewed through another one.
SILENT_S = 2


def watch(connection: psycopg.Connection) -> None:
    """Makes Postgres close the connection a few seconds after its client is gone, instead of after two hours."""
    connection.execute(_QUERIES["watch"])
