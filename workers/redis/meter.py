"""Counts events and requests of many short-lived processes. The counters live in Redis."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec
import redis
import structlog

from sync.event_types import LISTENED_TYPES
from sync.events.applying import EventOutcome
from sync.events.ledger import Ended
from sync.stripe import caller
from sync.stripe.retries import Retry, RetryWatch

KEY = "billstack:metrics:"
EVENTS = "events"
APPLY_SECONDS = "apply_seconds"
DELIVERIES = "deliveries"
REQUESTS = "stripe_requests"
RETRIES = "stripe_retries"
BUDGET_WAIT = "budget_wait_seconds"

# Seconds from the ledger to the mirror. A minute or more means that the event was retried, or a server was unavailable.
LATENCY_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
# While Redis is unavailable, saves a timeout for every request to Stripe.
_TRY_AGAIN_S = 5.0
_OTHER_TYPE = "other"
_LABELS = frozenset((*LISTENED_TYPES, _OTHER_TYPE))

log = structlog.get_logger()

Increment = tuple[str, tuple[str, ...], float]


class Meter:
    """Adds to the counters in Redis. Thread-safe. If Redis is unavailable, counts are lost and nothing else.

    Counts within `flush_every_s` are sent together: a round trip for each request to Stripe would cost as much as the
    request. So a process with a `flush_every_s` must call `flush` at its end. If it is killed, it loses that much.
    """

    def __init__(
        self, connection: redis.Redis, *, flush_every_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = connection
        self._flush_every_s = flush_every_s
        self._clock = clock
        self._flush_at = clock()
        self._lock = threading.Lock()
        self._counts: defaultdict[tuple[str, tuple[str, ...]], float] = defaultdict(float)

    def events(self, outcome: EventOutcome, events: list[Ended]) -> None:
        """Apply jobs report the results of events here (sync/events/applying.py)."""
        increments: list[Increment] = [(EVENTS, (known_type(event.type), outcome), 1) for event in events]
        if outcome != "failed":
            for event in events:
                increments += [
                    (APPLY_SECONDS, (_bucket(event.waited_s),), 1),
                    (APPLY_SECONDS, ("sum",), event.waited_s),
                ]
        self.add(increments)

    def request(self, endpoint: str, status: int | None) -> None:
        self.add([(REQUESTS, (endpoint, _status(status)), 1)])

    def retry(self, endpoint: str, status: int | None) -> None:
        self.add([(RETRIES, (endpoint, _status(status)), 1)])

    def budget_wait(self, endpoint: str, seconds: float) -> None:
        """Sent together with the count of the request that waited."""
        with self._lock:
            self._counts[BUDGET_WAIT, (endpoint,)] += seconds

    def add(self, increments: Iterable[Increment]) -> None:
        with self._lock:
            for name, labels, amount in increments:
                self._counts[name, labels] += amount
            is_due = self._clock() >= self._flush_at
        if is_due:
            self.flush()

    def flush(self) -> None:
        with self._lock:
            counts = list(self._counts.items())
            self._counts.clear()
            self._flush_at = self._clock() + self._flush_every_s
        if not counts:
            return
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for (name, labels), amount in counts:
                    pipeline.hincrbyfloat(KEY + name, label_field(labels), amount)
                pipeline.execute()
        except redis.RedisError as exc:
            self._flush_at = self._clock() + _TRY_AGAIN_S
            log.warning("metrics.not_counted", reason=str(exc))


class MeteredLimiter:
    """A limiter that counts how long requests wait for it."""

    def __init__(self, limiter: caller.Limiter, meter: Meter) -> None:
        self._limiter = limiter
        self._meter = meter

    def reserve(
        self, account_id: str, endpoint: str, *, livemode: bool, urgent: bool = False, most: int = 1
    ) -> caller.Reservation:
        began = time.monotonic()
        reservation = self._limiter.reserve(account_id, endpoint, livemode=livemode, urgent=urgent, most=most)
        self._meter.budget_wait(endpoint, time.monotonic() - began + reservation.wait_s)
        return reservation

    def slow_down(self, account_id: str, endpoint: str, reason: str | None, *, livemode: bool) -> None:
        self._limiter.slow_down(account_id, endpoint, reason, livemode=livemode)


class MeteredRetries:
    """Counts retries for one who watches them."""

    def __init__(self, watch: RetryWatch, meter: Meter) -> None:
        self._watch = watch
        self._meter = meter

    def waits(self, request: object, retry: Retry) -> None:
        self._meter.retry(retry.endpoint, retry.status)
        self._watch.waits(request, retry)

    def is_over(self, request: object) -> None:
        self._watch.is_over(request)


def _status(status: int | None) -> str:
    return str(status or "none")


def label_field(labels: tuple[str, ...]) -> str:
    return msgspec.json.encode(labels).decode()


def known_type(event_type: str) -> str:
    """Unknown types share a label: labels live for ever, and whatever signs an event may name its type freely."""
    return event_type if event_type in _LABELS else _OTHER_TYPE


def _bucket(seconds: float) -> str:
    return next((str(bound) for bound in LATENCY_BUCKETS_S if seconds <= bound), "+Inf")
