"""A process' connections to Postgres: at most a fixed number, lent out one by one.

A thread that finds none free waits in line, for a limited time. So does one that Postgres refuses a connection ("too
many clients"). psycopg's own pool doubles its wait after each refusal, up to minutes. It also lends the connection that
was idle longest, so none is ever idle long enough to be closed. Both matter when Postgres is short of connections.
"""

import contextlib
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
import structlog
from psycopg.pq import TransactionStatus

from sync.database.server import set_isolation
from sync.round_trip import forget_statements

# After this an idle connection is closed: other hosts may need it more.
IDLE_S = 20.0
# A host that vanished says nothing, so a connection that was idle this long is tested before it is lent.
_ASK_AFTER_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0

_log = structlog.get_logger()


class PoolTimeout(psycopg.OperationalError):
    """No connection in the caller's time: all were lent, or Postgres refused another."""


class Pool:
    """Thread-safe. Opens nothing before it is needed: Postgres may be unavailable at start and come back later."""

    def __init__(
        self,
        url: str,
        *,
        size: int,
        wait_s: float,
        options: Mapping[str, Any],
        refused: Callable[[], object] = lambda: None,
    ) -> None:
        """`options` are psycopg's. `refused` is called for each connection that Postgres refuses."""
        self.size = size
        self._url = url
        self._wait_s = wait_s
        self._options = options
        self._refused = refused
        self._changed = threading.Condition()
        self._line: deque[object] = deque()
        self._lent = 0  # including those being opened; with the idle ones, never more than `size`
        self._idle: list[tuple[float, psycopg.Connection]] = []  # the last one returned is lent first
        self._closer: threading.Thread | None = None

    @contextlib.contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[psycopg.Connection]:
        """In autocommit mode. Raises PoolTimeout."""
        connection = self._take(time.monotonic() + (self._wait_s if timeout is None else timeout))
        try:
            yield connection
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Closes idle connections. A lent one is closed when it is returned."""
        with self._changed:
            self.size = 0
        self.close_idle()

    def close_idle(self) -> None:
        with self._changed:
            self._close_idle(before=float("inf"))

    def _take(self, until: float) -> psycopg.Connection:
        self._stand_in_line(until)
        try:
            return self._idle_one() or self._open(until)
        except BaseException:
            self._let_go()
            raise

    def _stand_in_line(self, until: float) -> None:
        """Waits until this thread may take a connection.

        Without a line, a thread that returns one and wants it again would always win.
        """
        me = object()
        with self._changed:
            self._line.append(me)
            try:
                left = until - time.monotonic()
                if not self._changed.wait_for(lambda: self._line[0] is me and self._lent < self.size, left):
                    raise PoolTimeout(f"none of the {self.size} connections of this process was free in time")
                self._lent += 1
            finally:
                self._line.remove(me)
                self._changed.notify_all()

    def _idle_one(self) -> psycopg.Connection | None:
        while True:
            with self._changed:
                if not self._idle:
                    return None
                since, connection = self._idle.pop()
            if _is_alive(connection, must_answer=time.monotonic() - since > _ASK_AFTER_S):
                return connection
            connection.close()

    def _open(self, until: float) -> psycopg.Connection:
        """Opens a connection, or takes one that another thread returns while Postgres refuses."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return self._connect()
            except psycopg.OperationalError as exc:
                self._refused()
                if time.monotonic() + pause_s > until:
                    raise PoolTimeout(f"Postgres gave no connection in time: {exc}") from exc
            with self._changed:
                self._changed.wait_for(lambda: self._idle, pause_s * random.uniform(0.8, 1.2))
            if connection := self._idle_one():
                return connection
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _connect(self) -> psycopg.Connection:
        connection: psycopg.Connection = psycopg.connect(self._url, **self._options)
        try:
            set_isolation(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_back(self, connection: psycopg.Connection) -> None:
        """Does not lend a connection again that is broken or still in a transaction."""
        with contextlib.suppress(psycopg.Error):
            forget_statements(connection)
        if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            connection.close()
        with self._changed:
            if self.size == 0:
                connection.close()
            elif not connection.closed:
                self._idle.append((time.monotonic(), connection))
                self._start_closer()
        self._let_go()

    def _let_go(self) -> None:
        with self._changed:
            self._lent -= 1
            self._changed.notify_all()

    # Idle connections -------------------------------------------------------------------------------------------------

    def _start_closer(self) -> None:
        if self._closer is None:
            self._closer = threading.Thread(target=self._close_now_and_then, name="pool", daemon=True)
            self._closer.start()

    def _close_now_and_then(self) -> None:
        """Its thread runs only while a connection is idle."""
        while True:
            time.sleep(IDLE_S / 4)
            with self._changed:
                self._close_idle(before=time.monotonic() - IDLE_S)
                if not self._idle:
                    self._closer = None
                    return

    def _close_idle(self, *, before: float) -> None:
        while self._idle and self._idle[0][0] < before:
            self._idle.pop(0)[1].close()


def _is_alive(connection: psycopg.Connection, *, must_answer: bool) -> bool:
    """If Postgres ends a connection it says so, which makes the socket readable. Nothing else arrives unasked."""
    try:
        socket = select.poll()
        socket.register(connection, select.POLLIN)
        if connection.closed or socket.poll(0):
            return False
        if must_answer:
            connection.execute("")
    except (psycopg.Error, OSError):
        return False
    return True
