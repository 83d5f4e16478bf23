"""Mirrors one object type of one backfill: several requests in flight, pages written as they come, exact at every instant.

    the coordinator (this thread)   holds the plan: picks a window or splits one, asks Stripe for its next page and for the
                                    whole of lists that it cut, and lines up what came (sync/backfill/loop.py)
    writers (two threads)           commit rows, seen, count and checkpoint of a page together (sync/backfill/writers.py)
    keeper (a thread)               renews the lease and publishes what is durable (sync/backfill/lease.py)
    helpers (threads)               do what waits: pay for requests, try again what failed, fetch single objects

What is committed is true whatever dies: the plan is rebuilt from the windows in Postgres, and only pages in flight are
fetched again.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import psycopg
import structlog

from sync.backfill.lease import Lease
from sync.backfill.loop import Loop
from sync.backfill.progress import ProgressEstimate
from sync.backfill.records import Backfill, BackfillStore
from sync.backfill.token_pool import Purse
from sync.backfill.windows import MAX_IN_FLIGHT, PageFacts, Window, WindowPlan
from sync.backfill.writers import Writers
from sync.database.borrowing import borrowing
from sync.errors import StripeRateLimited, StripeRejected
from sync.mirror.page_writer import PageObjects, as_mirrored, reject_all, write_page
from sync.mirror.refresh import refresh_or_reject
from sync.mirror.store import MirroredPage, MirrorStore, WindowKey
from sync.object_types import ObjectType
from sync.stripe.caller import Answer, Reservation
from sync.stripe.lists import created_filter
from sync.stripe.source import Listing, Page, Source

WRITERS = 2
# Pages fetched and not yet written; beyond it nothing more is asked for, so that memory stays flat. Enough that the cut
# lists of some are read while the next pages come.
MOST_WAITING = 16
# Requests in flight at first; one more whenever a page finds all writers idle, fewer on a 429.
FIRST_IN_FLIGHT = 8
# Requests that are paid for with one call where the budget has plenty, for that is a round trip. They may be sent later.
MOST_PAID = 8
# Payments for cut lists that wait at the same time: so none of the account's tokens goes by between one and the next.
LIST_PAYERS = 4
# More lost cursors without a step forward mean that Stripe takes none.
_REOPENED_AT_ONE_PLACE = 5
_LATENCY_SMOOTHING = 0.2
_LOOK_UP_EVERY_S = 0.2
_ESTIMATE_EVERY_S = 0.25

log = structlog.get_logger()

Outcome = Literal["done", "yielded"]


@dataclass(frozen=True, slots=True)
class Tools:
    """What a backfill works with. `connect` lends a connection in autocommit mode, as a context manager."""

    source: Source
    connect: Callable[[], AbstractContextManager[psycopg.Connection]]
    should_yield: Callable[[], bool]
    is_stopping: Callable[[], bool] = lambda: False  # the worker, and with it also what else would not yield


@dataclass(slots=True)
class _Fetched:
    """A page that waits for its cut lists to be read, and then for its turn among its window's pages."""

    window: Window
    page: Page
    cut_ids: list[str]
    completed: dict[str, Answer] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return len(self.completed) == len(self.cut_ids)


@dataclass(frozen=True, slots=True)
class _CursorLost:
    """Stands in a window's line where its bounds change, because the object is gone that its cursor names."""

    window: Window
    is_whole = True


def params(object_type: ObjectType, window: Window) -> dict[str, str | int]:
    """A window's list request. Filters stay the same under a cursor."""
    bounds = created_filter(window.gte, window.lt)
    cursor = {"starting_after": window.cursor} if window.cursor else {}
    return {**object_type.variants[window.variant], **bounds, **cursor}


