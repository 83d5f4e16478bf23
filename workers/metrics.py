"""Counts what happens in many short-lived processes, and shows it to Prometheus.

RQ runs each job in a process of its own, so counters live in Redis; a Redis that lost them looks to Prometheus like a
restart. What waits is asked of Postgres when it is looked at. No label names a team: anybody may read them.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import msgspec
import redis
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sync import caller
from sync.events import Outcome
from sync.ledger import Ended, backlog
from workers.context import Context

_KEY = "billstack:metrics:"
EVENTS = "events"
APPLY_SECONDS = "apply_seconds"
REQUESTS = "stripe_requests"
BUDGET_WAIT = "budget_wait_seconds"

# Seconds from the ledger to the mirror. What is not there after a minute was retried or lay while something was away.
LATENCY_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
# While Redis is away: not a timeout for every request to Stripe.
_TRY_AGAIN_S = 5.0

log = structlog.get_logger()

Increment = tuple[str, tuple[str, ...], float]


class Meter:
    """Adds to the counters in Redis. Thread-safe; a Redis that is away costs counts and nothing else."""

    def __init__(self, connection: redis.Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = connection
        self._clock = clock
        self._away_until = 0.0
        self._lock = threading.Lock()
        self._waits: list[Increment] = []

    def events(self, outcome: Outcome, events: list[Ended]) -> None:
        """Told by an apply job of what became of events (sync/events.py)."""
        increments: list[Increment] = [(EVENTS, (event.type, outcome), 1) for event in events]
        if outcome != "failed":
            for event in events:
                increments += [
                    (APPLY_SECONDS, (_bucket(event.waited_s),), 1),
                    (APPLY_SECONDS, ("sum",), event.waited_s),
                ]
        self.add(increments)

    def request(self, endpoint: str, status: int | None) -> None:
        """With the waits since the last one: a further round trip a request would cost as much as the request."""
        with self._lock:
            waits, self._waits = self._waits, []
        self.add([*waits, (REQUESTS, (endpoint, str(status or "none")), 1)])

    def budget_wait(self, endpoint: str, seconds: float) -> None:
        """Counted together with the next request, for which it was."""
        with self._lock:
            self._waits.append((BUDGET_WAIT, (endpoint,), seconds))

    def add(self, increments: Iterable[Increment]) -> None:
        if self._clock() < self._away_until:
            return
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for name, labels, amount in increments:
                    pipeline.hincrbyfloat(_KEY + name, msgspec.json.encode(labels).decode(), amount)
                pipeline.execute()
        except redis.RedisError as exc:
            self._away_until = self._clock() + _TRY_AGAIN_S
            log.warning("metrics.not_counted", reason=str(exc))


class MeteredLimiter:
    """A limiter that counts for how long requests wait for it."""

    def __init__(self, limiter: caller.Limiter, meter: Meter) -> None:
        self._limiter = limiter
        self._meter = meter

    def reserve(self, account_id: str, endpoint: str, *, livemode: bool, urgent: bool = False) -> caller.Reservation:
        began = time.monotonic()
        reservation = self._limiter.reserve(account_id, endpoint, livemode=livemode, urgent=urgent)
        self._meter.budget_wait(endpoint, time.monotonic() - began + reservation.wait_s)
        return reservation

    def slow_down(self, account_id: str, endpoint: str, reason: str | None, *, livemode: bool) -> None:
        self._limiter.slow_down(account_id, endpoint, reason, livemode=livemode)


def exposition(context: Context) -> bytes:
    """All metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(context))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        yield from self._waiting()
        yield self._counter("billstack_events", "Events by type and what became of them", EVENTS, ("type", "outcome"))
        yield self._latency()
        yield self._counter(
            "billstack_stripe_requests", "Requests to Stripe; status none: no answer", REQUESTS, ("endpoint", "status")
        )
        yield self._counter(
            "billstack_budget_wait_seconds", "For how long requests waited for the budget", BUDGET_WAIT, ("endpoint",)
        )

    def _waiting(self) -> Iterator[Metric]:
        with self._context.pool.connection() as connection:
            count, age_s = backlog(connection)
        yield GaugeMetricFamily(
            "billstack_events_oldest_pending_seconds", "For how long the oldest unapplied event has waited", age_s
        )
        yield GaugeMetricFamily("billstack_events_pending", "Events recorded and not applied yet", count)

    def _counter(self, name: str, about: str, counter: str, labels: tuple[str, ...]) -> Metric:
        family = CounterMetricFamily(name, about, labels=labels)
        for values, amount in sorted(self._read(counter).items()):
            family.add_metric(values, amount)
        return family

    def _latency(self) -> Metric:
        counts = self._read(APPLY_SECONDS)
        bounds = [*map(str, LATENCY_BUCKETS_S), "+Inf"]
        totals = itertools.accumulate(counts.get((bound,), 0.0) for bound in bounds)
        family = HistogramMetricFamily("billstack_event_apply_seconds", "From the ledger to the mirror")
        family.add_metric([], list(zip(bounds, totals, strict=True)), sum_value=counts.get(("sum",), 0.0))
        return family

    def _read(self, counter: str) -> dict[tuple[str, ...], float]:
        fields: dict[bytes, bytes] = self._context.redis.hgetall(_KEY + counter)  # type: ignore[assignment]
        return {msgspec.json.decode(labels, type=tuple[str, ...]): float(amount) for labels, amount in fields.items()}


def _bucket(seconds: float) -> str:
    return next((str(bound) for bound in LATENCY_BUCKETS_S if seconds <= bound), "+Inf")
