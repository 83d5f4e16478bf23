"""Turns what a plan has met and still expects into a credible share."""

import time
from collections import deque

from sync.backfill.window_plan import WindowPlan

# The share is updated twice a second (sync/backfill/lease.py), a little later on a busy machine.
_WATCHED_S = 5.0
_LOOKS_APART_S = 1.0
_ESTIMATE_EVERY_S = 0.25
# How far the predicted ends may differ in that time: a share of the time left, or so many seconds near the end.
_NEAR = 0.2
_NEAR_S = 2.0
# Estimates are never exact. Only a type whose windows are all done shows 1.
MOST_WHILE_OPEN = 0.99


class ProgressEstimate:
    """The share of a type's objects that were met: 0 to 1, never going down.

    `shown` is the share shown before, perhaps by another process. The estimated rest changes with every split and
    answer, so the share stays where it is until the estimates have caught up.
    """

    def __init__(self, shown: float = 0.0) -> None:
        self._shown = shown

    def advance(self, *, met: int, remaining: float, is_finished: bool) -> float:
        share = 1.0 if is_finished else min(met / max(1.0, met + remaining), MOST_WHILE_OPEN)
        self._shown = max(self._shown, share)
        return self._shown


class ShownProgress:
    """The share of a type that is shown while its windows are read."""

    def __init__(self, plan: WindowPlan) -> None:
        self.share = 0.0
        self._plan = plan
        self._estimate = ProgressEstimate()
        self._looked_at = 0.0

    def look(self) -> None:
        """Call it twice a second, not for each page: it looks at all windows."""
        now = time.monotonic()
        if now - self._looked_at >= _ESTIMATE_EVERY_S:
            self._looked_at = now
            remaining = self._plan.estimated_remaining()
            self.share = self._estimate.advance(met=self._plan.met, remaining=remaining, is_finished=False)


class SteadyEta:
    """Seconds until a type's lists are read. None until predictions agree for some seconds.

    While a backfill speeds up or its windows are split, every look predicts another end.
    """

    def __init__(self) -> None:
        self._foretold: deque[tuple[float, float]] = deque()  # when we looked, and the end that we predicted
        self._is_steady = False

    def look(self, now: float, *, remaining: float, rate: float) -> float | None:
        """`remaining` objects at `rate` objects a second. `now` is in seconds of any monotonic clock."""
        if rate <= 0:
            self._foretold.clear()
            return None
        eta_s = remaining / rate
        self._foretold.append((now, now + eta_s))
        while self._foretold[0][0] < now - _WATCHED_S:
            self._foretold.popleft()
        self._is_steady = self._is_near(eta_s) and now - self._foretold[0][0] >= _WATCHED_S - _LOOKS_APART_S
        return eta_s if self._is_steady else None

    def _is_near(self, eta_s: float) -> bool:
        """A steady prediction may move twice as far, so that the words on a page do not flicker."""
        ends = [end for _, end in self._foretold]
        return max(ends) - min(ends) <= max(_NEAR_S, _NEAR * eta_s) * (2 if self._is_steady else 1)
