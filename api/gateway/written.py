"""Brings what a forwarded request changed into the mirror before its answer goes out, so that a read finds it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec
import psycopg
import structlog

from api.gateway import plans
from api.gateway.decision import collection_at
from sync.errors import BillStackError
from sync.mirror.refresh import refresh
from sync.mirror.store import MirrorStore
from sync.object_types import (
    BY_STRIPE_OBJECT,
    OBJECT_TYPES,
    ObjectType,
    head_decoder,
    is_cut,
    is_orphan,
    lacks_expanded,
    parent_of,
)
from sync.stripe.answers import Answer, moments
from sync.stripe.curl import HttpAnswer
from sync.stripe.source import Source

log = structlog.get_logger()

# Parameters are right and the request failed all the same: a card was declined. Attempts leave their traces.
PAYMENT_FAILED = 402
# What the preview of an invoice has as id. It exists nowhere.
_PREVIEW = "upcoming_in"


class _Head(msgspec.Struct):
    id: str
    object: str
    deleted: bool = False


class _Error(msgspec.Struct):
    payment_intent: _Head | None = None
    setup_intent: _Head | None = None


class _Failure(msgspec.Struct):
    error: _Error


@dataclass(frozen=True, slots=True)
class Before:
    """The row that a request may change, as it was before: its type, id and version."""

    object_type: ObjectType
    object_id: str
    version: str | None


def look(store: MirrorStore, path: str, mirrored: Collection[str]) -> Before | None:
    """None: the address names no object of a mirrored type."""
    object_type, rest = collection_at(_of_price(path))
    if object_type is None or object_type.name not in mirrored or not rest:
        return None
    return Before(object_type, rest[0], store.version(object_type, rest[0]))


def _of_price(path: str) -> str:
    """A plan's address as that of its price: the two are one object in two shapes."""
    return path.replace(plans.PATH, OBJECT_TYPES["price"].path, 1) if path.startswith(f"{plans.PATH}/") else path


def bring_in(
    store: MirrorStore,
    open_source: Callable[[], Source],
    before: Before | None,
    answer: HttpAnswer,
    *,
    mirrored: Collection[str],
    elapsed_s: float,
    is_ours: bool,
) -> bool:
    """Returns False if the mirror is behind. The object's event then brings the change.

    `is_ours`: the answer has the mirror's version and nothing expanded, so it can be kept as it is.
    """
    if answer.status == PAYMENT_FAILED:
        return _bring_in_failed(store, open_source, before, answer, mirrored)
    head = _head(answer.body)
    is_plan = head is not None and head.object == "plan"
    object_type = OBJECT_TYPES["price"] if is_plan else BY_STRIPE_OBJECT.get(head.object) if head else None
    if head is None or object_type is None or object_type.name not in mirrored or head.id.startswith(_PREVIEW):
        return True
    try:
        _put(
            store, open_source, before, answer, head, object_type, elapsed_s=elapsed_s, is_ours=is_ours and not is_plan
        )
    except (psycopg.Error, BillStackError) as exc:
        log.warning("gateway.behind", type=object_type.name, reason=type(exc).__name__)
        return False
    return True


def _bring_in_failed(
    store: MirrorStore,
    open_source: Callable[[], Source],
    before: Before | None,
    answer: HttpAnswer,
    mirrored: Collection[str],
) -> bool:
    """What the address and the error name has changed, although Stripe refused."""
    touched: dict[tuple[str, str], ObjectType] = {}
    for head in _intents(answer.body):
        if object_type := BY_STRIPE_OBJECT.get(head.object):
            touched[object_type.name, head.id] = object_type
    if before:
        touched[before.object_type.name, before.object_id] = before.object_type
    try:
        for (name, object_id), object_type in touched.items():
            if name in mirrored:
                refresh(store, open_source(), object_type, object_id, advance=True)
    except (psycopg.Error, BillStackError) as exc:
        log.warning("gateway.behind", reason=type(exc).__name__)
        return False
    return True


def _intents(body: bytes) -> list[_Head]:
    try:
        error = msgspec.json.decode(body, type=_Failure).error
    except msgspec.DecodeError:
        return []
    return [head for head in (error.payment_intent, error.setup_intent) if head]


def _put(
    store: MirrorStore,
    open_source: Callable[[], Source],
    before: Before | None,
    answer: HttpAnswer,
    head: _Head,
    object_type: ObjectType,
    *,
    elapsed_s: float,
    is_ours: bool,
) -> None:
    version = before.version if before and before.object_id == head.id and before.object_type is object_type else None
    fetched = Answer(b"" if head.deleted else answer.body, *moments(answer.headers, elapsed_s))
    if head.deleted:
        if version is not None and store.put_deleted(object_type, head.id, fetched, version=version):
            return
        # Also where there is no row: an event from before the deletion would make one of a living object.
        if version is None and _bury(store, object_type, head.id, answer.body, fetched):
            return
    elif is_ours and _is_whole(object_type, answer.body):
        # Its time stands also on an equal row, so that an event from before it is older.
        verdict = store.put_fetched(object_type, head.id, fetched, version=version, advance=True)
        if verdict != "changed":
            return
    parent_id = _parent_of(object_type, answer.body)
    refresh(store, open_source(), object_type, head.id, advance=True, parent_id=parent_id)


def _bury(store: MirrorStore, object_type: ObjectType, object_id: str, body: bytes, deleted: Answer) -> bool:
    return store.apply_deletion(object_type, object_id, body, created=deleted.as_of) == "applied"


def _head(body: bytes) -> _Head | None:
    try:
        return msgspec.json.decode(body, type=_Head)
    except msgspec.DecodeError:
        return None


def _is_whole(object_type: ObjectType, body: bytes) -> bool:
    """Whether the answer has all that the mirror holds, and belongs into it."""
    found = head_decoder(object_type.name).decode(body)
    return not (is_cut(object_type, found) or is_orphan(object_type, found) or lacks_expanded(object_type, body))


def _parent_of(object_type: ObjectType, body: bytes) -> str:
    """Empty for the answer to a deletion, which says nothing more."""
    try:
        return parent_of(object_type, body) if object_type.parent else ""
    except msgspec.DecodeError:
        return ""
