"""Shows the counters of many short-lived processes to Prometheus.

The counters live in Redis, because processes are replaced. If Redis loses them, Prometheus sees a restart. Waiting work
is read from Postgres at each scrape. No label names a team, because the metrics may be public.
"""

import itertools
from collections.abc import Iterator

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sync.events.ledger import backlog
from workers.context import Context
from workers.redis.gauges import of_postgres, of_redis
from workers.redis.meter import (
    APPLY_SECONDS,
    BUDGET_WAIT,
    DELIVERIES,
    EVENTS,
    KEY,
    LATENCY_BUCKETS_S,
    REQUESTS,
    RETRIES,
    known_type,
    label_field,
)


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
        yield from of_postgres(self._context)
        yield from of_redis(self._context)
        yield self._events()
        yield self._counter(
            "billstack_deliveries",
            "Deliveries with a signature that matches no secret of the team",
            DELIVERIES,
            ("outcome",),
        )
        yield self._latency()
        yield self._counter(
            "billstack_stripe_requests",
            "Requests to Stripe; status none means no answer",
            REQUESTS,
            ("endpoint", "status"),
        )
        yield self._counter(
            "billstack_stripe_retries",
            "Requests to Stripe that failed and were sent again, by the status that they failed with",
            RETRIES,
            ("endpoint", "status"),
        )
        yield self._counter(
            "billstack_budget_wait_seconds", "How long requests waited for the budget", BUDGET_WAIT, ("endpoint",)
        )

    def _waiting(self) -> Iterator[Metric]:
        with self._context.pool.connection() as connection:
            count, age_s = backlog(connection)
        yield GaugeMetricFamily(
            "billstack_events_oldest_pending_seconds", "How long the oldest unapplied event has waited", age_s
        )
        yield GaugeMetricFamily("billstack_events_pending", "Events recorded and not applied yet", count)

    def _counter(self, name: str, about: str, counter: str, labels: tuple[str, ...]) -> Metric:
        family = CounterMetricFamily(name, about, labels=labels)
        for values, amount in sorted(self._read(counter).items()):
            family.add_metric(values, amount)
        return family

    def _events(self) -> Metric:
        """Leaves out unknown types that an earlier version counted. Redis will drop them."""
        found = self._read(EVENTS)
        strange = [labels for labels in found if known_type(labels[0]) != labels[0]]
        if strange:
            self._context.redis.hdel(KEY + EVENTS, *map(label_field, strange))
        family = CounterMetricFamily("billstack_events", "Events by type and outcome", labels=("type", "outcome"))
        for labels in sorted(found.keys() - set(strange)):
            family.add_metric(labels, found[labels])
        return family

    def _latency(self) -> Metric:
        counts = self._read(APPLY_SECONDS)
        bounds = [*map(str, LATENCY_BUCKETS_S), "+Inf"]
        totals = itertools.accumulate(counts.get((bound,), 0.0) for bound in bounds)
        family = HistogramMetricFamily("billstack_event_apply_seconds", "From the ledger to the mirror")
        family.add_metric([], list(zip(bounds, totals, strict=True)), sum_value=counts.get(("sum",), 0.0))
        return family

    def _read(self, counter: str) -> dict[tuple[str, ...], float]:
        fields: dict[bytes, bytes] = self._context.redis.hgetall(KEY + counter)  # type: ignore[assignment]
        return {msgspec.json.decode(labels, type=tuple[str, ...]): float(amount) for labels, amount in fields.items()}
