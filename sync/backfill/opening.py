"""The first job of a backfill: reads the first page of every type side by side, on one connection and under one lease.

For a small account this is everything. Otherwise its types would each take a job, three connections and a dozen
commits, which cost far more than their pages. A type that has more pages, fails or takes long is given back and becomes
an ordinary part. So nothing here retries for long, reports an error or renews a lease.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg
import structlog

from sync.backfill.first_pages import FirstPages
from sync.backfill.loop import Loop
from sync.backfill.part_records import OPENING_FENCE, PartStore
from sync.backfill.records import Backfill, BackfillStore
from sync.backfill.windows import Window
from sync.error_text import loggable_reason
from sync.errors import LeaseLost, StripeError, StripeRejected
from sync.mirror.page_writer import SplitPage, as_mirrored, reject_all, write_page
from sync.mirror.refresh import refresh_or_reject
from sync.mirror.store import MirrorStore, WindowKey
from sync.object_types import OBJECT_TYPES, ObjectType
from sync.stripe.answers import Answer
from sync.stripe.listing import Listing
from sync.stripe.pages import Page
from sync.stripe.source import Source

# Shorter than a lease lasts without renewal, even behind a pooler, and than a deploy waits for a worker.
OPEN_FOR_S = 6.0
# A page with more cut lists is left to its type's part, which reads many at a time.
MOST_LISTS = 10
_THREADS = 8
_LOOK_UP_EVERY_S = 0.2

log = structlog.get_logger()


@dataclass(slots=True)
class _FirstPage:
    """A window's first page, and the state of the lists that Stripe cut in it."""

    type: ObjectType
    window: Window
    page: Page
    cut_ids: list[str]
    completed: dict[str, Answer] = field(default_factory=dict)


class Opening:
    """Holds the leases of all types of a backfill that nobody has begun."""

    def __init__(
        self,
        backfill: Backfill,
        source: Source,
        connection: psycopg.Connection,
        is_stopping: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backfill = backfill
        self._source = source.fail_fast()
        self._store = BackfillStore(connection)
        self._parts = PartStore(connection)
        self._mirror = MirrorStore(connection, backfill.team_id)
        self._is_stopping = is_stopping
        self._clock = clock
        self._open_until = clock() + OPEN_FOR_S
        self._left: set[str] = set()  # types that are not read completely here
        self._prices_named: set[str] = set()

    def run(self) -> bool:
        """Returns False if another worker has begun.

        Raises psycopg.OperationalError if Postgres is unavailable; the leases are free again soon.
        """
        types = self._parts.acquire_all(self._backfill.id)
        if not types:
            return False
        log.info("opening.taken", types=types)
        try:
            self._read(types)
        except LeaseLost as exc:
            log.info("opening.lost", reason=exc.message)
            self._left.update(types)
        except StripeError as exc:
            log.info("opening.left", reason=loggable_reason(exc))
            self._left.update(types)
        except psycopg.OperationalError:
            raise
        except Exception:
            log.exception("opening.broke")
            self._left.update(types)
        whole = self._parts.end_opening(self._backfill.id, types, [name for name in types if name not in self._left])
        log.info("opening.done", whole=whole)
        return True

    def _read(self, types: list[str]) -> None:
        now = self._source.account().now
        variants = [(name, variant) for name in types for variant in range(len(OBJECT_TYPES[name].variants))]
        windows = self._store.open_windows(self._backfill, now, variants)
        self._left.update(set(types) - {name for name, _ in windows})
        with Loop(self._source.caller, most_threads=_THREADS) as loop:
            pages = FirstPages(loop, self._source)
            for name, window in windows:
                object_type = OBJECT_TYPES[name]
                pages.ask(
                    object_type,
                    window,
                    partial(self._page_came, pages, object_type, window),
                    partial(self._refused, object_type),
                )
            while pages.unanswered:
                if self._is_stopping() or self._clock() > self._open_until:
                    raise LeaseLost("the first pages take too long")
                loop.wait(_LOOK_UP_EVERY_S)

    def _page_came(self, pages: FirstPages, object_type: ObjectType, window: Window, page: Page) -> None:
        first = _FirstPage(object_type, window, page, page.cut_ids(object_type))
        if not first.cut_ids:
            self._write(first)
        elif len(first.cut_ids) > MOST_LISTS:
            self._left.add(object_type.name)
        else:
            for object_id in first.cut_ids:
                time.sleep(self._source.reserve_lists(object_type, 1).wait_s)
                listing = self._source.listing(object_type, object_id)
                pages.read(
                    listing.read(), partial(self._list_came, first, listing), partial(self._refused, object_type)
                )

    def _list_came(self, first: _FirstPage, listing: Listing, found: Any) -> None:
        if not listing.add(found):  # longer than a page, which is rare
            self._left.add(first.type.name)
            return
        first.completed[listing.object_id] = listing.answer(first.page.answer)
        if len(first.completed) == len(first.cut_ids):
            self._write(first)

    def _refused(self, object_type: ObjectType, error: StripeRejected) -> None:
        log.info("opening.refused", type=object_type.name, reason=loggable_reason(error))
        self._left.add(object_type.name)

    def _write(self, first: _FirstPage) -> None:
        """Writes on this thread: all pages together take less time than a second connection."""
        page = first.page
        mirrored = as_mirrored(
            first.type,
            page,
            first.completed,
            lt=first.window.lt,
            starting_after=None,
            ended_in=None,
            known_prices=self._prices_named,
        )
        key = WindowKey(self._backfill.id, first.type.name, first.window.number, OPENING_FENCE)
        reject_all(self._mirror, first.type, page.odd)
        written = write_page(self._mirror, first.type, key, mirrored, SplitPage(page.heads, page.raw_objects))
        self._prices_named.update(mirrored.named_prices)
        for object_id in written.overlapping:
            refresh_or_reject(self._mirror, self._source, first.type, object_id)
