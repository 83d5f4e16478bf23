"""Mirrors one object type that Stripe lists under each object of another type, such as a customer's payment methods.

The parents are the mirror's own, in the order of their ids, and several are read at a time. A parent's pages are written
once all of them have come, and parents are written in order. So the checkpoint is the last parent that is done, and a
crash costs the parents in flight.

The coordinator, writers, keeper and helpers are those of sync/backfill/type_run.py.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from sync.backfill.lease import Lease
from sync.backfill.loop import Loop
from sync.backfill.pace import Pace
from sync.backfill.progress import MOST_WHILE_OPEN
from sync.backfill.records import Backfill, BackfillStore
from sync.backfill.token_pool import TokenPool
from sync.backfill.tools import BackfillTools
from sync.backfill.type_run import MOST_PAID, TurnOutcome
from sync.backfill.window_plan import MAX_IN_FLIGHT
from sync.backfill.windows import Window
from sync.backfill.writers import Writers
from sync.database import row_counts
from sync.database.borrowing import borrowing
from sync.database.schema import schema_name
from sync.errors import StripeRejected
from sync.mirror.page_writer import SplitPage, as_mirrored, reject_all, write_page
from sync.mirror.parents import ParentStore
from sync.mirror.refresh import refresh_or_reject
from sync.mirror.store import MirrorStore, PageToWrite, WindowKey
from sync.object_types import OBJECT_TYPES, ObjectType
from sync.stripe.pages import Page, joined

# Parents that are read or being read and not yet written. They wait for the slowest before them, and most are small.
MOST_LINED_UP = 256
_PARENTS_AT_A_TIME = 1000
# A list that loses its cursor more often than this has none that Stripe accepts.
_MOST_RESTARTS = 5
_LOOK_UP_EVERY_S = 0.2
_PLACE_BYTES = 5  # as many places as billstack.span_of supports

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Parent:
    """A parent's place in the line, and its pages so far."""

    id: str
    pages: list[Page] = field(default_factory=list)
    is_whole: bool = False
    restarts: int = 0


