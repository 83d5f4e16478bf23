"""Reads the parts of an event that decide how it is handled. The reasons given here never quote the event."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import msgspec

from sync.bounds import CLOCK_LEEWAY_S, is_api_version, is_event_id, is_event_type, is_object_id, is_second, loggable
from sync.event_types import is_accompanied, named_by
from sync.events.ledger import Delivered, LedgerEvent
from sync.json_text import repair_surrogates
from sync.object_types import (
    BY_STRIPE_OBJECT,
    DEFAULT_TYPES,
    ObjectType,
    head_decoder,
    is_cut,
    is_orphan,
    lacks_expanded,
)
from sync.stripe.sdk import API_VERSION

# Raised for a body that is no event or that our tables refuse. How deep is too deep depends on the caller.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _RelatedObject(msgspec.Struct):
    id: str
    type: str


class _EventData(msgspec.Struct):
    object: msgspec.Raw
    previous_attributes: msgspec.Raw = msgspec.Raw(b"")


class _Event(msgspec.Struct):
    """The parts of an event that decide its route. Thin events (v2.core.event) name an object but carry none."""

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
    """`created` is in seconds. Thin events write it as ISO 8601."""

    id: str
    type: str
    created: int | datetime

    @property
    def second(self) -> int:
        if isinstance(self.created, int):
            return self.created
        return int(self.created.replace(tzinfo=self.created.tzinfo or UTC).timestamp())


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The mirrored account. Events of another account or mode are refused; those about other `types` are skipped."""

    account_id: str
    livemode: bool
    types: Collection[str] = DEFAULT_TYPES
    api_version: str = API_VERSION


@dataclass(frozen=True, slots=True)
class Route:
    """How to handle an event: apply its raw, fetch the object, or do nothing, with the `reason`.

    `named` are objects that the event changes without carrying them, by type and id. Each is fetched unless its row is
    newer than the event. With `is_accompanied`, a row as new as the event is enough.
    """

    action: Literal["apply", "delete", "fetch", "skip", "refuse"]
    object_type: ObjectType | None = None
    object_id: str = ""
    raw: bytes = b""
    reason: str | None = None
    named: tuple[tuple[str, str], ...] = ()
    is_accompanied: bool = False


def read_delivered(team_id: str, body: bytes) -> Delivered:
    """Raises one of UNREADABLE if it is no event, or if its id, type or time is impossible for an event of Stripe."""
    try:
        head = msgspec.json.decode(body, type=_LedgerHead)
    except msgspec.DecodeError:
        body = repair_surrogates(body)
        head = msgspec.json.decode(body, type=_LedgerHead)
    if not (is_event_id(head.id) and is_event_type(head.type) and is_second(head.second)):
        raise msgspec.ValidationError("the id, type or time is impossible for an event of Stripe")
    return Delivered(team_id, head.id, head.type, head.second, body.decode())


def route(event: LedgerEvent, mirrored: Mirrored, *, clock: Callable[[], float] = time.time) -> Route:
    """Decides by `data.object.object`, never by the event's name: customer.source.deleted is not about a customer."""
    try:
        way = _route(event, mirrored)
    except UNREADABLE:
        return Route("skip", reason="the event could not be read")
    if not is_second(event.created):  # recorded by a version that did not check
        return Route("skip", reason="the event's time lies outside the years 1970 to 9999")
    if way.object_type is None:
        return way
    if not is_object_id(way.object_id):
        return replace(_NO_ID, named=way.named)
    if event.created > clock() + CLOCK_LEEWAY_S:
        # A row as of that second would be newer than everything else. A fetch shows the object's present state.
        return Route("fetch", way.object_type, way.object_id, named=way.named)
    return way


_NO_ID = Route("skip", reason="the object's id is empty, too long or has control characters")


def _route(event: LedgerEvent, mirrored: Mirrored) -> Route:
    head = msgspec.json.decode(event.body, type=_Event)
    if head.livemode != mirrored.livemode or (head.account or mirrored.account_id) != mirrored.account_id:
        return Route("refuse", reason="the event belongs to another account or mode than the connection")
    if head.related_object and (object_type := _mirrored_type(head.related_object.type.removeprefix("v1."), mirrored)):
        return Route("fetch", object_type, head.related_object.id)
    if head.data is None:
        return Route("skip", reason="the event carries no object")
    raw = bytes(head.data.object)
    about = msgspec.json.decode(raw, type=_ObjectHead)
    way = _own_route(event, head, about, raw, _mirrored_type(about.object, mirrored), mirrored.api_version)
    named = named_by(about.object, raw, bytes(head.data.previous_attributes))
    return replace(way, named=named, is_accompanied=is_accompanied(about.object, event.type)) if named else way


def _mirrored_type(stripe_object: str, mirrored: Mirrored) -> ObjectType | None:
    object_type = BY_STRIPE_OBJECT.get(stripe_object)
    return object_type if object_type and object_type.name in mirrored.types else None


def _own_route(
    event: LedgerEvent, head: _Event, about: _ObjectHead, raw: bytes, object_type: ObjectType | None, version: str
) -> Route:
    if object_type is None:
        return Route("skip", reason=f"objects of type {loggable(about.object)} are not mirrored")
    if about.id is None:
        return Route("skip", reason="the object has no id")  # invoice.upcoming is a preview
    if event.type == object_type.deleted_by:
        return Route("delete", object_type, about.id, raw)
    # Another API version has another shape than our pages.
    if head.api_version != version or not _is_whole(object_type, raw):
        return Route("fetch", object_type, about.id)
    return Route("apply", object_type, about.id, raw)


def api_version(event: LedgerEvent) -> str | None:
    """None also if Stripe could have no such version."""
    try:
        version = msgspec.json.decode(event.body, type=_Event).api_version
    except UNREADABLE:
        return None
    return version if version and is_api_version(version) else None


def _is_whole(object_type: ObjectType, raw: bytes) -> bool:
    """False also if the shape does not show it."""
    try:
        head = head_decoder(object_type.name).decode(raw)
        return not (is_cut(object_type, head) or is_orphan(object_type, head) or lacks_expanded(object_type, raw))
    except msgspec.DecodeError:
        return False
