"""Applies the events of one team's ledger to its mirror, in batches.

What an event says was true at its second. Where that leaves doubt (the row overlaps in time and differs, the event is in
another API version, a nested list was cut), the object is fetched instead, once for all events of the batch that doubt it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
import psycopg
import structlog

from sync.errors import StripeError, StripeRejected
from sync.json_text import mended
from sync.ledger import Delivered, Ended, EventState, Ledger, LedgerEvent
from sync.object_types import OBJECT_TYPES, ObjectType, head_decoder, is_cut
from sync.refresh import refresh
from sync.sdk import API_VERSION
from sync.source import Source
from sync.store import REFUSALS, MirrorStore, reason_of

BATCH_SIZE = 200
# Of one batch at the same time; the budget holds them back where need be.
FETCHERS = 8
_REFUSALS_OF_KEY = (401, 403)

log = structlog.get_logger()

# What became of events: applied as they were, older than the row, settled by a fetch, or one of the ledger's states.
Outcome = Literal["applied", "older", "fetched", "skipped", "refused", "failed"]
Report = Callable[[Outcome, list[Ended]], None]
Connect = Callable[[], AbstractContextManager[psycopg.Connection]]


class _RelatedObject(msgspec.Struct):
    id: str
    type: str


class _EventData(msgspec.Struct):
    object: msgspec.Raw


class _Event(msgspec.Struct):
    """What of an event decides its way. Thin events (v2.core.event) name an object and carry none."""

    id: str
    livemode: bool = False
    account: str | None = None
    api_version: str | None = None
    data: _EventData | None = None
    related_object: _RelatedObject | None = None


class _ObjectHead(msgspec.Struct):
    object: str
    id: str | None = None


class _LedgerHead(msgspec.Struct):
    """`created` is in seconds; thin events write it as ISO 8601."""

    id: str
    type: str
    created: int | datetime

    @property
    def second(self) -> int:
        return self.created if isinstance(self.created, int) else int(self.created.timestamp())


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The mirrored account: events of another one, or of the other mode, are refused."""

    account_id: str
    livemode: bool


@dataclass(frozen=True, slots=True)
class Route:
    """What is to be done with an event: apply its raw, fetch the object, or nothing, for `reason`."""

    action: Literal["apply", "delete", "fetch", "skip", "refuse"]
    object_type: ObjectType | None = None
    object_id: str = ""
    raw: bytes = b""
    reason: str | None = None


def route(event: LedgerEvent, mirrored: Mirrored) -> Route:
    """By `data.object.object`, never by the event's name: customer.source.deleted is about no customer."""
    head = msgspec.json.decode(event.body, type=_Event)
    if head.livemode != mirrored.livemode or (head.account or mirrored.account_id) != mirrored.account_id:
        return Route("refuse", reason="the event is of another account or mode than the connection")
    if head.related_object and (object_type := OBJECT_TYPES.get(head.related_object.type.removeprefix("v1."))):
        return Route("fetch", object_type, head.related_object.id)
    if head.data is None:
        return Route("skip", reason="the event carries no object")
    raw = bytes(head.data.object)
    about = msgspec.json.decode(raw, type=_ObjectHead)
    if about.object not in OBJECT_TYPES:
        return Route("skip", reason=f"objects of type {about.object} are not mirrored")
    object_type = OBJECT_TYPES[about.object]
    if about.id is None:
        return Route("skip", reason="the object has no id")  # invoice.upcoming is a preview
    # A subscription that ends is still there, canceled; the event of the others' end is named after their type.
    if event.type == f"{object_type.name}.deleted":
        return Route("delete", object_type, about.id, raw)
    # Another API version's shape would not be what our pages write.
    if head.api_version != API_VERSION or not _is_whole(object_type, raw):
        return Route("fetch", object_type, about.id)
    return Route("apply", object_type, about.id, raw)


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


def read_delivered(team_id: str, body: bytes) -> Delivered:
    """Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError for what is no event."""
    try:
        head = msgspec.json.decode(body, type=_LedgerHead)
    except msgspec.DecodeError:
        body = mended(body)
        head = msgspec.json.decode(body, type=_LedgerHead)
    return Delivered(team_id, head.id, head.type, head.second, body.decode())


def record_event(ledger: Ledger, body: bytes, *, delivered: bool) -> bool:
    """False when it was known already. Raises msgspec.DecodeError or UnicodeDecodeError for what is no event."""
    event = read_delivered(ledger.team_id, body)
    return ledger.record(event.id, event.type, event.created, event.body, delivered=delivered)


def record_events(ledger: Ledger, bodies: Iterable[bytes]) -> int:
    """Puts events that we read from Stripe into the ledger, in one transaction; returns how many were new."""
    with ledger.connection.transaction():
        return sum(record_event(ledger, body, delivered=False) for body in bodies)


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
        routes = [(event, self._route(event)) for event in events]
        try:
            doubtful = self._apply_certain(routes, nullcontext)
        except REFUSALS:
            # Postgres refuses one of them; each on its own then, for a savepoint costs as much as an event.
            doubtful = self._apply_certain(routes, self._connection.transaction)
        self._fetch_all(doubtful)
        # After the fact: a worker that dies in between leaves them out of the chart, and of nothing else.
        self._ledger.count_applied(self._counts.get("fetched", 0))
        return dict(self._counts)

    def _route(self, event: LedgerEvent) -> Route:
        try:
            return route(event, self._mirrored)
        except (msgspec.DecodeError, RecursionError) as exc:  # how deep is too deep depends on who called
            return Route("skip", reason=f"the event could not be read: {exc}")

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
        except REFUSALS:
            if guard is nullcontext:
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
        version = _api_version(delivered[-1]) if delivered else None
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
        except (StripeError, *REFUSALS) as exc:
            reason = exc.message if isinstance(exc, StripeError) else reason_of(exc)
            if isinstance(exc, StripeRejected) and exc.status in _REFUSALS_OF_KEY:
                self._refused[type_name] = exc  # it would say so of each object
            log.warning("event.failed", ids=ids, reason=reason)
            return "failed", ledger.postpone(ids, reason)
        return "fetched", ledger.settle(ids, "applied")

    def _count(self, outcome: Outcome, events: list[Ended]) -> None:
        self._counts[outcome] += len(events)
        self._report(outcome, events)


def _api_version(event: LedgerEvent) -> str | None:
    try:
        return msgspec.json.decode(event.body, type=_Event).api_version
    except (msgspec.DecodeError, RecursionError):
        return None


def _is_whole(object_type: ObjectType, raw: bytes) -> bool:
    """False also for a shape in which that cannot be read."""
    try:
        return not is_cut(object_type, head_decoder(object_type.name).decode(raw))
    except msgspec.DecodeError:
        return False
