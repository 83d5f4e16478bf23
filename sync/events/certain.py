"""Applies the events of a batch that need no fetch, in one transaction of few round trips.

The first round trip locks the batch's types and looks at the objects' rows. The last one writes the rows, settles the
events and commits. An object's second change looks at the row in a round trip of its own, after its first change. If
Postgres refuses an object, everything is rolled back and done again with each event in a savepoint of its own.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal

import psycopg

from sync.database.borrowing import same_connection
from sync.events.fetches import Key
from sync.events.ledger import PREPARED, SETTINGS, WAIT_FOR_DISK, Ended, EventState, Ledger, LedgerEvent
from sync.events.routing import Route, api_version
from sync.mirror.event_rows import EventVerdict, event_values, judged
from sync.mirror.parents import ParentStore
from sync.mirror.store import LOCK_TYPE, MirrorStore, is_lost
from sync.object_types import CHILDREN, OBJECT_TYPES, ObjectType, in_order, parent_of
from sync.round_trip import Call, RoundTrips, Rows
from sync.sql import Numbered

# A batch reads at most this many objects that events only name; the rest wait. So a flood of disputes or payments
# neither uses up the account's budget nor delays events about the objects themselves.
NAMED_AT_A_TIME = 40
NAMED_WAIT_S = 5
# Each object is copied into the round trip, so this bounds memory.
_CHANGES_AT_A_TIME = 25
# For fewer changes of one type, preparing its statement costs more than planning it each time.
_WORTH_PREPARING = 8

Routed = tuple[LedgerEvent, Route]
CertainOutcome = Literal["applied", "older", "skipped", "refused"]


@dataclass(frozen=True, slots=True)
class Certain:
    """`settled` are the events that have ended, `doubtful` those that a fetch must settle, by the object to fetch."""

    settled: list[tuple[CertainOutcome, list[Ended]]]
    doubtful: dict[Key, list[str]]


def apply_certain(connection: psycopg.Connection, team_id: str, routes: Sequence[Routed]) -> Certain:
    """The connection must be in autocommit mode."""
    with same_connection(connection) as real:
        try:
            return _Applying(real, team_id, routes).run()
        except Exception as exc:
            if is_lost(exc):
                raise
            return _Applying(real, team_id, routes, has_savepoints=True).run()


@dataclass(slots=True)
class _Ends:
    """How each event ends, as far as it is known. `doubtful` as in Certain."""

    verdicts: dict[str, CertainOutcome] = field(default_factory=dict)
    doubtful: defaultdict[Key, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, event: LedgerEvent, way: Route, verdict: EventVerdict) -> None:
        if verdict == "doubtful":
            self.doubtful[key_of(way)].append(event.id)
        else:
            self.verdicts[event.id] = verdict

    def must_fetch(self, way: Route) -> bool:
        """Whether an event is in doubt already, before Postgres has seen it.

        The same fetch settles the events that follow a doubtful one. A deletion does not wait: it is final, and a fetch
        that finds nothing where there is no row would leave no tombstone to stop later updates.
        """
        return way.action == "fetch" or (way.action != "delete" and key_of(way) in self.doubtful)


class _Applying:
    def __init__(
        self, connection: psycopg.Connection, team_id: str, routes: Sequence[Routed], *, has_savepoints: bool = False
    ) -> None:
        self._connection = connection
        self._routes = routes
        self._has_savepoints = has_savepoints
        self._ledger = Ledger(connection, team_id)
        self._store = MirrorStore(connection, team_id)
        self._parents = ParentStore(connection, team_id)
        self._ends = _Ends()
        self._queued: list[Call] = []  # goes with the next round trip
        self._checked: dict[str, int | None] | None = None  # by type, once the types are locked

    def run(self) -> Certain:
        # psycopg may deallocate all names after a savepoint that it rolls back.
        prepared = None if self._has_savepoints else self._worth_preparing()
        with RoundTrips(self._connection).transaction(prepared) as self._open:
            self._lock_types()
            for segment in self._segments():
                self._apply_segment(segment)
            put_off = self._ask_for_named()
            return self._settle(put_off)

    def _worth_preparing(self) -> Iterator[Numbered]:
        """Statements that are the same for all teams, and those of a type with many changes in this batch."""
        yield from PREPARED
        yield LOCK_TYPE
        changed = Counter(way.object_type.name for _, way in self._routes if way.object_type and way.action == "apply")
        for type_name, changes in changed.items():
            if changes >= _WORTH_PREPARING:
                for name in ("judge_event", "insert_event", "update_event"):
                    yield self._store.call(OBJECT_TYPES[type_name], name).statement

    def _lock_types(self) -> None:
        """In the registry's order, so that two batches cannot deadlock. Goes with the first round trip."""
        types = in_order({way.object_type.name for _, way in self._routes if way.object_type})
        team_id = self._store.team_id
        self._queued = [SETTINGS, *(Call(LOCK_TYPE, {"team_id": team_id, "type": each.name}) for each in types)]
        if not types:
            self._checked = {}
        else:
            names = [each.name for each in types]
            self._queued.append(self._store.call(types[0], "checked_until", team_id=team_id, types=names))

    def _trip(self, calls: Sequence[Call]) -> list[Rows]:
        """Sends what is queued and these calls. Returns the rows of these."""
        queued, self._queued = self._queued, []
        rows = self._open.run([*queued, *calls]) if queued or calls else []
        if self._checked is None:  # the first round trip ends what it queued with checked_until
            self._checked = dict(rows[len(queued) - 1])
        return rows[len(queued) :]

    # Objects ----------------------------------------------------------------------------------------------------------

    def _segments(self) -> Iterator[list[Routed]]:
        """The events about mirrored objects in order, in parts that must follow each other."""
        segment: list[Routed] = []
        for event, way in self._routes:
            if way.object_type is None:
                self._ends.verdicts[event.id] = "refused" if way.action == "refuse" else "skipped"
            elif _concerns_others(way):
                yield from (segment, [(event, way)])
                segment = []
            else:
                segment.append((event, way))
        yield segment

    def _apply_segment(self, segment: Sequence[Routed]) -> None:
        waiting: defaultdict[Key, deque[Routed]] = defaultdict(deque)
        for event, way in segment:
            waiting[key_of(way)].append((event, way))
        while changes := [change for queue in waiting.values() if (change := self._next_of(queue))]:
            for start in range(0, len(changes), _CHANGES_AT_A_TIME):
                self._apply(changes[start : start + _CHANGES_AT_A_TIME])

    def _next_of(self, queue: deque[Routed]) -> Routed | None:
        """The object's next event that needs Postgres' verdict."""
        while queue:
            event, way = queue.popleft()
            if not self._ends.must_fetch(way):
                return event, way
            self._ends.note(event, way, "doubtful")
        return None

    def _apply(self, changes: Sequence[Routed]) -> None:
        if self._has_savepoints or any(_concerns_others(way) for _, way in changes):
            self._trip([])
            verdicts = [self._applied_alone(*each) for each in changes]
        else:
            found = self._trip([self._look(*each) for each in changes])
            verdicts = [self._applied(*each, rows) for each, rows in zip(changes, found, strict=True)]
        for (event, way), verdict in zip(changes, verdicts, strict=True):
            self._ends.note(event, way, verdict)

    def _look(self, event: LedgerEvent, way: Route) -> Call:
        """Looks at the row, and writes it at once if the event is a deletion."""
        assert way.object_type
        values = event_values(way.object_id, way.raw, event.created)
        if way.action == "delete":
            return self._store.call(way.object_type, "apply_deletion", **values, reuses_ids=way.object_type.reuses_ids)
        return self._store.call(way.object_type, "judge_event", **values)

    def _applied(self, event: LedgerEvent, way: Route, rows: Rows) -> EventVerdict:
        """Queues what is to be written."""
        assert way.object_type
        if way.action == "delete":
            deleted: EventVerdict = rows[0][0]
            return deleted
        verdict, writing = judged(rows, event.created, self._checked_until(way.object_type))
        if writing:
            values = event_values(way.object_id, way.raw, event.created)
            self._queued.append(self._store.call(way.object_type, writing, **values))
        return verdict

    def _applied_alone(self, event: LedgerEvent, way: Route) -> EventVerdict:
        try:
            with self._connection.transaction() if self._has_savepoints else nullcontext():
                return self._apply_alone(event, way)
        except Exception as exc:
            if not self._has_savepoints or is_lost(exc):
                raise
            return "doubtful"  # Postgres may accept the fetched object; otherwise its error is stored

    def _apply_alone(self, event: LedgerEvent, way: Route) -> EventVerdict:
        assert way.object_type
        store, created = self._store, event.created
        if way.action == "delete":
            return store.apply_deletion(way.object_type, way.object_id, way.raw, created=created)
        if way.object_type.parent and not self._has_live_parent(way.object_type, way.raw):
            return "doubtful"  # a deleted customer's, or that customer's event is still to come
        checked_until = self._checked_until(way.object_type)
        return store.apply_event(way.object_type, way.object_id, way.raw, created=created, checked_until=checked_until)

    def _checked_until(self, object_type: ObjectType) -> int | None:
        assert self._checked is not None
        return self._checked[object_type.name]

    def _has_live_parent(self, object_type: ObjectType, raw: bytes) -> bool:
        return self._parents.has_live_parent(object_type, parent_of(object_type, raw))

    # What events only name --------------------------------------------------------------------------------------------

    def _ask_for_named(self) -> list[str]:
        """Adds the objects that events only name. Returns the events that are put off, because reads are limited."""
        asked: set[Key] = set()
        doubtful = self._ends.doubtful
        known = self._known_since({key for _, way in self._routes for key in way.named})
        in_doubt = {event_id for ids in doubtful.values() for event_id in ids}
        put_off: list[str] = []
        for event, way in self._routes:
            keys = [key for key in way.named if known.get(key, -1) < event.created + (not way.is_accompanied)]
            if len(asked.union(keys)) > NAMED_AT_A_TIME and event.id not in in_doubt:
                put_off.append(event.id)
                continue
            asked.update(keys)
            for key in keys:
                if event.id not in doubtful[key]:
                    doubtful[key].append(event.id)
        return put_off

    def _known_since(self, keys: Collection[Key]) -> dict[Key, int]:
        """The second as of which each existing row is true."""
        by_type: defaultdict[str, list[str]] = defaultdict(list)
        for name, object_id in keys:
            by_type[name].append(object_id)
        calls = [self._store.call(OBJECT_TYPES[name], "known_as_of", ids=ids) for name, ids in by_type.items()]
        rows = self._trip(calls) if calls else []
        return {
            (name, object_id): as_of for name, known in zip(by_type, rows, strict=True) for object_id, as_of in known
        }

    # The end ----------------------------------------------------------------------------------------------------------

    def _settle(self, put_off: list[str]) -> Certain:
        waiting = {event_id for ids in self._ends.doubtful.values() for event_id in ids}.union(put_off)
        groups: defaultdict[tuple[CertainOutcome, str | None], list[str]] = defaultdict(list)
        for event, way in self._routes:
            verdict = self._ends.verdicts.get(event.id)
            if verdict is not None and event.id not in waiting:
                is_known = verdict == "skipped" and way.named  # everything it names has been read since
                groups["older" if is_known else verdict, None if is_known else way.reason].append(event.id)
        calls = [
            self._ledger.call("settle", ids=ids, state=_state(outcome), error=reason)
            for (outcome, reason), ids in groups.items()
        ]
        further = [*self._further(groups, put_off), *([WAIT_FOR_DISK] if self._ends.doubtful else [])]
        rows = self._open.end([*self._queued, *calls, *further])[len(self._queued) :]
        settled = [(outcome, [Ended(*row) for row in ended]) for (outcome, _), ended in zip(groups, rows, strict=False)]
        return Certain(settled, dict(self._ends.doubtful))

    def _further(
        self, groups: Mapping[tuple[CertainOutcome, str | None], list[str]], put_off: list[str]
    ) -> Iterator[Call]:
        if put_off:
            yield self._ledger.call("put_back", ids=put_off, wait_s=NAMED_WAIT_S)
        applied = sum(len(ids) for (outcome, _), ids in groups.items() if outcome in ("applied", "older"))
        if applied:
            yield self._ledger.call("count_applied", count=applied)
        events = [event for event, _ in self._routes]
        delivered = [event for event in events if event.delivered]
        version = api_version(delivered[-1]) if delivered else None
        is_fresh = any(event.attempts == 1 for event in delivered)
        created = events[-1].created
        yield self._ledger.call("touch_connection", created=created, delivered_version=version, delivered=is_fresh)


def key_of(way: Route) -> Key:
    assert way.object_type
    return way.object_type.name, way.object_id


def _concerns_others(way: Route) -> bool:
    """Whether the result depends on rows of another type, or changes some."""
    assert way.object_type
    return way.object_type.parent is not None or (way.action == "delete" and way.object_type.name in CHILDREN)


def _state(outcome: CertainOutcome) -> EventState:
    return outcome if outcome in ("skipped", "refused") else "applied"
