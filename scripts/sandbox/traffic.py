"""One account's limits and traffic: token buckets, requests in flight and counts."""

from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests a second for the whole account and for one endpoint, and simultaneous requests. None: no limit."""

    account_rps: float | None = None
    endpoint_rps: float | None = None
    concurrency: int | None = None


class _Bucket:
    """Holds one second's worth of tokens, full at first."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = max(1.0, rate)
        self._at = now

    def has_token(self, now: float) -> bool:
        self._tokens = min(max(1.0, self._rate), self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self._tokens >= 1

    def take(self) -> None:
        self._tokens -= 1


class Traffic:
    """Counts the requests of one account in one mode, and finds the Stripe limit that refuses one."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.set_limits(limits or Limits())
        self.reset()
        self._in_flight = 0

    def set_limits(self, limits: Limits) -> None:
        self.limits = limits
        self._buckets: dict[str, _Bucket] = {}

    def reset(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._limited: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._max_in_flight = 0

    def refusal(self, endpoint: str, now: float) -> str | None:
        """The reason for a 429 (`Stripe-Rate-Limited-Reason`). A refused request uses no tokens."""
        limits = self.limits
        if limits.concurrency is not None and self._in_flight >= limits.concurrency:
            return self._refused("global-concurrency")
        buckets = []
        if limits.account_rps is not None:
            buckets.append(("global-rate", self._bucket("", limits.account_rps, now)))
        if limits.endpoint_rps is not None:
            buckets.append(("endpoint-rate", self._bucket(endpoint, limits.endpoint_rps, now)))
        for reason, bucket in buckets:
            if not bucket.has_token(now):
                return self._refused(reason)
        for _, bucket in buckets:
            bucket.take()
        return None

    def _refused(self, reason: str) -> str:
        self._limited[reason] += 1
        return reason

    def _bucket(self, name: str, rate: float, now: float) -> _Bucket:
        if name not in self._buckets:
            self._buckets[name] = _Bucket(rate, now)
        return self._buckets[name]

    def enter(self) -> None:
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)

    def leave(self) -> None:
        self._in_flight -= 1

    def answered(self, endpoint: str, status: int) -> None:
        self._answers[endpoint, status] += 1

    def struck(self, fault: str) -> None:
        """A fault spoiled an answer."""
        self._faults[fault] += 1

    def stats(self) -> dict[str, Any]:
        endpoints: dict[str, dict[str, int]] = {}
        for (endpoint, status), count in sorted(self._answers.items()):
            endpoints.setdefault(endpoint, {})[str(status)] = count
        return {
            "requests": sum(self._answers.values()),
            "endpoints": endpoints,
            "limited": dict(self._limited),
            "faults": dict(self._faults),
            "inFlight": self._in_flight,
            "maxInFlight": self._max_in_flight,
        }
