"""Shares the web's Postgres connections among teams, so that one team's slow reads never take them all.

A request that passed the access check for a team takes one of that team's seats before it gets a connection. Sign-in,
the access check itself, event deliveries and health checks belong to no team. They need no seat and never wait behind
reads. A watchdog thread cancels a team's statement that runs too long. It needs no session setting, which a pooler
could lose or hand to another client.
"""

import contextlib
import contextvars
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import structlog

from sync.errors import TooManyRequests
from workers.pool import Pool, PooledConnection

# A process' connections that stay free for requests without a team.
KEPT_FREE = 2
# While other teams have requests, too.
TEAM_SEATS = 3
ALL_SEATS = 5
# If more are waiting, the last would time out: the ones before it take that long already.
MOST_WAITING = 16
WAIT_S = 5.0
# For one statement, or one wait for a lock, in a team's request. The slowest legitimate one takes a tenth of it.
LONGEST_S = 15.0
_LOOK_EVERY_S = 0.5
_CANCEL_S = 2.0
_RETRY_AFTER_S = 5

TEAM: contextvars.ContextVar[str | None] = contextvars.ContextVar("team", default=None)
# Whether the server refused this request because its team runs too many (api/http/running_requests.py).
IS_REFUSED: contextvars.ContextVar[bool] = contextvars.ContextVar("is_refused", default=False)

_log = structlog.get_logger()


class Seats:
    """Thread-safe. A thread that holds a seat gets a second connection without another one.

    Otherwise it could wait for itself.
    """

    def __init__(self, *, of_team: int = TEAM_SEATS, of_all: int = ALL_SEATS, wait_s: float = WAIT_S) -> None:
        self._of_team, self._of_all, self._wait_s = of_team, of_all, wait_s
        self._changed = threading.Condition()
        self._taken: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._here = threading.local()

    @contextlib.contextmanager
    def take(self, team_id: str | None) -> Iterator[None]:
        """Raises TooManyRequests if the team has too many requests in progress."""
        if team_id is None or getattr(self._here, "sits", False):
            yield
            return
        self._sit_down(team_id)
        self._here.sits = True
        try:
            yield
        finally:
            self._here.sits = False
            self._stand_up(team_id)

    def _sit_down(self, team_id: str) -> None:
        with self._changed:
            if self._waiting[team_id] >= MOST_WAITING:
                raise too_many()
            self._waiting[team_id] += 1
            try:
                if not self._changed.wait_for(lambda: self._is_free(team_id), self._wait_s):
                    raise too_many()
                self._taken[team_id] += 1
            finally:
                _take_one(self._waiting, team_id)

    def _is_free(self, team_id: str) -> bool:
        """A team that is alone may have all seats but one, which is free for the next team that comes."""
        others = (self._taken.keys() | self._waiting.keys()) - {team_id}
        most = self._of_team if others else max(self._of_team, self._of_all - 1)
        return self._taken[team_id] < most and self._taken.total() < self._of_all

    def _stand_up(self, team_id: str) -> None:
        with self._changed:
            _take_one(self._taken, team_id)
            self._changed.notify_all()


def _take_one(counts: Counter[str], team_id: str) -> None:
    counts[team_id] -= 1
    if not counts[team_id]:
        del counts[team_id]


def too_many() -> TooManyRequests:
    return TooManyRequests(
        "this team has too many requests in progress: wait for their answers", retry_after_s=_RETRY_AFTER_S
    )


class Watchdog:
    """Cancels a watched connection's statement after `longest_s`. Its thread runs only while it watches something."""

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._lock = threading.Lock()
        self._watched: dict[psycopg.Connection, float] = {}
        self._is_running = False

    @contextlib.contextmanager
    def watch(self, connection: psycopg.Connection) -> Iterator[None]:
        with self._lock:
            self._watched[connection] = time.monotonic() + self._longest_s
            must_start, self._is_running = not self._is_running, True
        if must_start:
            threading.Thread(target=self._run, name="statement-watchdog", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(connection, None)

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_S)
            with self._lock:
                if not self._watched:
                    self._is_running = False
                    return
                now = time.monotonic()
                late = [connection for connection, ends in self._watched.items() if ends < now]
                # Cancel while holding the lock: once returned to the pool, the connection could be serving another
                # request.
                for connection in late:
                    self._watched[connection] = now + _CANCEL_S
                    self._cancel(connection)

    def _cancel(self, connection: psycopg.Connection) -> None:
        _log.warning("statement.canceled", after_s=self._longest_s)
        with contextlib.suppress(psycopg.Error):
            connection.cancel_safe(timeout=_CANCEL_S)


class SharedPool(Pool):
    """The web's pool: with seats for the teams and a watchdog over their statements."""

    def __init__(self, url: str, *, size: int, **options: Any) -> None:
        self.seats = Seats(of_team=min(TEAM_SEATS, size // 2), of_all=size - KEPT_FREE)
        self.watchdog = Watchdog()
        super().__init__(url, size=size, **options)

    @contextlib.contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[PooledConnection]:
        team_id = TEAM.get()
        with self.seats.take(team_id), super().connection(timeout) as connection:
            if team_id is None:
                yield connection
                return
            with self.watchdog.watch(connection):
                yield connection


@contextlib.contextmanager
def seated(pool: Pool, team_id: str) -> Iterator[PooledConnection]:
    """A connection for work in the background: it takes a seat of the team, and may take longer than a request.

    Raises TooManyRequests if none becomes free.
    """
    seat = pool.seats.take(team_id) if isinstance(pool, SharedPool) else contextlib.nullcontext()
    with seat, pool.connection() as connection:
        yield connection
