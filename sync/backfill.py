"""Mirrors one object type of one backfill: several requests in flight, pages written as they come, exact at every instant.

    the coordinator (this thread)   holds the plan: pays for a request, picks the window or splits one, hands it out
    fetchers (threads)              ask Stripe for pages, and for the whole of lists that it cut
    writers (two threads)           commit rows, seen, count and checkpoint of a page together
    keeper (a thread)               renews the lease and publishes what is durable (sync/lease.py)

All of them tell the coordinator through one inbox. What is committed is true whatever dies: the plan is rebuilt from the
windows in Postgres, and only pages in flight are fetched again.
"""

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
import structlog

from sync.backfills import Backfill, BackfillStore
from sync.caller import Answer, Reservation
from sync.errors import CursorLost, StripeRateLimited
from sync.lease import Lease
from sync.object_types import ObjectType
from sync.page_writer import PageObjects, write_page
from sync.progress_estimate import ProgressEstimate
from sync.refresh import refresh_or_reject
from sync.source import Page, Source
from sync.store import MirroredPage, MirrorPage, MirrorStore, WindowKey
from sync.threads import Threads
from sync.windows import MAX_IN_FLIGHT, PageFacts, Window, WindowPlan

WRITERS = 2
# Pages fetched and not yet written; beyond it nothing more is asked for, so that memory stays flat. Enough that the cut
# lists of some are read while the next pages come.
MOST_WAITING = 16
# Requests in flight at first; one more whenever a page finds all writers idle, fewer on a 429.
FIRST_IN_FLIGHT = 8
# Requests that are paid for with one call where the budget has plenty, for that is a round trip. They may be sent later.
MOST_PAID = 8
# Cut lists that one thread reads, one after another. A page has two or three where one in forty is cut: so that is one
# task; where all hundred are, a page needs no more than four answers' time.
LISTS_TOGETHER = 4
_LATENCY_SMOOTHING = 0.2
_LOOK_UP_EVERY_S = 0.2
_ESTIMATE_EVERY_S = 0.25

log = structlog.get_logger()

Outcome = Literal["done", "yielded"]


@dataclass(frozen=True, slots=True)
class Tools:
    """What a backfill works with. `connect` gives a new connection in autocommit mode."""

    source: Source
    connect: Callable[[], psycopg.Connection]
    should_yield: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class _Reserved:
    """A request may go out now."""

    reservation: Reservation


@dataclass(slots=True)
class _Fetched:
    """A page that waits for its cut lists to be read, and then for its turn among its window's pages."""

    window: Window
    page: Page
    cut_ids: list[str]
    elapsed_s: float
    completed: dict[str, Answer] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return len(self.completed) == len(self.cut_ids)


@dataclass(frozen=True, slots=True)
class _Completed:
    fetched: _Fetched
    answers: Mapping[str, Answer]


@dataclass(frozen=True, slots=True)
class _Written:
    window: Window
    page: MirroredPage


@dataclass(frozen=True, slots=True)
class _Reopened:
    window: Window


@dataclass(frozen=True, slots=True)
class _CursorLost:
    window: Window
    is_whole = True


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


def params(object_type: ObjectType, window: Window) -> dict[str, str | int]:
    """A window's list request. Filters stay the same under a cursor; Stripe's `created` has whole seconds."""
    bounds: dict[str, str | int] = {"created[gte]": window.gte, "created[lt]": window.lt}
    cursor = {"starting_after": window.cursor} if window.cursor else {}
    return {**object_type.variants[window.variant], **bounds, **cursor}


