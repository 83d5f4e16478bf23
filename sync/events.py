"""Applies the events of one team's ledger to its mirror, in batches.

What an event says was true at its second. Where that leaves doubt (the row overlaps in time and differs, the event is in
another API version, a nested list was cut), the object is fetched instead, once for all events of the batch that doubt it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import psycopg
import structlog

from sync.bounds import loggable
from sync.error_text import loggable_reason
from sync.errors import StripeError, StripeRejected
from sync.event_routing import UNREADABLE, Mirrored, Route, api_version, read_delivered, route
from sync.ledger import Delivered, Ended, EventState, Ledger, LedgerEvent
from sync.object_types import OBJECT_TYPES
from sync.refresh import refresh
from sync.source import Source
from sync.store import REFUSALS, MirrorStore, is_lost, reason_of

BATCH_SIZE = 200
# Of one batch at the same time; the budget holds them back where need be.
FETCHERS = 8
_REFUSALS_OF_KEY = (401, 403)

log = structlog.get_logger()

# What became of events: applied as they were, older than the row, settled by a fetch, or one of the ledger's states.
Outcome = Literal["applied", "older", "fetched", "skipped", "refused", "failed"]
Report = Callable[[Outcome, list[Ended]], None]
Connect = Callable[[], AbstractContextManager[psycopg.Connection]]


def apply_batch(
    connection: psycopg.Connection,
    team_id: str,
    source: Source,
    mirrored: Mirrored,
    *,
    connect: Connect | None = None,
    report: Report = lambda *_: None,
) -> dict[Outcome, int]:
    """Applies up to BATCH_SIZE due events. Returns how many came to which end; empty when none was due.

    Raises nothing of Stripe's: events whose object could not be fetched are kept as failed, with the reason. With
    `connect`, which gives further connections in autocommit mode, objects are fetched side by side.
    """
    return _Batch(connection, team_id, source, mirrored, connect, report).run()


def record_event(ledger: Ledger, body: bytes, *, delivered: bool) -> bool:
    """False when it was known already. Raises one of UNREADABLE for what is no event."""
    return _record(ledger, read_delivered(ledger.team_id, body), delivered=delivered)


def record_events(ledger: Ledger, bodies: Iterable[bytes]) -> int:
    """Puts events that we read from Stripe into the ledger, in one transaction; returns how many were new.

    One that is no event, or that Postgres refuses, keeps none of the others out.
    """
    events = [event for body in bodies if (event := _readable(ledger.team_id, body))]
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


_Key = tuple[str, str]  # an object's type and id


class _Batch:
    def __init__(
        self,
        connection: psycopg.Connection,
        team_id: str,
        source: Source,
        mirrored: Mirrored,
        connect: Connect | None,
        report: Report,
    ) -> None:
        self._connection = connection
        self._team_id = team_id
        self._source = source
        self._hasty = source.hasty()
        self._tried: set[str] = set()
        self._refused: dict[str, StripeRejected] = {}
        self._mirrored = mirrored
        self._connect = connect
        self._report = report
        self._ledger = Ledger(connection, team_id)
        self._store = MirrorStore(connection, team_id)
        self._counts: dict[Outcome, int] = defaultdict(int)

    def run(self) -> dict[Outcome, int]:
        events = self._ledger.claim(BATCH_SIZE)
        if not events:
            return {}
        self._tried = {event.id for event in events if event.attempts > 1}
        routes = [(event, route(event, self._mirrored)) for event in events]
        try:
            doubtful = self._apply_certain(routes, nullcontext)
        except Exception as exc:
            if is_lost(exc):
                raise
            # One of them is at fault; each on its own then, for a savepoint costs as much as an event.
            doubtful = self._apply_certain(routes, self._connection.transaction)
        self._fetch_all(doubtful)
        # After the fact: a worker that dies in between leaves them out of the chart, and of nothing else.
        self._ledger.count_applied(self._counts.get("fetched", 0))
        return dict(self._counts)

    # What needs no fetch: in one transaction -----------------------------------------------------------------------

    def _apply_certain(
        self, routes: list[tuple[LedgerEvent, Route]], guard: Callable[[], AbstractContextManager[Any]]
    ) -> dict[_Key, list[str]]:
        """Returns the events in doubt, by the object that must be fetched for them."""
        doubtful: dict[_Key, list[str]] = defaultdict(list)
        ended: dict[tuple[Outcome, str | None], list[str]] = defaultdict(list)
        with self._connection.transaction():
            checked = self._lock_types(way for _, way in routes)
            for event, way in routes:
                if way.object_type is None:
                    ended["refused" if way.action == "refuse" else "skipped", way.reason].append(event.id)
                    continue
                key = (way.object_type.name, way.object_id)
                # What follows an event in doubt is settled by the same fetch; but a deletion is final, and a fetch that finds
                # nothing where no row is would leave no tombstone against updates that come later still.
                waits = key in doubtful and way.action != "delete"
                verdict = "doubtful" if waits else self._apply(event, way, checked[key[0]], guard)
                if verdict == "doubtful":
                    doubtful[key].append(event.id)
                else:
                    ended[verdict, None].append(event.id)
            settled = [(outcome, self._settle(outcome, ids, reason)) for (outcome, reason), ids in ended.items()]
            self._ledger.count_applied(sum(len(ended) for outcome, ended in settled if outcome in ("applied", "older")))
            self._touch_connection([event for event, _ in routes])
        for outcome, events in settled:
            self._count(outcome, events)
        return doubtful

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
                return store.apply_event(
                    way.object_type, way.object_id, way.raw, created=created, checked_until=checked_until
                )
        except Exception as exc:
            if guard is nullcontext or is_lost(exc):
                raise
            return "doubtful"  # what Postgres refuses of an event, it may take of the object; its error is kept

    def _lock_types(self, routes: Iterable[Route]) -> dict[str, int | None]:
        """Always in the registry's order, so that two batches cannot wait for each other. Gives each `checked_until`."""
        names = {way.object_type.name for way in routes if way.object_type}
        types = [object_type for name, object_type in OBJECT_TYPES.items() if name in names]
        for object_type in types:
            self._store.lock_type(object_type)
        return {object_type.name: self._store.checked_until(object_type) for object_type in types}

    def _settle(self, outcome: Outcome, ids: list[str], reason: str | None) -> list[Ended]:
        state: EventState = outcome if outcome in ("skipped", "refused") else "applied"
        return self._ledger.settle(ids, state, reason)

    def _touch_connection(self, events: list[LedgerEvent]) -> None:
        delivered = [event for event in events if event.delivered]
        version = api_version(delivered[-1]) if delivered else None
        self._ledger.touch_connection(events[-1].created, version)

    # What does: no transaction is open while Stripe is asked --------------------------------------------------------

    def _fetch_all(self, doubtful: dict[_Key, list[str]]) -> None:
        keys = list(doubtful)
        if self._connect is None or len(keys) < 2:
            for key in keys:
                self._count(*self._fetch(self._connection, key, doubtful[key]))
            return
        shares = [keys[share::FETCHERS] for share in range(min(FETCHERS, len(keys)))]
        with ThreadPoolExecutor(len(shares)) as pool:
            for found in pool.map(lambda share: self._fetch_share(share, doubtful), shares):
                for outcome, events in found:
                    self._count(outcome, events)

    def _fetch_share(self, share: list[_Key], doubtful: dict[_Key, list[str]]) -> list[tuple[Outcome, list[Ended]]]:
        assert self._connect is not None
        with self._connect() as connection:
            return [self._fetch(connection, key, doubtful[key]) for key in share]

    def _fetch(self, connection: psycopg.Connection, key: _Key, ids: list[str]) -> tuple[Outcome, list[Ended]]:
        type_name, object_id = key
        ledger, store = Ledger(connection, self._team_id), MirrorStore(connection, self._team_id)
        try:
            if type_name in self._refused:
                raise self._refused[type_name]
            # Who failed before does not hold up the others for long.
            source = self._hasty if self._tried.issuperset(ids) else self._source
            refresh(store, source, OBJECT_TYPES[type_name], object_id, advance=True)
        except Exception as exc:
            if is_lost(exc):
                raise
            if isinstance(exc, StripeRejected) and exc.status in _REFUSALS_OF_KEY:
                self._refused[type_name] = exc  # it would say so of each object
            log.warning("event.failed", ids=[loggable(each) for each in ids], reason=loggable_reason(exc))
            return "failed", ledger.postpone(ids, _reason(exc))
        return "fetched", ledger.settle(ids, "applied")

    def _count(self, outcome: Outcome, events: list[Ended]) -> None:
        self._counts[outcome] += len(events)
        self._report(outcome, events)


def _reason(exc: Exception) -> str:
    """For the team's own eyes: Stripe's sentence, Postgres', or that it is our mistake."""
    if isinstance(exc, StripeError):
        return exc.message
    return reason_of(exc) if isinstance(exc, REFUSALS) else "BillStack itself failed at this event."
