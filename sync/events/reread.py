"""Lists the newest objects of types that Stripe sends no events for, or not for every change.

What changes later, such as a balance transaction that becomes available, is found by the daily comparison.
"""

from collections.abc import Callable, Iterator

import psycopg
import structlog

from sync.error_text import loggable_reason
from sync.errors import CursorLost, StripeRejected
from sync.mirror.refresh import refresh_or_reject
from sync.mirror.store import REFUSALS, MirrorStore
from sync.object_types import ObjectType
from sync.stripe.answers import Answer
from sync.stripe.lists import END_OF_CREATED, created_filter
from sync.stripe.pages import Page
from sync.stripe.source import Source
from sync.teams.mirrored_types import MirroredTypes

# Stripe lists an object a little after its second.
OVERLAP_S = 600
_FORBIDDEN = 403

log = structlog.get_logger()


def reread(connection: psycopg.Connection, team_id: str, source: Source, *, is_over: Callable[[], bool]) -> int:
    """Returns how many rows it wrote. The connection must be in autocommit mode. Raises StripeError.

    A type that the key may not read holds up no other; the backfill that named it has told of the missing permission.
    """
    types, written = MirroredTypes(connection, team_id), 0
    for object_type, until in types.to_reread():
        if is_over():
            break
        try:
            for page in _pages(source, object_type, until - OVERLAP_S):
                written += _write(MirrorStore(connection, team_id), source, object_type, page)
                until = max(until, page.answer.as_of)
        except CursorLost:
            continue  # the next time reads from the same second
        except StripeRejected as exc:
            if exc.status != _FORBIDDEN:
                raise
            log.warning("type.not_reread", type=object_type.name, reason=loggable_reason(exc))
            continue
        types.set_reread(object_type, until)
    return written


def _pages(source: Source, object_type: ObjectType, start: int) -> Iterator[Page]:
    for variant in object_type.variants:
        params: dict[str, str | int] = {**variant}
        if object_type.is_by_time:
            params |= created_filter(start, END_OF_CREATED)
        while True:
            page = source.page(object_type, params)
            yield page
            if not page.has_more or page.cursor is None:
                break
            params["starting_after"] = page.cursor


def _write(store: MirrorStore, source: Source, object_type: ObjectType, page: Page) -> int:
    written, cut = 0, set(page.cut_ids(object_type))
    for head, raw in zip(page.heads, page.raw_objects(), strict=True):
        answer = Answer(raw, page.answer.as_of, page.answer.as_of_until)
        verdict = "changed" if head.id in cut else _put(store, object_type, head.id, answer)
        if verdict == "changed":  # a list that Stripe cut, a row that may be newer, or what Postgres refuses
            refresh_or_reject(store, source, object_type, head.id)
        written += verdict != "equal"
    return written


def _put(store: MirrorStore, object_type: ObjectType, object_id: str, answer: Answer) -> str:
    try:
        return store.put_fetched(object_type, object_id, answer, version=None)
    except REFUSALS:
        return "changed"
