"""Writes one page of a window in one transaction. If Postgres refuses it, writes it object by object."""

import contextlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import structlog
from psycopg import errors

from sync.bounds import loggable
from sync.error_text import loggable_reason
from sync.mirror.page_parts import page_of_one
from sync.mirror.shared_seconds import SharedSeconds, shared_seconds
from sync.mirror.store import REFUSALS, MirrorStore, PageToWrite, WindowKey, WrittenPage, reason_of, window_lost
from sync.object_types import ObjectType
from sync.stripe.answers import Answer
from sync.stripe.odd_objects import OddObject
from sync.stripe.pages import Page

# Two writers of one type may meet the same rows where windows touch. The one that Postgres stops tries again.
_DEADLOCK_ATTEMPTS = 5

log = structlog.get_logger()


def write_page(
    store: MirrorStore, object_type: ObjectType, key: WindowKey, page: PageToWrite, objects: "SplitPage"
) -> WrittenPage:
    """Commits rows, seen, count and checkpoint together.

    Raises LeaseLost if another worker holds the window now, or if Postgres has lost the page before this one.

    One bad object does not stop a type. If Postgres refuses a page (a NUL in a text, one id twice), each object is
    written by itself. Objects that still fail go to the table of rejects.
    """
    for _ in range(_DEADLOCK_ATTEMPTS):
        try:
            return _write_whole(store, object_type, key, page)
        except errors.DeadlockDetected:
            log.info("page.deadlocked", window=key.number)
        except (*REFUSALS, errors.CardinalityViolation) as exc:
            log.warning("page.refused", window=key.number, reason=loggable_reason(exc))
            break
    return _write_one_by_one(store, object_type, key, page, objects)


def as_mirrored(
    object_type: ObjectType,
    page: Page,
    completed: Mapping[str, Answer],
    *,
    lt: int,
    starting_after: str | None,
    ended_in: int | None,
    known_prices: AbstractSet[str],
) -> PageToWrite:
    """Prepares a page of a window that ends before `lt`, with the answers that complete its cut lists.

    `starting_after` is the cursor with which it was requested, the last object of the page before, which ended in the
    second `ended_in`. `known_prices` are recorded already.
    """
    created = [head.created for head in page.heads if head.created < lt]
    bodies = {object_id: answer.body for object_id, answer in completed.items()}
    return PageToWrite(
        body=page.answer.body,
        as_of=page.answer.as_of,
        as_of_until=max([page.answer.as_of_until, *(answer.as_of_until for answer in completed.values())]),
        has_more=page.has_more,
        starting_after=starting_after,
        cursor=page.cursor,
        newest=created[0] if created else None,
        oldest=created[-1] if created else None,
        completed=bodies,
        named_prices=sorted(page.named_prices(object_type, bodies) - known_prices),
        shared=shared_seconds(page.heads, cursor=page.cursor, after=starting_after, ended_in=ended_in),
    )


def keep_order(store: MirrorStore, object_type: ObjectType, shared: SharedSeconds | None) -> None:
    """Nothing if Postgres refuses an id: that object is not mirrored."""
    if shared is not None:
        with contextlib.suppress(*REFUSALS), store.connection.transaction():
            store.keep_order(object_type, shared)


def reject_all(store: MirrorStore, object_type: ObjectType, odd: Sequence[OddObject]) -> None:
    """Records the objects that were left out of the page, and why."""
    for object_id, reason in odd:
        log.warning("object.rejected", type=object_type.name, id=loggable(object_id), reason=reason)
        store.reject(object_type, object_id, reason)


class SplitPage:
    """A page's objects one by one, as (id, raw) in the page's order. Only made if the page was refused."""

    def __init__(self, heads: list[Any], raws: Any) -> None:
        self._heads = heads
        self._raws = raws

    def each(self) -> list[tuple[str, bytes]]:
        return [(head.id, raw) for head, raw in zip(self._heads, self._raws(), strict=True)]


def _write_whole(store: MirrorStore, object_type: ObjectType, key: WindowKey, page: PageToWrite) -> WrittenPage:
    return _unless_lost(store.mirror_page_alone(object_type, key, page), key)


def _write_one_by_one(
    store: MirrorStore, object_type: ObjectType, key: WindowKey, page: PageToWrite, objects: SplitPage
) -> WrittenPage:
    """Writes each object as a page that does not end the window, then an empty page that does."""
    counted = 0
    overlapping: list[str] = []
    with store.connection.transaction():
        store.page_settings()
        if not store.lock_window(object_type, key):
            raise window_lost(key)
        for object_id, raw in objects.each():
            body, own = page_of_one(object_id, raw, page.completed)
            single = replace(
                page, body=body, has_more=True, cursor=None, oldest=None, completed=own, named_prices=(), pages=0
            )
            try:
                with store.connection.transaction():
                    written = _unless_lost(store.mirror_page(object_type, key, single), key)
            except REFUSALS as exc:
                log.warning("object.rejected", type=key.type, id=loggable(object_id), reason=loggable_reason(exc))
                store.reject(object_type, object_id, reason_of(exc))
                continue
            counted += written.counted
            overlapping += written.overlapping
        keep_order(store, object_type, page.shared)
        _unless_lost(store.mirror_page(object_type, key, replace(page, body=b'{"data":[]}', completed={})), key)
    return WrittenPage(counted, overlapping)


def _unless_lost(written: WrittenPage | None, key: WindowKey) -> WrittenPage:
    if written is None:
        raise window_lost(key)
    return written
