"""Mirrors one object type of one backfill.

Several requests are in flight, pages are written as they arrive, and the counts are exact at every instant.

the coordinator (this thread)   holds the plan: picks or splits a window, asks Stripe for its next page and for the
                                lists that it cut, and queues the results (sync/backfill/loop.py)
writers (two threads)           commit rows, seen, count and checkpoint of a page together (sync/backfill/writers.py)
keeper (a thread)               renews the lease and publishes what is durable (sync/backfill/lease.py)
helpers (threads)               do blocking work: take tokens, retry failures, fetch single objects

Committed work stays, whatever dies: the plan is rebuilt from the windows in Postgres, and only pages in flight are
fetched again.
"""

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import structlog

from sync.backfill.lease import Lease
from sync.backfill.loop import Loop
from sync.backfill.pace import Pace
from sync.backfill.progress import ShownProgress
from sync.backfill.records import Backfill, BackfillStore
from sync.backfill.token_pool import TokenPool
from sync.backfill.tools import BackfillTools
from sync.backfill.window_plan import MAX_IN_FLIGHT, WindowPlan
from sync.backfill.windows import PageOutline, Window
from sync.backfill.writers import Writers
from sync.database.borrowing import borrowing
from sync.errors import StripeRejected
from sync.mirror.page_writer import SplitPage, as_mirrored, reject_all, write_page
from sync.mirror.refresh import refresh_or_reject
from sync.mirror.store import MirrorStore, WindowKey, WrittenPage
from sync.object_types import ObjectType
from sync.stripe.answers import Answer
from sync.stripe.caller import Reservation
from sync.stripe.listing import Listing
from sync.stripe.lists import created_filter
from sync.stripe.pages import Page

WRITERS = 2
# Tokens taken with one call while the budget has plenty, because each call is a round trip. They may be used later.
MOST_PAID = 8
# Calls for cut-list tokens that wait at the same time, so that none of the account's tokens is missed between two
# calls.
LIST_PAYERS = 4
# More lost cursors without any progress mean that Stripe accepts none.
_REOPENED_AT_ONE_PLACE = 5
_LOOK_UP_EVERY_S = 0.2

log = structlog.get_logger()

TurnOutcome = Literal["done", "yielded"]


@dataclass(slots=True)
class _Fetched:
    """A page that waits for its cut lists, and then for its turn among its window's pages."""

    window: Window
    starting_after: str | None
    ended_in: int | None  # the second of that object
    page: Page
    cut_ids: list[str]
    completed: dict[str, Answer] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return len(self.completed) == len(self.cut_ids)


@dataclass(frozen=True, slots=True)
class _CursorLost:
    """Marks the place in a window's queue where its bounds change, because the cursor's object is gone."""

    window: Window
    cursor: str
    is_whole = True


