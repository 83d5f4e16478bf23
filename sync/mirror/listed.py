"""Mirrors the objects of a list that was read outside of a backfill's windows."""

from collections.abc import Collection

from sync.mirror.refresh import refresh_or_reject
from sync.mirror.store import REFUSALS, MirrorStore
from sync.object_types import ObjectType
from sync.stripe.answers import Answer
from sync.stripe.pages import Page
from sync.stripe.source import Source


def mirror_listed(
    store: MirrorStore,
    source: Source,
    object_type: ObjectType,
    page: Page,
    *,
    parent_id: str = "",
    only: Collection[str] | None = None,
) -> int:
    """Writes the page's objects, or `only` those with these ids. Returns how many rows it wrote."""
    if only is not None and not only:
        return 0
    written, cut = 0, set(page.cut_ids(object_type))
    for head, raw in zip(page.heads, page.raw_objects(), strict=True):
        if only is not None and head.id not in only:
            continue
        answer = Answer(raw, page.answer.as_of, page.answer.as_of_until)
        verdict = "changed" if head.id in cut else _put(store, object_type, head.id, answer)
        if verdict == "changed":  # a list that Stripe cut, a row that may be newer, or what Postgres refuses
            refresh_or_reject(store, source, object_type, head.id, parent_id=parent_id)
        written += verdict != "equal"
    return written


def _put(store: MirrorStore, object_type: ObjectType, object_id: str, answer: Answer) -> str:
    try:
        return store.put_fetched(object_type, object_id, answer, version=None)
    except REFUSALS:
        return "changed"
