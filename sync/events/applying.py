"""Applies the events in one team's ledger to its mirror, in batches.

An event's object was true at the event's second. Sometimes that leaves doubt: the row overlaps in time and differs, the
event has another API version, or a nested list was cut. Then the object is fetched, once for all events of the batch
that need it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Literal

import psycopg
import structlog

from sync.database.borrowing import Connect
from sync.error_text import loggable_reason
from sync.errors import StripeRejected
from sync.events.fetches import EventFetches, Key
from sync.events.ledger import Delivered, Ended, EventState, Ledger, LedgerEvent
from sync.events.routing import UNREADABLE, Mirrored, Route, api_version, read_delivered, route
from sync.mirror.parents import ParentStore
from sync.mirror.store import REFUSALS, MirrorStore, is_lost
from sync.object_types import OBJECT_TYPES, ObjectType, in_order, parent_of
from sync.stripe.source import Source
from sync.teams.mirrored_types import MirroredTypes

BATCH_SIZE = 200
# A batch reads at most this many objects that events only name; the rest wait. So a flood of disputes or payments
# neither uses up the account's budget nor delays events about the objects themselves.
NAMED_AT_A_TIME = 40
NAMED_WAIT_S = 5

log = structlog.get_logger()

# An event's end: applied unchanged, older than the row, settled by a fetch, or one of the ledger's states.
EventOutcome = Literal["applied", "older", "fetched", "skipped", "refused", "failed"]
Report = Callable[[EventOutcome, list[Ended]], None]


def apply_batch(
    connection: psycopg.Connection,
    team_id: str,
    source: Source,
    mirrored: Mirrored,
    *,
    connect: Connect | None = None,
    report: Report = lambda *_: None,
    refused: StripeRejected | None = None,
) -> dict[EventOutcome, int]:
    """Applies up to BATCH_SIZE due events. Returns the number of events by outcome; empty if none was due.

    Raises no StripeError: events whose object could not be fetched are stored as failed, with the reason. `connect`
    opens further connections in autocommit mode; with it, objects are fetched side by side. `refused` says that Stripe
    refuses the key: then everything that needs a fetch fails without a request.
    """
    return _Batch(connection, team_id, source, mirrored, connect, report, refused).run()


def record_event(ledger: Ledger, body: bytes, *, delivered: bool) -> bool:
    """Returns False if it was known already. Raises one of UNREADABLE if the body is no event."""
    return _record(ledger, read_delivered(ledger.team_id, body), delivered=delivered)


def record_events(ledger: Ledger, bodies: Iterable[bytes], *, types: frozenset[str] | None = None) -> int:
    """Records events that we read from Stripe, in one transaction. Returns how many were new.

    With `types`, only those are recorded. One unreadable or refused event does not stop the others.
    """
    read = [event for body in bodies if (event := _readable(ledger.team_id, body))]
    events = [event for event in read if types is None or event.type in types]
    try:
        with ledger.connection.transaction():
            return sum(_record(ledger, event, delivered=False) for event in events)
    except REFUSALS:
        return sum(_record_alone(ledger, event) for event in events)


def _record(ledger: Ledger, event: Delivered, *, delivered: bool) -> bool:
    return ledger.record(event.id, event.type, event.created, event.body, delivered=delivered)


def _record_alone(ledger: Ledger, event: Delivered) -> bool:
    try:
        return _record(ledger, event, delivered=False)
    except REFUSALS as exc:
        log.warning("event.not_recorded", id=event.id, reason=loggable_reason(exc))
        return False


def _readable(team_id: str, body: bytes) -> Delivered | None:
    try:
        return read_delivered(team_id, body)
    except UNREADABLE:
        log.warning("event.not_readable", bytes=len(body))
        return None


_Doubtful = defaultdict[Key, list[str]]


class _Batch:
    def __init__(
        self,
        connection: psycopg.Connection,
        team_id: str,
        source: Source,
        mirrored: Mirrored,
        connect: Connect | None,
        report: Report,
        refused: StripeRejected | None,
    ) -> None:
        self._connection = connection
        self._team_id = team_id
        self._source = source
        self._mirrored = mirrored
        self._connect = connect
        self._report = report
        self._refused = refused
        self._ledger = Ledger(connection, team_id)
        self._store = MirrorStore(connection, team_id)
        self._counts: dict[EventOutcome, int] = defaultdict(int)
        self._put_off: frozenset[str] = frozenset()

    def run(self) -> dict[EventOutcome, int]:
        events = self._ledger.claim(BATCH_SIZE)
        if not events:
            return {}
        tried = frozenset(event.id for event in events if event.attempts > 1)
        # Read after the events, so that an event from after a type was mirrored finds the type here.
        mirrored = replace(self._mirrored, types=MirroredTypes(self._connection, self._team_id).names())
        routes = [(event, route(event, mirrored)) for event in events]
        try:
            doubtful = self._apply_certain(routes, nullcontext)
        except Exception as exc:
            if is_lost(exc):
                raise
            # One event is at fault, so apply each in its own savepoint. A savepoint costs as much as an event.
            doubtful = self._apply_certain(routes, self._connection.transaction)
        fetches = EventFetches(
            self._connection,
            self._team_id,
            self._source,
            doubtful,
            tried=tried,
            connect=self._connect,
            refused=self._refused,
        )
        for outcome, ended in fetches.run():
            self._count(outcome, ended)
        # Counted afterwards: if a worker dies in between, only the chart misses them.
        self._ledger.count_applied(self._counts.get("fetched", 0))
        return dict(self._counts)

    def _apply_certain(
        self, routes: list[tuple[LedgerEvent, Route]], guard: Callable[[], AbstractContextManager[Any]]
    ) -> _Doubtful:
        """Returns the events that a fetch must settle, by the object to fetch."""
        doubtful: _Doubtful = defaultdict(list)
        with self._connection.transaction():
            checked = self._lock_types(way for _, way in routes)
            verdicts = [(event, way, self._verdict(event, way, checked, doubtful, guard)) for event, way in routes]
            self._ledger.put_back(self._ask_for_named(routes, doubtful), wait_s=NAMED_WAIT_S)
            settled = self._settle_certain(verdicts, doubtful)
            self._ledger.count_applied(sum(len(ended) for outcome, ended in settled if outcome in ("applied", "older")))
            self._touch_connection([event for event, _ in routes])
        for outcome, events in settled:
            self._count(outcome, events)
        return doubtful

    def _verdict(
        self,
        event: LedgerEvent,
        way: Route,
        checked: dict[str, int | None],
        doubtful: _Doubtful,
        guard: Callable[[], AbstractContextManager[Any]],
    ) -> EventOutcome | None:
        """None: the event is among the doubtful."""
        if way.object_type is None:
            return "refused" if way.action == "refuse" else "skipped"
        key = (way.object_type.name, way.object_id)
        # The same fetch settles the events that follow a doubtful one. A deletion does not wait: it is final, and a
        # fetch that finds nothing where there is no row would leave no tombstone to stop later updates.
        waits = key in doubtful and way.action != "delete"
        verdict = "doubtful" if waits else self._apply(event, way, checked[key[0]], guard)
        if verdict == "doubtful":
            doubtful[key].append(event.id)
            return None
        return verdict

    def _ask_for_named(self, routes: list[tuple[LedgerEvent, Route]], doubtful: _Doubtful) -> list[str]:
        """Adds the objects that events only name. Returns the events that are put off, because reads are limited."""
        asked: set[Key] = set()
        known = self._known_since({key for _, way in routes for key in way.named})
        in_doubt = {event_id for ids in doubtful.values() for event_id in ids}
        put_off: list[str] = []
        for event, way in routes:
            keys = [key for key in way.named if known.get(key, -1) < event.created + (not way.is_accompanied)]
            if len(asked.union(keys)) > NAMED_AT_A_TIME and event.id not in in_doubt:
                put_off.append(event.id)
                continue
            asked.update(keys)
            for key in keys:
                if event.id not in doubtful[key]:
                    doubtful[key].append(event.id)
        self._put_off = frozenset(put_off)
        return put_off

    def _known_since(self, keys: Iterable[Key]) -> dict[Key, int]:
        """The second as of which each existing row is true."""
        by_type: dict[str, list[str]] = defaultdict(list)
        for name, object_id in keys:
            by_type[name].append(object_id)
        return {
            (name, object_id): as_of
            for name, ids in by_type.items()
            for object_id, as_of in self._store.known_as_of(OBJECT_TYPES[name], ids).items()
        }

    def _settle_certain(
        self, verdicts: list[tuple[LedgerEvent, Route, EventOutcome | None]], doubtful: _Doubtful
    ) -> list[tuple[EventOutcome, list[Ended]]]:
        waiting = {event_id for ids in doubtful.values() for event_id in ids} | self._put_off
        ended: dict[tuple[EventOutcome, str | None], list[str]] = defaultdict(list)
        for event, way, verdict in verdicts:
            if verdict is not None and event.id not in waiting:
                is_known = verdict == "skipped" and way.named  # everything it names has been read since
                ended["older" if is_known else verdict, None if is_known else way.reason].append(event.id)
        return [(outcome, self._settle(outcome, ids, reason)) for (outcome, reason), ids in ended.items()]

    def _apply(
        self,
        event: LedgerEvent,
        way: Route,
        checked_until: int | None,
        guard: Callable[[], AbstractContextManager[Any]],
    ) -> Literal["applied", "older", "doubtful"]:
        assert way.object_type is not None
        if way.action == "fetch":
            return "doubtful"
        store, created = self._store, event.created
        try:
            with guard():
                if way.action == "delete":
                    return store.apply_deletion(way.object_type, way.object_id, way.raw, created=created)
                if way.object_type.parent and not self._has_live_parent(way.object_type, way.raw):
                    return "doubtful"  # a deleted customer's, or that customer's event is still to come
                return store.apply_event(
                    way.object_type, way.object_id, way.raw, created=created, checked_until=checked_until
                )
        except Exception as exc:
            if guard is nullcontext or is_lost(exc):
                raise
            return "doubtful"  # Postgres may accept the fetched object; otherwise its error is stored

    def _has_live_parent(self, object_type: ObjectType, raw: bytes) -> bool:
        parents = ParentStore(self._connection, self._team_id)
        return parents.has_live_parent(object_type, parent_of(object_type, raw))

    def _lock_types(self, routes: Iterable[Route]) -> dict[str, int | None]:
        """Locks in the registry's order, so that two batches cannot deadlock. Returns each `checked_until`."""
        types = in_order({way.object_type.name for way in routes if way.object_type})
        for object_type in types:
            self._store.lock_type(object_type)
        return {object_type.name: self._store.checked_until(object_type) for object_type in types}

    def _settle(self, outcome: EventOutcome, ids: list[str], reason: str | None) -> list[Ended]:
        state: EventState = outcome if outcome in ("skipped", "refused") else "applied"
        return self._ledger.settle(ids, state, reason)

    def _touch_connection(self, events: list[LedgerEvent]) -> None:
        delivered = [event for event in events if event.delivered]
        version = api_version(delivered[-1]) if delivered else None
        is_fresh = any(event.attempts == 1 for event in delivered)
        self._ledger.touch_connection(events[-1].created, version, delivered=is_fresh)

    def _count(self, outcome: EventOutcome, events: list[Ended]) -> None:
        self._counts[outcome] += len(events)
        self._report(outcome, events)
