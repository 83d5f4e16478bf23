"""Reads each watched team's status once for all its viewers, and sends changes to each of them as the same bytes.

Each web process has one hub. It reads a team's status about once a second while something runs, and every few seconds
otherwise. A team that nobody watches costs nothing.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import msgspec
import psycopg
import structlog

BUSY_S = 1.0
IDLE_S = 5.0
# Proxies close a connection that is silent for a minute.
HEARTBEAT_S = 15.0
# How soon the place of a viewer who left without notice is free again.
LOOK_UP_S = 7.5
# Each viewer holds a server thread (api/gunicorn.py). A browser that finds no place polls the status instead.
MOST_VIEWERS = 256
# Per team, and per session (a browser with that many tabs). The rest stays free for others.
MOST_OF_TEAM = 200
MOST_OF_SESSION = 24
# Access is checked only when a stream opens. A person who signed out or lost access sees at most this much more. The
# life is random, so that viewers who came together do not all reconnect together.
SHORTEST_LIFE_S, LONGEST_LIFE_S = 105.0, 120.0

HELLO = b"retry: 1000\n\n"  # milliseconds until the browser reopens an ended stream
HEARTBEAT = b": still here\n\n"
AWAY = b"event: away\ndata: {}\n\n"  # the status cannot be read; the next status ends this state

Status = dict[str, Any]

log = structlog.get_logger()


class HubFull(Exception):
    """No more viewers are allowed (in all, for the team or for the session), or the process is stopping."""


@dataclass(slots=True, eq=False)
class Viewer:
    """One open stream."""

    team_id: str
    opened_at: float
    ends_at: float
    spoke_at: float
    is_there: Callable[[], bool]
    session: str = ""
    sent: bytes | None = None
    # One queue per viewer: 200 threads that wake on one lock would mostly wait for each other.
    news: SimpleQueue[bytes] = field(default_factory=SimpleQueue)


@dataclass(slots=True)
class _Watched:
    """A watched team. The hub's lock guards all of it."""

    viewers: set[Viewer] = field(default_factory=set)
    message: bytes = b""
    read_at: float = float("-inf")  # when the read of `message` began
    due_at: float = float("-inf")


def in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="status-hub", daemon=True).start()