class ParentRun:
    """One turn on one type's parents, by the holder of `lease`.

    With `seen_from`, only on parents that were written since that snapshot.
    """

    def __init__(
        self,
        backfill: Backfill,
        object_type: ObjectType,
        windows: list[Window],
        lease: Lease,
        tools: BackfillTools,
        store: BackfillStore,
        *,
        seen_from: int | None = None,
    ) -> None:
        self._backfill = backfill
        self._type = object_type
        self._window = next((window for window in windows if not window.done), None)
        self._checkpoint = self._window.cursor if self._window else None
        self._lease = lease
        self._tools = tools
        self._pace = Pace()
        self._loop = Loop(tools.source.caller, most_threads=2 * MAX_IN_FLIGHT)
        self._tokens = TokenPool(self._loop, partial(tools.source.reserve, object_type, MOST_PAID))
        self._writers = Writers(backfill.team_id, tools.connect, self._loop.fail, most=1)
        self._parents = _Parents(ParentStore(store.connection, backfill.team_id), object_type, self._window, seen_from)
        self._line: deque[_Parent] = deque()
        self._unfinished: deque[_Parent] = deque()  # their next page is to be requested
        self._in_flight = 0
        self._refreshing = 0
        self._done = self._window.pages if self._window else 0
        self._count = _count_parents(store, backfill.team_id, object_type)

    def progress(self) -> float:
        """The share of the parents that are read, 0 to 1."""
        return min(self._done / max(1, self._count), MOST_WHILE_OPEN)

    def run(self) -> TurnOutcome:
        """Runs until all parents are read or the turn is over.

        Raises the error that ended it: StripeError, LeaseLost, psycopg.Error.
        """
        if self._window is None:
            return "done"
        try:
            with self._loop:
                return self._coordinate()
        finally:
            self._writers.stop()

    # The coordinator's thread ------------------------------------------------------------------------------------

    def _coordinate(self) -> TurnOutcome:
        has_ended = False
        while True:
            over = self._tools.should_yield()
            self._ask(begins=not over)
            if not (self._line or self._pace.unwritten or self._refreshing):
                if has_ended:
                    return "done"
                if self._parents.are_over:
                    self._submit([], has_more=False)
                    has_ended = True
                elif over:
                    return "yielded"
            self._lease.check()
            self._loop.wait(_LOOK_UP_EVERY_S)

    def _ask(self, *, begins: bool) -> None:
        """Requests the next page of each parent that was begun, and the first page of others if it `begins` any."""
        while self._in_flight < self._pace.limit and (parent := self._next(begins=begins)):
            if not self._tokens.has_one():
                self._unfinished.appendleft(parent)
                return
            self._tokens.take()
            self._in_flight += 1
            sent = {"starting_after": parent.pages[-1].cursor or ""} if parent.pages else {}
            self._loop.read(
                self._tools.source.page_read(self._type, sent, parent.id),
                partial(self._page_came, parent, time.monotonic()),
                partial(self._page_refused, parent),
                self._pace.page_failed,
            )

    def _next(self, *, begins: bool) -> _Parent | None:
        if self._unfinished:
            return self._unfinished.popleft()
        if not begins or len(self._line) >= MOST_LINED_UP or not (parent_id := self._parents.next()):
            return None
        self._line.append(_Parent(parent_id))
        return self._line[-1]

    def _page_came(self, parent: _Parent, asked_at: float, page: Page) -> None:
        self._pace.page_came(asked_at, self._in_flight)
        self._pace.unwritten -= 1  # it is not handed over yet
        self._in_flight -= 1
        parent.pages.append(page)
        if page.has_more:
            self._unfinished.append(parent)
        else:
            self._complete(parent)

    def _page_refused(self, parent: _Parent, error: StripeRejected) -> None:
        """The cursor's object is gone: the parent's list is read again. The parent itself is: it has no objects."""
        self._in_flight -= 1
        if not (error.is_cursor_lost if parent.pages else error.is_missing):
            raise error
        if not parent.pages:
            self._complete(parent)
            return
        log.info("cursor.lost", type=self._type.name)
        parent.pages.clear()
        parent.restarts += 1
        if parent.restarts > _MOST_RESTARTS:
            raise error
        self._unfinished.append(parent)

    def _complete(self, parent: _Parent) -> None:
        parent.is_whole = True
        whole: list[_Parent] = []
        while self._line and self._line[0].is_whole:
            whole.append(self._line.popleft())
        if whole:
            self._submit(whole)

    def _submit(self, parents: list[_Parent], *, has_more: bool = True) -> None:
        self._pace.unwritten += 1
        self._writers.submit(0, partial(self._write, parents, has_more))

    def _written(self, parents: int, overlapping: list[tuple[str, str]]) -> None:
        self._pace.unwritten -= 1
        self._done += parents
        for object_id, parent_id in overlapping:
            self._refreshing += 1
            self._loop.run(partial(self._refresh, object_id, parent_id), self._refreshed)

    def _refreshed(self, _: None) -> None:
        self._refreshing -= 1

    # Other threads -----------------------------------------------------------------------------------------------

    def _refresh(self, object_id: str, parent_id: str) -> None:
        store = MirrorStore(borrowing(self._tools.connect), self._backfill.team_id)
        refresh_or_reject(store, self._tools.source, self._type, object_id, parent_id=parent_id)

    def _write(self, parents: list[_Parent], has_more: bool, store: MirrorStore) -> None:
        """Parents without objects share the checkpoint of the next ones."""
        overlapping: list[tuple[str, str]] = []
        unwritten = 0
        for parent in parents:
            unwritten += 1
            pages = [page for page in parent.pages if page.heads or page.odd]
            if pages:
                ids = self._write_parent(store, parent.id, joined(pages), done=unwritten)
                overlapping += [(object_id, parent.id) for object_id in ids]
                unwritten = 0
        if unwritten or not has_more:
            end = PageToWrite(
                b'{"data":[]}', 0, 0, has_more, cursor=parents[-1].id if parents else None, pages=unwritten
            )
            self._write_page(store, end, SplitPage([], lambda: []))
        self._loop.tell(self._written, len(parents), overlapping)

    def _write_parent(self, store: MirrorStore, parent_id: str, page: Page, *, done: int) -> list[str]:
        """Writes what is listed under a parent. `done` parents have been read since the last checkpoint."""
        reject_all(store, self._type, page.odd)
        to_write = replace(
            as_mirrored(self._type, page, {}, lt=0, starting_after=None, ended_in=None, known_prices=frozenset()),
            has_more=True,
            cursor=parent_id,
            place=place_of(parent_id),
            pages=done,
        )
        return self._write_page(store, to_write, SplitPage(page.heads, page.raw_objects))

    def _write_page(self, store: MirrorStore, to_write: PageToWrite, objects: SplitPage) -> list[str]:
        assert self._window
        key = WindowKey(self._backfill.id, self._type.name, self._window.number, self._lease.fence)
        to_write = replace(to_write, starting_after=self._checkpoint)
        written = write_page(store, self._type, key, to_write, objects)
        self._checkpoint = to_write.cursor or self._checkpoint
        return written.overlapping


class _Parents:
    """The parents that are still to be read, in the order of their ids."""

    def __init__(
        self, store: ParentStore, object_type: ObjectType, window: Window | None, seen_from: int | None
    ) -> None:
        self.are_over = False
        self._read: Callable[..., list[str]] = (
            partial(store.parents, object_type)
            if seen_from is None
            else partial(store.parents_since, object_type, seen_from=seen_from)
        )
        self._after = (window.cursor if window else None) or ""
        self._ids: deque[str] = deque()

    def next(self) -> str | None:
        if not self._ids and not self.are_over:
            self._ids.extend(self._read(after=self._after, limit=_PARENTS_AT_A_TIME))
            self.are_over = not self._ids
            self._after = self._ids[-1] if self._ids else self._after
        return self._ids.popleft() if self._ids else None


def place_of(parent_id: str) -> int:
    """A parent's own place on the number line of billstack.span_of: only its own pages can have the same objects."""
    return int.from_bytes(hashlib.blake2b(parent_id.encode(), digest_size=_PLACE_BYTES).digest())


def _count_parents(store: BackfillStore, team_id: str, object_type: ObjectType) -> int:
    assert object_type.parent
    return row_counts.live(store.connection, schema_name(team_id), OBJECT_TYPES[object_type.parent.type].table)