class TypeRun:
    """One turn on one type's open windows, by the holder of `lease`."""

    def __init__(
        self,
        backfill: Backfill,
        object_type: ObjectType,
        windows: list[Window],
        lease: Lease,
        tools: Tools,
        store: BackfillStore,
    ) -> None:
        self._backfill = backfill
        self._type = object_type
        self._lease = lease
        self._tools = tools
        self._store = store
        self._plan = WindowPlan(windows, page_size=tools.source.page_size)
        self._estimate = ProgressEstimate()
        self._shown_progress = 0.0
        self._estimated_at = 0.0
        self._loop = Loop(tools.source, most_threads=2 * MAX_IN_FLIGHT)
        self._page_purse = Purse(self._loop, partial(tools.source.reserve, object_type, MOST_PAID))
        reserve_lists = partial(tools.source.reserve_lists, object_type, MOST_PAID)
        self._list_purse = Purse(self._loop, reserve_lists, most_payers=LIST_PAYERS)
        # Windows of two variants may hold the same object, which is to be counted once: one writer, one after the other.
        most = WRITERS if len(object_type.variants) == 1 else 1
        self._writers = Writers(backfill.team_id, tools.connect, self._loop.fail, most=most)
        self._unwritten = 0
        self._refreshing = 0
        self._in_flight_limit = float(FIRST_IN_FLIGHT)
        self._latency_s = 0.0
        self._lists: deque[tuple[_Fetched, Listing]] = deque()
        self._lists_in_flight = 0
        self._prices_named: set[str] = set()
        self._reopened: Counter[tuple[int, int]] = Counter()
        self._lines: dict[int, deque[_Fetched | _CursorLost]] = {}

    def progress(self) -> float:
        """The share of the type that is read, 0..1."""
        return self._shown_progress

    def run(self) -> Outcome:
        """Until the type is done or the turn is over. Raises what ended it: StripeError, LeaseLost, psycopg.Error."""
        try:
            with self._loop:
                return self._coordinate()
        finally:
            self._writers.stop()

    # The coordinator's thread ------------------------------------------------------------------------------------

    def _coordinate(self) -> Outcome:
        while True:
            over = self._tools.should_yield()
            if not (over or self._plan.is_finished):
                self._ask_for_pages()
            elif not (self._plan.in_flight or self._unwritten or self._refreshing):
                return "done" if self._plan.is_finished else "yielded"
            self._ask_for_lists()
            self._lease.check()
            # Not so long that the end of the turn or a lost lease would be noticed late.
            self._loop.wait(_LOOK_UP_EVERY_S)

    def _ask_for_pages(self) -> None:
        """Pays for requests first, and decides what to ask for when they may go out."""
        while self._has_room() and self._page_purse.has_one():
            assert self._page_purse.budget
            window = self._plan.next_to_send() or self._split(self._page_purse.budget)
            if window is None:
                return
            self._page_purse.take()
            sent = params(self._type, window)
            self._loop.read(
                self._tools.source.page_read(self._type, sent),
                partial(self._page_came, window, time.monotonic()),
                partial(self._page_refused, window, sent),
                self._page_retried,
            )

    def _has_room(self) -> bool:
        return self._plan.in_flight < self._in_flight_limit and self._unwritten < MOST_WAITING

    def _split(self, budget: Reservation) -> Window | None:
        """The new window, already chosen to be sent, if one of the open ones gives work away."""
        split = self._plan.propose_split(tokens=budget.tokens, rate=budget.rate, latency_s=self._latency_s)
        if split is None:
            return None
        self._store.split(self._backfill.id, self._lease.part, self._type.name, split, self._lease.fence)
        self._plan.apply_split(split)
        return self._plan.next_to_send()

    def _page_came(self, window: Window, asked_at: float, page: Page) -> None:
        if self._unwritten == 0 and self._plan.in_flight >= self._in_flight_limit - 1:
            self._in_flight_limit = min(float(MAX_IN_FLIGHT), self._in_flight_limit + 1)
        smoothing = _LATENCY_SMOOTHING if self._latency_s else 1.0
        self._latency_s += smoothing * (time.monotonic() - asked_at - self._latency_s)
        self._plan.page_arrived(window, PageFacts([head.created for head in page.heads], page.has_more, page.cursor))
        self._estimate_progress()
        self._unwritten += 1
        fetched = _Fetched(window, page, page.cut_ids(self._type))
        self._lists.extend((fetched, self._tools.source.listing(self._type, each)) for each in fetched.cut_ids)
        self._line_up(fetched)

    def _page_refused(self, window: Window, sent: dict[str, str | int], error: StripeRejected) -> None:
        if "starting_after" not in sent or not error.is_cursor_lost:
            raise error
        log.info("cursor.lost", window=window.number)
        self._plan.reopen(window)
        self._reopened[window.number, window.lt] += 1
        if self._reopened[window.number, window.lt] > _REOPENED_AT_ONE_PLACE:
            raise error
        # Not to be sent again until its new bounds are stored behind its earlier pages.
        window.in_flight = True
        self._plan.in_flight += 1
        self._line_up(_CursorLost(window))

    def _page_retried(self, error: BaseException) -> None:
        if isinstance(error, StripeRateLimited):
            self._in_flight_limit = max(1.0, self._in_flight_limit * 0.8)

    def _ask_for_lists(self) -> None:
        while self._lists and self._lists_in_flight < MAX_IN_FLIGHT and self._list_purse.has_one(len(self._lists)):
            self._list_purse.take()
            self._lists_in_flight += 1
            fetched, listing = self._lists.popleft()
            self._loop.read(
                listing.read(),
                partial(self._list_came, fetched, listing),
                partial(self._list_refused, fetched, listing),
            )

    def _list_came(self, fetched: _Fetched, listing: Listing, found: Any) -> None:
        self._lists_in_flight -= 1
        if listing.add(found):
            self._completed(fetched, listing.object_id, listing.answer(fetched.page.answer))
        else:
            self._lists.appendleft((fetched, listing))

    def _list_refused(self, fetched: _Fetched, listing: Listing, error: StripeRejected) -> None:
        """Its object was deleted meanwhile, or the item that was its cursor: the object itself says."""
        self._lists_in_flight -= 1
        if not error.is_cursor_lost:
            raise error
        self._loop.run(
            partial(self._tools.source.fetch, self._type, listing.object_id),
            partial(self._completed, fetched, listing.object_id),
        )

    def _completed(self, fetched: _Fetched, object_id: str, answer: Answer) -> None:
        fetched.completed[object_id] = answer
        self._write_what_is_whole(fetched.window)

    def _line_up(self, task: _Fetched | _CursorLost) -> None:
        self._lines.setdefault(task.window.number, deque()).append(task)
        self._write_what_is_whole(task.window)

    def _write_what_is_whole(self, window: Window) -> None:
        """A window's pages are committed in their order: by one writer, and none before an earlier one that is not whole."""
        line = self._lines[window.number]
        while line and line[0].is_whole:
            self._writers.submit(window.number, partial(self._write, line.popleft()))

    def _written(self, page: MirroredPage) -> None:
        self._unwritten -= 1
        for object_id in page.overlapping:
            self._refreshing += 1
            self._loop.run(partial(self._refresh, object_id), self._refreshed)

    def _refreshed(self, _: None) -> None:
        self._refreshing -= 1

    def _estimate_progress(self) -> None:
        """Not for each page: it looks at all windows, and is shown twice a second."""
        now = time.monotonic()
        if now - self._estimated_at >= _ESTIMATE_EVERY_S:
            self._estimated_at = now
            remaining = self._plan.estimated_remaining()
            self._shown_progress = self._estimate.advance(met=self._plan.met, remaining=remaining, is_finished=False)

    # Other threads -----------------------------------------------------------------------------------------------

    def _refresh(self, object_id: str) -> None:
        store = MirrorStore(borrowing(self._tools.connect), self._backfill.team_id)
        refresh_or_reject(store, self._tools.source, self._type, object_id)

    def _write(self, task: _Fetched | _CursorLost, store: MirrorStore) -> None:
        window = task.window
        key = WindowKey(self._backfill.id, self._type.name, window.number, self._lease.fence)
        if isinstance(task, _CursorLost):
            BackfillStore(store.connection).reopen_window(key, gte=window.gte, lt=window.lt)
            self._loop.tell(self._plan.request_failed, window)
            return
        page = as_mirrored(self._type, task.page, task.completed, lt=window.lt, known_prices=self._prices_named)
        reject_all(store, self._type, task.page.odd)
        written = write_page(store, self._type, key, page, PageObjects(task.page.heads, task.page.raw_objects))
        self._prices_named.update(page.named_prices)
        self._loop.tell(self._written, written)
