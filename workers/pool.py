"""A process' connections to Postgres: psycopg's pool, set for a Postgres that is short of connections.

It lends at most a fixed number. A thread that finds none free waits in line, for a limited time. So does one whom Postgres
refuses a connection ("too many clients"): meanwhile the pool tries again about once a second.
"""

import select
import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from sync.database.session import begin_session
from sync.round_trip import forget_statements

__all__ = ["Pool", "PoolTimeout", "PooledConnection"]

# A process without work holds no connection after this time: other hosts may need them more.
IDLE_S = 20.0
# A host that vanished says nothing, so a connection that was idle this long is tested before it is lent.
_ASK_AFTER_S = 5.0
# psycopg's pool doubles its wait after each refusal. It gives up after this time; we start it again while somebody waits.
_TRY_FOR_S = 1.0


class PooledConnection(psycopg.Connection):
    lent_at = float("-inf")


class Pool(ConnectionPool[PooledConnection]):
    """Thread-safe. Connects to nothing before it is needed: Postgres may be unavailable at start and come back later."""

    def __init__(
        self,
        url: str,
        *,
        size: int,
        wait_s: float,
        options: Mapping[str, Any],
        refused: Callable[[], object] = lambda: None,
    ) -> None:
        """`options` are psycopg's. `refused` is called when Postgres has refused connections for about a second."""
        self._refused = refused
        super().__init__(
            url,
            connection_class=PooledConnection,
            kwargs=dict(options),
            min_size=0,
            max_size=size,
            timeout=wait_s,
            max_idle=IDLE_S / size,  # each time, one that was not needed meanwhile is closed
            reconnect_timeout=_TRY_FOR_S,
            reconnect_failed=self._try_again,
            configure=begin_session,
            check=self._look_at,
            open=True,
        )

    def _get_ready_connection(self, timeout: float | None) -> PooledConnection | None:
        """Lends the one that came back last, whose server process is warm. psycopg's own pool takes the one before all others."""
        self._pool.rotate()
        return super()._get_ready_connection(timeout)

    def _try_again(self, _: ConnectionPool[Any]) -> None:
        """The pool itself tries again only when another thread asks. Those that wait already would wait in vain."""
        self._refused()
        if self.get_stats().get("requests_waiting"):
            self.check()

    def _look_at(self, connection: PooledConnection) -> None:
        """Raises psycopg.OperationalError for a dead connection. It costs a round trip only after a pause."""
        now = time.monotonic()
        try:
            if now - connection.lent_at > _ASK_AFTER_S or _is_readable(connection):
                connection.execute("")
            forget_statements(connection)
        except psycopg.Error:
            connection.close()
            # The pool pauses after each dead connection that it finds: one by one, they would take longer than anybody waits.
            self.drain()
            raise
        connection.lent_at = now


def _is_readable(connection: psycopg.Connection) -> bool:
    """A Postgres that ends a connection says so; hardly anything else comes unasked."""
    socket = select.poll()
    socket.register(connection, select.POLLIN)
    return bool(socket.poll(0))
