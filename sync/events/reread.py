"""Lists the newest objects of types that Stripe sends no events for, or not for every change.

Of a type that is listed by parent, it reads the parents that have changed: a customer balance transaction changes its
customer's balance. What changes later, such as a balance transaction that becomes available, is found by the daily
comparison. It also reads what a payout is made of, once Stripe knows it.
"""

from collections.abc import Callable, Iterator

import psycopg
import structlog

from sync.error_text import loggable_reason
from sync.errors import CursorLost, StripeRejected
from sync.mirror.listed import mirror_listed
from sync.mirror.page_writer import keep_order
from sync.mirror.parents import ParentStore
from sync.mirror.payouts import PAYOUT, TRANSACTION, PayoutStore, read_payout
from sync.mirror.shared_seconds import SharedSeconds, shared_in_pages, shared_seconds
from sync.mirror.store import MirrorStore
from sync.object_types import ObjectType
from sync.stripe.lists import END_OF_CREATED, created_filter
from sync.stripe.pages import Page
from sync.stripe.source import Source
from sync.teams.mirrored_types import MirroredTypes

# Stripe lists an object a little after its second.
OVERLAP_S = 600
# Changed parents are found by our own clock, which may differ from Stripe's a little.
_CLOCKS_APART_S = 60
# Each costs a request. The next time continues where this one stops.
MOST_PARENTS = 200
MOST_PAYOUTS = 200
_FORBIDDEN = 403

log = structlog.get_logger()


def reread(connection: psycopg.Connection, team_id: str, source: Source, *, is_over: Callable[[], bool]) -> int:
    """Returns how many rows it wrote. The connection must be in autocommit mode. Raises StripeError.

    A type that the key may not read holds up no other; the backfill that named it has told of the missing permission.
    """
    types, rereading = MirroredTypes(connection, team_id), _Rereading(connection, team_id, source)
    for object_type, until in types.to_reread():
        if is_over():
            break
        try:
            read = rereading.parents if object_type.parent else rereading.newest
            types.set_reread(object_type, read(object_type, until))
            if object_type is TRANSACTION and PAYOUT.name in types.names():
                rereading.payouts(is_over)
        except CursorLost:
            continue  # the next time reads from the same second
        except StripeRejected as exc:
            if exc.status != _FORBIDDEN:
                raise
            log.warning("type.not_reread", type=object_type.name, reason=loggable_reason(exc))
    return rereading.written


class _Rereading:
    """Reads types whose objects are known up to `until`. Each method returns the second up to which they are now."""

    def __init__(self, connection: psycopg.Connection, team_id: str, source: Source) -> None:
        self.written = 0
        self._source = source
        self._store = MirrorStore(connection, team_id)
        self._parents = ParentStore(connection, team_id)

    def newest(self, object_type: ObjectType, until: int) -> int:
        for page, shared in _newest_pages(self._source, object_type, until - OVERLAP_S):
            keep_order(self._store, object_type, shared)
            self.written += mirror_listed(self._store, self._source, object_type, page)
            until = max(until, page.answer.as_of)
        return until

    def parents(self, object_type: ObjectType, until: int) -> int:
        """What is listed under parents that have changed."""
        changed = self._parents.changed_parents(object_type, since=until - _CLOCKS_APART_S, limit=MOST_PARENTS)
        for parent_id, second in changed:
            pages = self._source.pages_of_parent(object_type, parent_id)
            keep_order(self._store, object_type, shared_seconds([head for page in pages for head in page.heads]))
            for page in pages:
                self.written += mirror_listed(self._store, self._source, object_type, page, parent_id=parent_id)
            until = max(until, second)
        return until

    def payouts(self, is_over: Callable[[], bool]) -> None:
        """What payouts are made of that were reconciled, or have changed since."""
        unread = PayoutStore(self._store).unread(limit=MOST_PAYOUTS)
        for payout in unread:
            if is_over():
                break
            self.written += read_payout(self._store, self._source, payout)


def _newest_pages(source: Source, object_type: ObjectType, start: int) -> Iterator[tuple[Page, SharedSeconds | None]]:
    for variant in object_type.variants:
        params: dict[str, str | int] = {**variant}
        if object_type.is_by_time:
            params |= created_filter(start, END_OF_CREATED)
        before: Page | None = None
        while True:
            page = source.page(object_type, params)
            yield page, shared_in_pages(page, before)
            if not page.has_more or page.cursor is None:
                break
            params["starting_after"] = page.cursor
            before = page