class TypeRun:
    """One turn on one type's open windows, by the holder of `lease`."""

    def __init__(
        self, backfill: Backfill, object_type: ObjectType, windows: list[Window], lease: Lease, tools: Tools
    ) -> None:
        self._backfill = backfill
        self._type = object_type
        self._lease = lease
        self._tools = tools
        self._plan = WindowPlan(windows, page_size=tools.source.page_size)
        self._estimate = ProgressEstimate()
        self._shown_progress = 0.0
        self._estimated_at = 0.0
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # Windows of two variants may hold the same object, which is to be counted once: one writer, one after the other.
        writers = WRITERS if len(object_type.variants) == 1 else 1
        self._writer_queues: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(writers)]
        self._unwritten = 0
        self._refreshing = 0
        self._in_flight_limit = float(FIRST_IN_FLIGHT)
        self._latency_s = 0.0
        self._budget: Reservation | None = None
        self._paid = 0
        self._reserving = False
        self._payments = tools.source.payments(object_type, MOST_PAID)
        self._prices_named: set[str] = set()
        self._lines: dict[int, deque[_Fetched | _CursorLost]] = {}

    def progress(self) -> float:
        """The share of the type that is read, 0..1."""
        return self._shown_progress

    def run(self) -> Outcome:
        """Until the type is done or the turn is over. Raises what ended it: StripeError, LeaseLost, psycopg.Error."""
        writers = [
            threading.Thread(target=self._write_pages, args=(tasks,), daemon=True) for tasks in self._writer_queues
        ]
        for writer in writers:
            writer.start()
        fetchers = Threads(2 * MAX_IN_FLIGHT, name="fetcher")
        try:
            with self._tools.connect() as connection:
                return self._coordinate(BackfillStore(connection), fetchers)
        finally:
            fetchers.stop()
            for tasks in self._writer_queues:
                tasks.put(None)
            for writer in writers:
                writer.join()

    # The coordinator's thread ------------------------------------------------------------------------------------

    def _coordinate(self, store: BackfillStore, fetchers: Threads) -> Outcome:
        while True:
            over = self._tools.should_yield()
            if not (over or self._plan.is_finished):
                self._send_what_may(store, fetchers)
            elif not (self._plan.in_flight or self._unwritten or self._refreshing):
                return "done" if self._plan.is_finished else "yielded"
            self._lease.check()
            self._handle_inbox(fetchers)

    def _send_what_may(self, store: BackfillStore, fetchers: Threads) -> None:
        """Pays for requests first, and decides what to ask for when they may go out: paid ones keep until there is work."""
        while self._paid and self._has_room():
            assert self._budget
            window = self._plan.next_to_send() or self._split(store, self._budget)
            if window is None:
                return
            self._paid -= 1
            fetchers.submit(self._fetch, window, params(self._type, window))
        if not (self._paid or self._reserving) and self._has_room():
            self._reserving = True
            fetchers.submit(self._reserve)

    def _has_room(self) -> bool:
        return self._plan.in_flight < self._in_flight_limit and self._unwritten < MOST_WAITING

    def _split(self, store: BackfillStore, budget: Reservation) -> Window | None:
        """The new window, already chosen to be sent, if one of the open ones gives work away."""
        split = self._plan.propose_split(tokens=budget.tokens, rate=budget.rate, latency_s=self._latency_s)
        if split is None:
            return None
        store.split(self._backfill.id, self._lease.part, self._type.name, split, self._lease.fence)
        self._plan.apply_split(split)
        return self._plan.next_to_send()

    def _handle_inbox(self, fetchers: Threads) -> None:
        """Waits for news, but not so long that the end of the turn or a lost lease would be noticed late."""
        with contextlib.suppress(queue.Empty):
            self._handle(self._inbox.get(timeout=_LOOK_UP_EVERY_S), fetchers)

    def _handle(self, news: Any, fetchers: Threads) -> None:
        match news:
            case _Reserved():
                self._reserving, self._budget, self._paid = False, news.reservation, news.reservation.count
            case _Fetched():
                self._page_arrived(news)
                for start in range(0, len(news.cut_ids), LISTS_TOGETHER):
                    fetchers.submit(self._complete, news, news.cut_ids[start : start + LISTS_TOGETHER])
            case _Written():
                self._unwritten -= 1
                for object_id in news.page.overlapping:
                    self._refreshing += 1
                    fetchers.submit(self._refresh, object_id)
            case _CursorLost():
                log.info("cursor.lost", window=news.window.number)
                self._plan.reopen(news.window)
                # Not to be sent again until its new bounds are stored behind its earlier pages.
                news.window.in_flight = True
                self._plan.in_flight += 1
                self._line_up(news)
            case _Completed():
                news.fetched.completed.update(news.answers)
                self._write_what_is_whole(news.fetched.window)
            case _Reopened():
                self._plan.request_failed(news.window)
            case StripeRateLimited():
                self._in_flight_limit = max(1.0, self._in_flight_limit * 0.8)
            case "refreshed":
                self._refreshing -= 1
            case _Failed():
                raise news.error

    def _page_arrived(self, fetched: _Fetched) -> None:
        if self._unwritten == 0 and self._plan.in_flight >= self._in_flight_limit - 1:
            self._in_flight_limit = min(float(MAX_IN_FLIGHT), self._in_flight_limit + 1)
        smoothing = _LATENCY_SMOOTHING if self._latency_s else 1.0
        self._latency_s += smoothing * (fetched.elapsed_s - self._latency_s)
        heads = fetched.page.heads
        last_id = heads[-1].id if heads else None
        self._plan.page_arrived(
            fetched.window, PageFacts([head.created for head in heads], fetched.page.has_more, last_id)
        )
        self._estimate_progress()
        self._unwritten += 1
        self._line_up(fetched)

    def _estimate_progress(self) -> None:
        """Not for each page: it looks at all windows, and is shown twice a second."""
        now = time.monotonic()
        if now - self._estimated_at >= _ESTIMATE_EVERY_S:
            self._estimated_at = now
            remaining = self._plan.estimated_remaining()
            self._shown_progress = self._estimate.advance(met=self._plan.met, remaining=remaining, is_finished=False)

    def _line_up(self, task: _Fetched | _CursorLost) -> None:
        self._lines.setdefault(task.window.number, deque()).append(task)
        self._write_what_is_whole(task.window)

    def _write_what_is_whole(self, window: Window) -> None:
        """A window's pages are committed in their order: by one writer, and none before an earlier one that is not whole."""
        line = self._lines[window.number]
        while line and line[0].is_whole:
            self._writer_queues[window.number % len(self._writer_queues)].put(line.popleft())

    # Fetchers' threads -------------------------------------------------------------------------------------------

    def _reserve(self) -> None:
        try:
            reservation = self._tools.source.reserve(self._type, MOST_PAID)
            time.sleep(reservation.wait_s)
            self._inbox.put(_Reserved(reservation))
        except Exception as exc:
            self._inbox.put(_Failed(exc))

    def _fetch(self, window: Window, request: dict[str, str | int]) -> None:
        started = time.monotonic()
        try:
            page = self._tools.source.page(self._type, request, reserved=True, on_retry=self._inbox.put)
            elapsed_s = time.monotonic() - started
            self._inbox.put(_Fetched(window, page, page.cut_ids(self._type), elapsed_s))
        except CursorLost:
            self._inbox.put(_CursorLost(window))
        except Exception as exc:
            self._inbox.put(_Failed(exc))

    def _complete(self, fetched: _Fetched, cut_ids: list[str]) -> None:
        try:
            answers = self._tools.source.complete(self._type, cut_ids, fetched.page.answer, self._payments)
            self._inbox.put(_Completed(fetched, answers))
        except Exception as exc:
            self._inbox.put(_Failed(exc))

    def _refresh(self, object_id: str) -> None:
        try:
            with self._tools.connect() as connection:
                refresh_or_reject(
                    MirrorStore(connection, self._backfill.team_id), self._tools.source, self._type, object_id
                )
            self._inbox.put("refreshed")
        except Exception as exc:
            self._inbox.put(_Failed(exc))

    # Writers' threads --------------------------------------------------------------------------------------------

    def _write_pages(self, tasks: "queue.SimpleQueue[Any]") -> None:
        try:
            with self._tools.connect() as connection:
                prepare_writer(connection)
                while (task := tasks.get()) is not None:
                    self._inbox.put(self._write(connection, task))
        except Exception as exc:
            self._inbox.put(_Failed(exc))

    def _write(self, connection: psycopg.Connection, task: _Fetched | _CursorLost) -> _Written | _Reopened:
        window = task.window
        key = WindowKey(self._backfill.id, self._type.name, window.number, self._lease.fence)
        if isinstance(task, _CursorLost):
            BackfillStore(connection).reopen_window(key, gte=window.gte, lt=window.lt)
            return _Reopened(window)
        page = self._as_written(task)
        store = MirrorStore(connection, self._backfill.team_id)
        written = write_page(store, self._type, key, page, PageObjects(task.page.heads, task.page.raw_objects))
        self._prices_named.update(page.named_prices)
        return _Written(window, written)

    def _as_written(self, fetched: _Fetched) -> MirrorPage:
        page, heads = fetched.page, fetched.page.heads
        answers = fetched.completed.values()
        completed = {object_id: answer.body for object_id, answer in fetched.completed.items()}
        return MirrorPage(
            body=page.answer.body,
            as_of=page.answer.as_of,
            as_of_until=max([page.answer.as_of_until, *(answer.as_of_until for answer in answers)]),
            has_more=page.has_more,
            cursor=heads[-1].id if heads else None,
            newest=heads[0].created if heads else None,
            oldest=heads[-1].created if heads else None,
            completed=completed,
            named_prices=sorted(page.named_prices(self._type, completed) - self._prices_named),
        )


def prepare_writer(connection: psycopg.Connection) -> None:
    """How pages are written.

    An fsync can take 40 ms, so a page does not wait for one: rows, seen and checkpoint are lost together or not at all,
    and the lease's next renewal, which does wait, makes all of them durable. A page's rows are looked up by their ids
    whatever the planner thinks of a table that was empty when it last looked: a plan with a scan would be kept. And the
    statement is planned once, not ten times before psycopg and Postgres see that its plan can be kept.
    """
    connection.execute(
        """
        SET synchronous_commit = off;
        SET enable_seqscan = off;
        SET enable_hashjoin = off;
        SET enable_mergejoin = off;
        SET jit = off;
        SET plan_cache_mode = force_generic_plan
        """
    )
    connection.prepare_threshold = 0
