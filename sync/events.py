"""Applies the events of one team's ledger to its mirror, in batches.

What an event says was true at its second. Where that leaves doubt (the row overlaps in time and differs, the event is in
another API version, a nested list was cut), the object is fetched instead, once for all events of the batch that doubt it.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec
import psycopg
import structlog

from sync.caller import API_VERSION
from sync.errors import StripeError
from sync.ledger import EventState, Ledger, LedgerEvent
from sync.object_types import OBJECT_TYPES, ObjectType, head_struct
from sync.refresh import refresh
from sync.source import Source, is_cut
from sync.store import MirrorStore

BATCH_SIZE = 200

log = structlog.get_logger()


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
    id: str
    type: str
    created: int


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
    # `is_cut` needs the nested lists; another API version's shape would not be what our pages write.
    if head.api_version != API_VERSION or is_cut(object_type, msgspec.json.decode(raw, type=head_struct(object_type))):
        return Route("fetch", object_type, about.id)
    return Route("apply", object_type, about.id, raw)


def apply_batch(connection: psycopg.Connection, team_id: str, source: Source, mirrored: Mirrored) -> dict[str, int]:
    """Applies up to BATCH_SIZE due events. Returns how many came to which end; empty when none was due.

    Raises nothing of Stripe's: events whose object could not be fetched are kept as failed, with the reason.
    """
    ledger = Ledger(connection, team_id)
    events = ledger.claim(BATCH_SIZE)
    outcomes: dict[str, int] = defaultdict(int)
    routes = [(event, _safe_route(event, mirrored)) for event in events]
    doubtful = _apply(connection, team_id, routes, outcomes)
    store = MirrorStore(connection, team_id)
    for (type_name, object_id), ids in doubtful.items():
        try:
            refresh(store, source, OBJECT_TYPES[type_name], object_id)
            ledger.settle(ids, "applied")
            outcomes["fetched"] += len(ids)
        except (StripeError, psycopg.DataError) as exc:
            log.warning("event.failed", ids=ids, reason=str(exc))
            ledger.postpone(ids, str(exc))
            outcomes["failed"] += len(ids)
    return dict(outcomes)


Doubtful = dict[tuple[str, str], list[str]]


def _apply(
    connection: psycopg.Connection,
    team_id: str,
    routes: list[tuple[LedgerEvent, Route]],
    outcomes: dict[str, int],
) -> Doubtful:
    """All that needs no fetch, in one transaction; returns the events by the object that must be fetched for them."""
    ledger, store = Ledger(connection, team_id), MirrorStore(connection, team_id)
    doubtful: Doubtful = defaultdict(list)
    with connection.transaction():
        checked = _lock_types(store, [route for _, route in routes])
        for event, way in routes:
            if way.object_type is None:
                state: EventState = "refused" if way.action == "refuse" else "skipped"
                ledger.settle([event.id], state, way.reason)
                outcomes[state] += 1
                continue
            key = (way.object_type.name, way.object_id)
            if key in doubtful or not _apply_one(store, event, way, checked[way.object_type.name]):
                doubtful[key].append(event.id)
            else:
                ledger.settle([event.id], "applied")
                outcomes["applied"] += 1
    return doubtful


def _apply_one(store: MirrorStore, event: LedgerEvent, way: Route, checked_until: int | None) -> bool:
    """False: the object must be fetched."""
    assert way.object_type is not None
    if way.action == "fetch":
        return False
    try:
        with store.connection.transaction():
            if way.action == "delete":
                verdict = store.apply_deletion(way.object_type, way.object_id, way.raw, created=event.created)
            else:
                verdict = store.apply_event(
                    way.object_type, way.object_id, way.raw, created=event.created, checked_until=checked_until
                )
    except psycopg.DataError:
        return False  # what Postgres refuses of an event, it may take of the object; the fetch's error is kept
    return verdict != "doubtful"


def _lock_types(store: MirrorStore, routes: Iterable[Route]) -> dict[str, int | None]:
    """Always in the registry's order, so that two batches cannot wait for each other. Gives each type's checked_until."""
    names = {route.object_type.name for route in routes if route.object_type}
    types = [object_type for name, object_type in OBJECT_TYPES.items() if name in names]
    for object_type in types:
        store.lock_type(object_type)
    return {object_type.name: store.checked_until(object_type) for object_type in types}


def _safe_route(event: LedgerEvent, mirrored: Mirrored) -> Route:
    try:
        return route(event, mirrored)
    except msgspec.DecodeError as exc:
        return Route("skip", reason=f"the event could not be read: {exc}")


def record_events(ledger: Ledger, bodies: Iterable[bytes]) -> int:
    """Puts events into the ledger, in one transaction; returns how many were new. Raises msgspec.DecodeError."""
    with ledger.connection.transaction():
        heads = [(msgspec.json.decode(body, type=_LedgerHead), body) for body in bodies]
        return sum(ledger.record(head.id, head.type, head.created, body.decode()) for head, body in heads)
