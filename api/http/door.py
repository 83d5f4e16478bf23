"""How many requests of one team a web process works on at once: one that sends many waits for itself, and for nobody else.

Threads share the interpreter. Where forty of one team's requests run, another team's waits for each of them some ten times:
whenever it comes back from Postgres. So those that come on top wait at the door, and hold no thread there.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator
from typing import Generic, Literal, NamedTuple, TypeVar

Kind = Literal["webhooks", "key", "session"]
T = TypeVar("T")

# Of one team and kind, in one process, while no other team has a request there: as many as make it no faster. Deliveries
# mostly wait, all of a moment for the same fsync.
MOST_ALONE: dict[Kind, int] = {"webhooks": 32, "key": 8, "session": 8}
# Beside other teams' requests. So theirs gets a fair share of the interpreter.
MOST_BESIDE_OTHERS: dict[Kind, int] = {"webhooks": 4, "key": 1, "session": 2}
# Of one team and kind; more are refused with 429. A browser opens six connections, Stripe a few dozen.
MOST_WAITING = 200

_LINE = re.compile(rb"[A-Z]+ (?:/api)?/(webhooks/stripe|teams|billstack/teams)/(team_[a-z0-9_]{1,64})[/? ]")
_STREAM = re.compile(rb"[A-Z]+ [^ ?]+/stream[? ]")
_AUTHORIZATION = re.compile(rb"\r\nauthorization:", re.IGNORECASE)


class Lane(NamedTuple):
    """What counts together. Dashboard, back ends and Stripe do not wait for each other."""

    team_id: bytes
    kind: Kind


def lane_of(request: bytes) -> Lane | None:
    """Of an HTTP/1 request's bytes. None for what no team is named in, and for live views, which have bounds of their own."""
    line = _LINE.match(request)
    if line is None or _STREAM.match(request):
        return None
    if line[1] == b"webhooks/stripe":
        return Lane(line[2], "webhooks")
    return Lane(line[2], "key" if _AUTHORIZATION.search(request.partition(b"\r\n\r\n")[0]) else "session")


class Door(Generic[T]):
    """Not thread-safe: the server's main loop alone asks it."""

    def __init__(self) -> None:
        self._running: Counter[Lane] = Counter()
        self._by_team: Counter[bytes] = Counter()
        self._waiting: dict[Lane, deque[T]] = {}

    def enter(self, lane: Lane, who: T) -> Literal["runs", "waits", "refused"]:
        """`who` that waits is returned by a later `leave`."""
        waiting = self._waiting.get(lane)
        if not waiting and self._has_room(lane):
            self._count(lane, 1)
            return "runs"
        if waiting and len(waiting) >= MOST_WAITING:
            return "refused"
        self._waiting.setdefault(lane, deque()).append(who)
        return "waits"

    def leave(self, lane: Lane) -> list[T]:
        """One that ran has ended; returns those whose turn it is now, of any team: others may have more room too."""
        self._count(lane, -1)
        return [who for waiting in list(self._waiting) for who in self._let_in(waiting)]

    def _has_room(self, lane: Lane) -> bool:
        has_others = self._by_team.total() > self._by_team[lane.team_id]
        return self._running[lane] < (MOST_BESIDE_OTHERS if has_others else MOST_ALONE)[lane.kind]

    def _let_in(self, lane: Lane) -> Iterator[T]:
        waiting = self._waiting[lane]
        while waiting and self._has_room(lane):
            self._count(lane, 1)
            yield waiting.popleft()
        if not waiting:
            del self._waiting[lane]

    def _count(self, lane: Lane, change: int) -> None:
        self._running[lane] += change
        self._by_team[lane.team_id] += change
        if not self._running[lane]:
            del self._running[lane]
        if not self._by_team[lane.team_id]:
            del self._by_team[lane.team_id]
