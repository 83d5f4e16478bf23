"""Plans how one object type is read: which window sends its next request, and which one gives away work.

A type starts with one window per variant. While a request is free and no window waits, the window with the most work
left gives the older half of its time to a new window. The giving window keeps its filter and cursor, and stops by
itself at its raised floor. The new one starts without a cursor. Halving the oldest window repeatedly both finds where
an account begins and ramps up the number of requests.

Pure logic for one thread: no I/O and no clock. `sync/backfill/type_run.py` sends, writes and commits what is decided
here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sync.backfill.windows import PageOutline, Reopening, Split, Window, entry_density
from sync.stripe.lists import PAGE_SIZE

MAX_IN_FLIGHT = 64  # 25 requests/s of one endpoint, with heavy pages of 2 s, make 50

# 2010-01-01: no account is older than Stripe. Only estimates use it, so that a window that begins in 1970 is not halved
# through decades that are known to be empty. Older objects are still read.
STRIPE_BEGINS = 1_262_304_000

# We promise at most 20 requests and 10% more than a single chain of pages would need. Splitting stops a little earlier:
# the waste of the open windows is only an expectation, and the reserve covers its error.
WASTE_FREE = 17
WASTE_SHARE = 0.09
# Every window ends with one page that may belong to it only in part, on average half. A window without an answer may
# well be empty, and before an account's first object it always is: that costs a whole request.
WASTE_OF_ANSWERED = 0.5
WASTE_OF_UNANSWERED = 1.0

# More windows than the rate can use waste requests, but when one ends another must take its place. Because latency
# varies, use 30% more than rate * latency, and 3 for the smallest accounts.
SLOTS_PER_REQUEST_IN_FLIGHT = 1.3
SPARE_SLOTS = 3


@dataclass(frozen=True, slots=True)
class _Rest:
    """What an open window can still give: from `top`, where its request in flight will end, down to `bottom`."""

    window: Window
    oldest: int
    top: float
    bottom: int
    density: float
    sure_density: float  # the lower of the densities known at both ends

    @property
    def objects(self) -> float:
        return (self.top - self.bottom) * self.density

    @property
    def sure_objects(self) -> float:
        return (self.top - self.bottom) * self.sure_density


class WindowPlan:
    """All windows of one object type of one backfill, fresh or as stored.

    `likely_start` may be the account's creation. Like STRIPE_BEGINS, only estimates use it.
    """

    def __init__(
        self,
        windows: Iterable[Window],
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        page_size: int = PAGE_SIZE,
        likely_start: int = STRIPE_BEGINS,
    ) -> None:
        self.windows = {window.number: window for window in windows}
        self.in_flight = 0
        self.max_in_flight = max_in_flight
        self._page_size = page_size
        self._likely_start = likely_start
        self._open = {number: window for number, window in self.windows.items() if not window.done}
        self._answers = sum(window.pages for window in self.windows.values())
        self._met = sum(window.met for window in self.windows.values())
        self.is_backwards = any(window.is_backwards for window in self.windows.values())
        _restore_estimates(self.windows.values())

    @property
    def is_finished(self) -> bool:
        return not self._open

    @property
    def met(self) -> int:
        """Objects met so far, above the floors. A reopened window counts objects again that it met before."""
        return self._met

    def next_to_send(self) -> Window | None:
        """The waiting window that reaches back furthest, now in flight.

        None if none waits or no more may be in flight.
        """
        ready = [window for window in self._open.values() if not window.in_flight]
        if not ready or self.in_flight >= self.max_in_flight:
            return None
        window = min(ready, key=lambda window: window.reached)
        window.in_flight = True
        self.in_flight += 1
        return window

    def page_arrived(self, window: Window, page: PageOutline) -> None:
        """The window's next page may be requested before this one is written. Pages are written in their order."""
        self._landed(window)
        window.pages += 1
        self._answers += 1
        if window.entry_density is None:
            window.entry_density = entry_density(window, page)
        window.cursor = page.last_id or window.cursor
        self._advance(window, page)
        # has_more is about the filter's gte, not the floor. A window is never done at oldest == floor: more of that
        # second may follow, and the older neighbour ends before it.
        is_below = page.created and page.created[-1] < window.floor and not window.is_backwards
        if not page.has_more or is_below:
            window.done = True
            del self._open[window.number]

    def request_failed(self, window: Window) -> None:
        """The same page will be requested again."""
        self._landed(window)

    def hold(self, window: Window) -> None:
        """Keeps the window from being sent until `request_failed` is called."""
        window.in_flight = True
        self.in_flight += 1

    def reopen(self, window: Window) -> Reopening:
        """The cursor's object is gone: the rest is read by time, in the same window with a new filter.

        Its last second is read again, because it may contain more. The result is stored unchanged after the window's
        earlier pages. Following pages have cursors of exactly this filter, even if the floor rises in the meantime.
        """
        if window.cursor is None:
            raise ValueError(f"window {window.number} has no page and so no cursor to lose")
        self._landed(window)
        self._answers += 1
        window.gte = window.floor
        window.lt = window.lt if window.oldest is None else window.oldest + 1
        window.cursor = None
        return Reopening(window.number, window.gte, window.lt)

    def propose_split(self, *, tokens: float, rate: float, latency_s: float) -> Split | None:
        """What to give away if `next_to_send` has nothing. Changes nothing until `apply_split`.

        `tokens` are the requests that are free now, `rate` those that become free per second, `latency_s` a page's mean
        latency.
        """
        if self.is_backwards:
            return None  # the older half of its time is already met, and would be counted twice
        slots = tokens + SLOTS_PER_REQUEST_IN_FLIGHT * rate * latency_s + SPARE_SLOTS
        if len(self._open) >= min(self.max_in_flight, slots):
            return None
        rests = [rest for window in self._open.values() if (rest := self._rest_to_give(window))]
        if not rests or not self._affords_window(rests):
            return None
        for rest in rests:
            # Inside one second only the cursor moves, page after page. The rest must not wait behind it.
            if rest.window.in_burst:
                return self._split(rest, rest.oldest)
        most = max(rests, key=lambda rest: rest.objects)
        return self._split(most, int((most.top + most.bottom) / 2)) if most.objects >= self._page_size else None

    def apply_split(self, split: Split) -> Window:
        """Call it once the split is committed. The new window then waits to be sent."""
        giver = self.windows[split.giver]
        window = Window(split.number, split.variant, gte=split.floor, lt=split.mid, floor=split.floor)
        window.expected_density = split.expected_density
        window.older = giver.older
        giver.older = window
        giver.floor = split.mid
        self.windows[window.number] = self._open[window.number] = window
        return window

    def estimated_remaining(self) -> float:
        """Objects that the open windows will probably still meet."""
        return sum(self._remaining(window) for window in self._open.values())

    def _landed(self, window: Window) -> None:
        if not window.in_flight:
            raise ValueError(f"window {window.number} has no request in flight")
        window.in_flight = False
        self.in_flight -= 1

    def _advance(self, window: Window, page: PageOutline) -> None:
        # A Stripe-like server may ignore the filter. Newer objects belong to another window.
        created = [each for each in page.created if each < window.lt]
        if not created:
            return
        kept = sum(each >= window.floor for each in created)
        self._met += kept
        window.met += kept
        newest, window.oldest = created[0], created[-1]
        window.newest = newest if window.newest is None else window.newest
        self.is_backwards = self.is_backwards or window.is_backwards
        window.in_burst = newest == window.oldest and len(created) == self._page_size

    def _affords_window(self, rests: list[_Rest]) -> bool:
        """Whether one more window keeps the promise about requests, counting only objects that are sure to come."""
        answered = sum(window.pages > 0 for window in self._open.values())
        unanswered = len(self._open) - answered + 1
        wasted = self._answers - self._met / self._page_size
        expected = wasted + WASTE_OF_ANSWERED * answered + WASTE_OF_UNANSWERED * unanswered
        # At most as many as were met: between two bursts the estimate expects objects where there are none.
        to_come = min(sum(rest.sure_objects for rest in rests), self._met)
        return expected <= WASTE_FREE + WASTE_SHARE * (self._met + to_come) / self._page_size

    def _rest_to_give(self, window: Window) -> _Rest | None:
        if window.oldest is None or window.oldest <= window.floor:
            return None
        own = window.density
        top = window.oldest - (self._page_size / own if window.in_flight else 0)
        bottom = self._bottom(window)
        if top - bottom < 1:
            return None
        below = window.density_below
        if below is None:
            return _Rest(window, window.oldest, top, bottom, density=own, sure_density=0)
        return _Rest(window, window.oldest, top, bottom, density=(own + below) / 2, sure_density=min(own, below))

    def _split(self, rest: _Rest, mid: int) -> Split:
        """`mid` is at most the giving window's oldest second, which it finishes itself.

        No earlier page changes this.
        """
        giver = rest.window
        return Split(
            giver=giver.number,
            number=max(self.windows) + 1,
            variant=giver.variant,
            floor=giver.floor,
            mid=max(mid, giver.floor + 1),
            expected_density=rest.density,
        )

    def _remaining(self, window: Window) -> float:
        """At least one object: an open window may always meet another."""
        if window.oldest is None:
            density = window.expected_density
            # Nothing is known about a type's first window. A page is assumed, so that progress does not begin near its
            # end.
            return self._page_size if density is None else max(1.0, (window.lt - self._bottom(window)) * density)
        below = window.density_below
        density = window.density if below is None else (window.density + below) / 2
        return max(1.0, (window.oldest - self._bottom(window)) * density)

    def _bottom(self, window: Window) -> int:
        """Where its objects probably end: the floor, unless that is before the account's likely start."""
        return max(window.floor, self._likely_start) if window.reached > self._likely_start else window.floor


def _restore_estimates(windows: Iterable[Window]) -> None:
    """Finds each window's older neighbour, and derives its densities from what was stored.

    A reopened window begins lower than before, so its neighbour is the nearest one below and may not touch it.
    """
    newest_first = sorted(windows, key=lambda window: (window.variant, window.lt), reverse=True)
    newer: Window | None = None
    for window in newest_first:
        if window.pages:
            end = window.floor if window.done or window.oldest is None else window.oldest
            window.entry_density = window.met / max(1, window.lt - end)
        if newer is not None and newer.variant == window.variant:
            newer.older = window
            window.expected_density = newer.density if newer.pages else newer.expected_density
        newer = window
