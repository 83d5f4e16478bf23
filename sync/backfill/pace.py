"""Decides how many pages of a type may be in flight, from how Stripe and Postgres cope."""

import time
from dataclasses import dataclass

from sync.backfill.window_plan import MAX_IN_FLIGHT
from sync.errors import StripeRateLimited, StripeUnavailable

# The number at first. It grows by one whenever a page finds all writers idle, and shrinks on a 429.
FIRST_IN_FLIGHT = 8
# Pages that are read but not yet written. At this number no further page is requested, so memory stays flat. It is
# large enough to read the cut lists of some while the next pages arrive.
MOST_UNWRITTEN = 16
_LATENCY_SMOOTHING = 0.2


@dataclass(slots=True)
class Pace:
    limit: float = FIRST_IN_FLIGHT
    unwritten: int = 0
    latency_s: float = 0.0

    def has_room(self, in_flight: int) -> bool:
        return in_flight < self.limit and self.unwritten < MOST_UNWRITTEN

    def page_came(self, asked_at: float, in_flight: int) -> None:
        """`in_flight` includes this page."""
        if self.unwritten == 0 and in_flight >= self.limit - 1:
            self.limit = min(float(MAX_IN_FLIGHT), self.limit + 1)
        smoothing = _LATENCY_SMOOTHING if self.latency_s else 1.0
        self.latency_s += smoothing * (time.monotonic() - asked_at - self.latency_s)
        self.unwritten += 1

    def page_failed(self, error: StripeUnavailable) -> None:
        if isinstance(error, StripeRateLimited):
            self.limit = max(1.0, self.limit * 0.8)
