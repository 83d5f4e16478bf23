"""What BillStack sets on each of its connections to Postgres.

Postgres closes them when their host is gone. So it knows who is dead, and no lock of a dead host lasts.
"""

from pathlib import Path

import psycopg
from psycopg import IsolationLevel

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("session.sql")).bind()

# A holder that has not renewed for this long is dead if its connection is closed too. Behind a pooler, a living
# holder's connection may be closed, but then it has renewed through another one.
SILENT_S = 2


def begin_session(connection: psycopg.Connection) -> None:
    """Makes our statements see what others commit in the meantime, whatever the database's default is.

    Windows, leases and rows are compared again after waiting for a lock. Under an unchanging snapshot that fails, or
    loses data. Makes Postgres close the connection seconds after its client's host is gone, not after two hours. And
    makes it wait for the disk even if its default is not to: a crash may not take back what somebody relies on.
    """
    connection.isolation_level = IsolationLevel.READ_COMMITTED
    connection.execute(_QUERIES["begin_session"], {"own_pid": connection.info.backend_pid})