def params(object_type: ObjectType, window: Window) -> dict[str, str | int]:
    """A window's list request. Filters stay the same under a cursor."""
    bounds = created_filter(window.gte, window.lt) if object_type.is_by_time else {}
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
        tools: BackfillTools,
        store: BackfillStore,
    ) -> None:
        self._backfill = backfill
        self._type = object_type
        self._lease = lease
        self._tools = tools
        self._store = store
        self._plan = WindowPlan(windows, page_size=tools.source.page_size)
        self._pace = Pace()
        self._shown = ShownProgress(self._plan)
        self._loop = Loop(tools.source.caller, most_threads=2 * MAX_IN_FLIGHT)
        self._page_tokens = TokenPool(self._loop, partial(tools.source.reserve, object_type, MOST_PAID))
        reserve_lists = partial(tools.source.reserve_lists, object_type, MOST_PAID)
        self._list_tokens = TokenPool(self._loop, reserve_lists, most_payers=LIST_PAYERS)
        # Windows of two variants may contain the same object, which must be counted once: use one writer, in order.
        most = WRITERS if len(object_type.variants) == 1 else 1
        self._writers = Writers(backfill.team_id, tools.connect, self._loop.fail, most=most)
        self._refreshing = 0
        self._lists: deque[tuple[_Fetched, Listing]] = deque()
        self._lists_in_flight = 0
        self._prices_named: set[str] = set()
        self._reopened: Counter[tuple[int, int]] = Counter()
        self._lines: dict[int, deque[_Fetched | _CursorLost]] = {}

    def progress(self) -> float:
        """The share of the type that is read, 0 to 1."""
        return self._shown.share

    def run(self) -> TurnOutcome:
        """Runs until the type is done or the turn is over.

        Raises the error that ended it: StripeError, LeaseLost, psycopg.Error.
        """
        try:
            with self._loop:
                return self._coordinate()
        finally:
            self._writers.stop()

    # The coordinator's thread ------------------------------------------------------------------------------------

    def _coordinate(self) -> TurnOutcome:
        while True:
            over = self._tools.should_yield()
            if not (over or self._plan.is_finished):
                self._ask_for_pages()
            elif not (self._plan.in_flight or self._pace.unwritten or self._refreshing):
                return "done" if self._plan.is_finished else "yielded"
            self._ask_for_lists()
            self._lease.check()
            # Short enough to notice the end of the turn or a lost lease in time.
            self._loop.wait(_LOOK_UP_EVERY_S)

    def _ask_for_pages(self) -> None:
        """Takes tokens first, and decides what to request when they may be used."""
        while self._pace.has_room(self._plan.in_flight) and self._page_tokens.has_one():
            assert self._page_tokens.budget
            window = self._plan.next_to_send() or self._split(self._page_tokens.budget)
            if window is None:
                return
            self._page_tokens.take()
            self._loop.read(
                self._tools.source.page_read(self._type, params(self._type, window)),
                partial(self._page_came, window, window.cursor, time.monotonic()),
                partial(self._page_refused, window, window.cursor),
                self._pace.page_failed,
            )

    def _split(self, budget: Reservation) -> Window | None:
        """If an open window gives away work: the new window, already chosen to be sent."""
        split = self._plan.propose_split(tokens=budget.tokens, rate=budget.rate, latency_s=self._pace.latency_s)
        if split is None:
            return None
        self._store.split(self._backfill.id, self._lease.part, self._type.name, split, self._lease.fence)
        self._plan.apply_split(split)
        return self._plan.next_to_send()

    def _page_came(self, window: Window, starting_after: str | None, asked_at: float, page: Page) -> None:
        self._pace.page_came(asked_at, self._plan.in_flight)
        ended_in = window.oldest
        self._plan.page_arrived(window, PageOutline([head.created for head in page.heads], page.has_more, page.cursor))
        self._shown.look()
        fetched = _Fetched(window, starting_after, ended_in, page, page.cut_ids(self._type))
        self._lists.extend((fetched, self._tools.source.listing(self._type, each)) for each in fetched.cut_ids)
        self._line_up(fetched)

    def _page_refused(self, window: Window, starting_after: str | None, error: StripeRejected) -> None:
        if not starting_after or not error.is_cursor_lost:
            raise error
        log.info("cursor.lost", window=window.number)
        self._plan.reopen(window)
        self._reopened[window.number, window.lt] += 1
        if self._reopened[window.number, window.lt] > _REOPENED_AT_ONE_PLACE:
            raise error
        # It must not be sent again until its new bounds are stored, after its earlier pages.
        self._plan.hold(window)
        self._line_up(_CursorLost(window, starting_after))

    def _ask_for_lists(self) -> None:
        while self._lists and self._lists_in_flight < MAX_IN_FLIGHT and self._list_tokens.has_one(len(self._lists)):
            self._list_tokens.take()
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
        """The list's object was deleted, or the item used as a cursor. Fetching the object tells which."""
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
        """Commits a window's pages in order: by one writer, and none before an incomplete earlier one."""
        line = self._lines[window.number]
        while line and line[0].is_whole:
            self._writers.submit(window.number, partial(self._write, line.popleft()))

    def _written(self, page: WrittenPage) -> None:
        self._pace.unwritten -= 1
        for object_id in page.overlapping:
            self._refreshing += 1
            self._loop.run(partial(self._refresh, object_id), self._refreshed)

    def _refreshed(self, _: None) -> None:
        self._refreshing -= 1

    # Other threads -----------------------------------------------------------------------------------------------

    def _refresh(self, object_id: str) -> None:
        store = MirrorStore(borrowing(self._tools.connect), self._backfill.team_id)
        refresh_or_reject(store, self._tools.source, self._type, object_id)

    def _write(self, task: _Fetched | _CursorLost, store: MirrorStore) -> None:
        window = task.window
        key = WindowKey(self._backfill.id, self._type.name, window.number, self._lease.fence)
        if isinstance(task, _CursorLost):
            BackfillStore(store.connection).reopen_window(key, task.cursor, gte=window.gte, lt=window.lt)
            self._loop.tell(self._plan.request_failed, window)
            return
        page = as_mirrored(
            self._type,
            task.page,
            task.completed,
            lt=window.lt,
            starting_after=task.starting_after,
            ended_in=task.ended_in,
            known_prices=self._prices_named,
        )
        reject_all(store, self._type, task.page.odd)
        written = write_page(store, self._type, key, page, SplitPage(task.page.heads, task.page.raw_objects))
        self._prices_named.update(page.named_prices)
        self._loop.tell(self._written, written)
