"""The connection that a lease is renewed on: Postgres closes it when its other end is gone, and so knows who is dead."""

from pathlib import Path

import psycopg

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("session.sql")).bind()

# A holder that renewed nothing for so long is dead if its connection is closed too. Behind a pooler the connection may be
# closed under a live holder, which has renewed through another one by then.
SILENT_S = 2


def watch(connection: psycopg.Connection) -> None:
    """From now on Postgres closes the connection some seconds after its other end is gone, and not after two hours."""
    connection.execute(_QUERIES["watch"])
