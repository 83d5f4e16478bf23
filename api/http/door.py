"""How many requests of one team a web process works on at once: one that sends many waits for itself, and for nobody else.

Threads share the interpreter. Where forty of one team's requests run, another team's waits for each of them some ten times:
whenever it comes back from Postgres. So those that come on top wait at the door, and hold no thread there.
"""

import re
from collections import Counter, deque
from typing import Generic, Literal, NamedTuple, TypeVar

Kind = Literal["webhooks", "key", "session"]
T = TypeVar("T")

# Of one team and kind, in one process. Deliveries mostly wait, all of a moment for the same fsync.
MOST_RUNNING: dict[Kind, int] = {"webhooks": 8, "key": 4, "session": 4}
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
        self._waiting: dict[Lane, deque[T]] = {}

    def enter(self, lane: Lane, who: T) -> Literal["runs", "waits", "refused"]:
        """`who` that waits is returned by a later `leave`."""
        if self._running[lane] < MOST_RUNNING[lane.kind]:
            self._running[lane] += 1
            return "runs"
        waiting = self._waiting.setdefault(lane, deque())
        if len(waiting) >= MOST_WAITING:
            return "refused"
        waiting.append(who)
        return "waits"

    def leave(self, lane: Lane) -> T | None:
        """One that ran has ended; returns whose turn it is now."""
        if waiting := self._waiting.get(lane):
            who = waiting.popleft()
            if not waiting:
                del self._waiting[lane]
            return who
        self._running[lane] -= 1
        if not self._running[lane]:
            del self._running[lane]
        return None
