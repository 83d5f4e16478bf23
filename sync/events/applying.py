"""Applies the events in one team's ledger to its mirror, in batches.

An event's object was true at the event's second. Sometimes that leaves doubt: the row overlaps in time and differs, the
event has another API version, or a nested list was cut. Then the object is fetched, once for all events of the batch
that need it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import psycopg
import structlog

from sync.database.borrowing import Connect
from sync.error_text import loggable_reason
from sync.errors import StripeRejected
from sync.events.certain import Routed, apply_certain
from sync.events.fetches import EventFetches, Key
from sync.events.ledger import Delivered, Ended, Ledger
from sync.events.routing import UNREADABLE, Mirrored, read_delivered, route
from sync.mirror.store import REFUSALS
from sync.stripe.source import Source
from sync.teams.mirrored_types import MirroredTypes

BATCH_SIZE = 200

log = structlog.get_logger()

# An event's end: applied unchanged, older than the row, settled by a fetch, or one of the ledger's states.
EventOutcome = Literal["applied", "older", "fetched", "skipped", "refused", "failed"]
Report = Callable[[EventOutcome, list[Ended]], None]


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch did: the number of events by outcome.

    `is_last`: no more were due. An event that is recorded afterwards wakes its team again.
    """

    outcomes: dict[EventOutcome, int]
    is_last: bool


def apply_next(
    connection: psycopg.Connection,
    team_id: str,
    source: Source,
    mirrored: Mirrored,
    *,
    connect: Connect | None = None,
    report: Report = lambda *_: None,
    refused: StripeRejected | None = None,
) -> Applied:
    """Applies up to BATCH_SIZE due events. The connection must be in autocommit mode.

    Raises no StripeError: events whose object could not be fetched are stored as failed, with the reason. `connect`
    opens further connections in autocommit mode; with it, objects are fetched side by side. `refused` says that Stripe
    refuses the key: then everything that needs a fetch fails without a request.
    """
    return _Batch(connection, team_id, source, mirrored, connect, report, refused).run()


def apply_batch(
    connection: psycopg.Connection,
    team_id: str,
    source: Source,
    mirrored: Mirrored,
    *,
    connect: Connect | None = None,
    report: Report = lambda *_: None,
) -> dict[EventOutcome, int]:
    """Like apply_next. Returns only the number of events by outcome; empty if none was due."""
    return apply_next(connection, team_id, source, mirrored, connect=connect, report=report).outcomes


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
        self._counts: dict[EventOutcome, int] = defaultdict(int)

    def run(self) -> Applied:
        # The types are read after the events, so that an event from after a type was mirrored finds the type here.
        added = MirroredTypes(self._connection, self._team_id).call()
        events, types = self._ledger.claim_and_read(BATCH_SIZE, added)
        if events:
            mirrored = replace(self._mirrored, types=MirroredTypes.names_of(types))
            self._apply([(event, route(event, mirrored)) for event in events])
        return Applied(dict(self._counts), is_last=len(events) < BATCH_SIZE)

    def _apply(self, routes: list[Routed]) -> None:
        certain = apply_certain(self._connection, self._team_id, routes)
        for outcome, ended in certain.settled:
            self._count(outcome, ended)
        if certain.doubtful:
            self._fetch(certain.doubtful, tried=frozenset(event.id for event, _ in routes if event.attempts > 1))

    def _fetch(self, doubtful: Mapping[Key, list[str]], *, tried: frozenset[str]) -> None:
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

    def _count(self, outcome: EventOutcome, events: list[Ended]) -> None:
        self._counts[outcome] += len(events)
        self._report(outcome, events)