class Hub:
    """Thread-safe. `read` returns a team's status and may raise psycopg.Error."""

    def __init__(
        self,
        read: Callable[[str], Status],
        *,
        most: int = MOST_VIEWERS,
        clock: Callable[[], float] = time.monotonic,
        run: Callable[[Callable[[], None]], None] = in_background,
    ) -> None:
        self.is_abandoned: Callable[[], bool] = lambda: False  # checked at each look; if true, all streams end
        self._read = read
        self._most = most
        self._clock = clock
        self._run = run
        self._lock = threading.RLock()  # reentrant: a second signal may come while `close` handles the first
        self._sooner = threading.Event()
        self._watched: dict[str, _Watched] = {}
        self._open = 0
        self._is_running = False
        self._is_closed = False

    # For viewers ------------------------------------------------------------------------------------------------------

    def watch(self, team_id: str, *, session: str = "", is_there: Callable[[], bool] = lambda: True) -> Viewer:
        """Give the viewer back with `leave`. Raises HubFull."""
        now = self._clock()
        life_s = random.uniform(SHORTEST_LIFE_S, LONGEST_LIFE_S)
        viewer = Viewer(team_id, now, now + life_s, spoke_at=now, is_there=is_there, session=session)
        with self._lock:
            if self._is_closed or self._open >= self._most or self._has_enough(viewer):
                raise HubFull
            self._open += 1
            watched = self._watched.setdefault(team_id, _Watched())
            watched.viewers.add(viewer)
            watched.due_at = min(watched.due_at, watched.read_at + BUSY_S)
            must_start, self._is_running = not self._is_running, True
        if must_start:
            self._run(self._keep_looking)
        self._sooner.set()
        return viewer

    def _has_enough(self, viewer: Viewer) -> bool:
        if viewer.team_id in self._watched and len(self._watched[viewer.team_id].viewers) >= MOST_OF_TEAM:
            return True
        watching = (other for watched in self._watched.values() for other in watched.viewers)
        return bool(viewer.session) and sum(o.session == viewer.session for o in watching) >= MOST_OF_SESSION

    def pieces(self, viewer: Viewer) -> Iterator[bytes]:
        """The body of the stream. Waits between the pieces and ends by itself."""
        yield HELLO
        while not self.is_over(viewer):
            piece = self.next_piece(viewer, LOOK_UP_S)
            if piece:
                yield piece

    def is_over(self, viewer: Viewer) -> bool:
        return self._is_closed or self._clock() >= viewer.ends_at or not viewer.is_there()

    def next_piece(self, viewer: Viewer, wait_s: float) -> bytes | None:
        """The next piece for this viewer, or None after `wait_s` without news."""
        piece: bytes | None
        try:
            piece = viewer.news.get(timeout=wait_s)
        except Empty:
            piece = HEARTBEAT if self._clock() - viewer.spoke_at >= HEARTBEAT_S else None
        if piece:
            viewer.spoke_at = self._clock()
        return piece

    def leave(self, viewer: Viewer) -> None:
        """May be called more than once."""
        with self._lock:
            watched = self._watched.get(viewer.team_id)
            if watched is None or viewer not in watched.viewers:
                return
            self._open -= 1
            watched.viewers.remove(viewer)
            if not watched.viewers:
                del self._watched[viewer.team_id]

    def close(self) -> None:
        """Ends all streams at once and opens no more."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            for watched in self._watched.values():
                for viewer in watched.viewers:
                    viewer.news.put(b"")  # wakes the viewer
        self._sooner.set()

    # The reading thread ------------------------------------------------------------------------------------------

    def _keep_looking(self) -> None:
        while (wait_s := self.look()) is not None:
            self._sooner.wait(wait_s)
            self._sooner.clear()

    def look(self) -> float | None:
        """Reads the statuses that are due.

        Returns the seconds until the next one is due. None if nobody watches: then the thread may end.
        """
        if self.is_abandoned():
            self.close()
        for team_id in self._due():
            self._look_at(team_id)
        with self._lock:
            if self._is_closed or not self._watched:
                self._is_running = False
                return None
            return max(0.0, min(watched.due_at for watched in self._watched.values()) - self._clock())

    def _due(self) -> list[str]:
        now = self._clock()
        with self._lock:
            return [team_id for team_id, watched in self._watched.items() if watched.due_at <= now]

    def _look_at(self, team_id: str) -> None:
        began = self._clock()
        message, is_busy = self._message(team_id)
        with self._lock:
            watched = self._watched.get(team_id)
            if watched is None:
                return
            has_changed = watched.message not in (b"", message)
            if message != watched.message:
                watched.message = message
            watched.read_at = began
            # A status that was read before a viewer came is not for them: their own action may have changed it.
            may_see = [viewer for viewer in watched.viewers if viewer.opened_at <= began]
            # After an event, another is likely soon.
            is_soon = is_busy or has_changed or len(may_see) < len(watched.viewers)
            watched.due_at = self._clock() + (BUSY_S if is_soon else IDLE_S)
            for viewer in may_see:
                if viewer.sent is not watched.message:
                    viewer.sent = watched.message
                    viewer.news.put(watched.message)

    def _message(self, team_id: str) -> tuple[bytes, bool]:
        """The status as bytes for the wire, and whether it will change soon."""
        try:
            status = self._read(team_id)
        except psycopg.Error as exc:
            log.warning("status.not_read", team=team_id, reason=str(exc))
            return AWAY, True
        except Exception:  # must not end the thread: viewers of other teams depend on it
            log.exception("status.crashed", team=team_id)
            return AWAY, False
        reconcile = status["lastReconcile"] or {}
        is_busy = status["syncStatus"] == "syncing" or reconcile.get("status") == "running"
        return b"data: " + msgspec.json.encode(status) + b"\n\n", is_busy
