"""Limits how many requests of one team a web process runs at once, so that a busy team slows down only itself.

Threads share the interpreter. If forty requests of one team run, another team's request waits for all of them each time
it comes back from Postgres, about ten times. So a team's further requests wait in a queue, where they hold no thread.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator
from typing import Generic, Literal, NamedTuple, TypeVar

Kind = Literal["webhooks", "key", "session"]
T = TypeVar("T")

# For each team and kind, in one process, while no other team has a request there. More would not make the team faster.
# Deliveries mostly wait, and for the same fsync.
MOST_ALONE: dict[Kind, int] = {"webhooks": 32, "key": 8, "session": 8}
# The same while other teams have requests, so that they get a fair share of the interpreter.
MOST_BESIDE_OTHERS: dict[Kind, int] = {"webhooks": 4, "key": 1, "session": 2}
# For each team and kind. More are refused with 429. A browser opens six connections, Stripe a few dozen.
MOST_WAITING = 200
# Of all lanes of a process. With more, no thread waits for the next request of its connection.
MOST_GOING_ON = 16

_LINE = re.compile(rb"[A-Z]+ (?:/api)?/(webhooks/stripe|teams|billstack/teams)/(team_[a-z0-9_]{1,64})[/? ]")
_STREAM = re.compile(rb"[A-Z]+ [^ ?]+/stream[? ]")
_GATEWAY = re.compile(rb"[A-Z]+ /v1[/? ]")
_AUTHORIZATION = re.compile(rb"\r\nauthorization:([^\r]*)", re.IGNORECASE)


class Lane(NamedTuple):
    """The requests that count together.

    The dashboard, back ends and Stripe each have a lane, so they do not delay each other. At /v1 only the key names the
    team, so `team_id` is what the Authorization header holds.
    """

    team_id: bytes
    kind: Kind


def lane_of(request: bytes) -> Lane | None:
    """The lane of an HTTP/1 request, from its bytes.

    None if it names no team, and for live views, which have their own limit.
    """
    if _GATEWAY.match(request):
        given = _AUTHORIZATION.search(request.partition(b"\r\n\r\n")[0])
        return Lane(given[1].strip(), "key") if given else None
    line = _LINE.match(request)
    if line is None or _STREAM.match(request):
        return None
    if line[1] == b"webhooks/stripe":
        return Lane(line[2], "webhooks")
    return Lane(line[2], "key" if _AUTHORIZATION.search(request.partition(b"\r\n\r\n")[0]) else "session")


class RunningRequests(Generic[T]):
    """Counts running requests by lane. Not thread-safe: only the server's main loop calls it."""

    def __init__(self) -> None:
        self._running: Counter[Lane] = Counter()
        self._by_team: Counter[bytes] = Counter()
        self._waiting: dict[Lane, deque[T]] = {}

    def admit(self, lane: Lane, who: T) -> Literal["runs", "waits", "refused"]:
        """If the answer is "waits", a later `release` returns `who`."""
        waiting = self._waiting.get(lane)
        if not waiting and self._has_room(lane):
            self._count(lane, 1)
            return "runs"
        if waiting and len(waiting) >= MOST_WAITING:
            return "refused"
        self._waiting.setdefault(lane, deque()).append(who)
        return "waits"

    def may_go_on(self, lane: Lane) -> bool:
        """Whether a running request may be followed by another one of its lane, without asking for its place again.

        Not if anybody waits, more of the lane run than would be admitted now, or few threads are free. Any thread may ask.
        """
        return not self._waiting and self._running[lane] <= self._most(lane) and self._by_team.total() <= MOST_GOING_ON

    def release(self, lane: Lane) -> list[T]:
        """Call this when a request has finished.

        Returns the requests to run next, of any team: other lanes may gain room too.
        """
        self._count(lane, -1)
        return [who for waiting in list(self._waiting) for who in self._admit_waiting(waiting)]

    def _has_room(self, lane: Lane) -> bool:
        return self._running[lane] < self._most(lane)

    def _most(self, lane: Lane) -> int:
        has_others = self._by_team.total() > self._by_team[lane.team_id]
        return (MOST_BESIDE_OTHERS if has_others else MOST_ALONE)[lane.kind]

    def _admit_waiting(self, lane: Lane) -> Iterator[T]:
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
