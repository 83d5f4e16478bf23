"""Counts deliveries with a wrong signature, for the status: how many, since when, and whether a valid one came since.

Anybody can send such deliveries. So a request only adds to a number in memory, and one thread writes all numbers
together every few seconds. The number of writes does not depend on the number of deliveries.
"""

import threading
import time
from collections import Counter

import psycopg
import structlog

from sync.error_text import loggable_reason
from sync.teams.connections import Connections
from workers.context import Context
from workers.redis.meter import DELIVERIES

FLUSH_EVERY_S = 3.0

log = structlog.get_logger()


class Refusals:
    """One per process that receives deliveries. Thread-safe."""

    def __init__(self, context: Context, *, flush_every_s: float = FLUSH_EVERY_S) -> None:
        self._context = context
        self._flush_every_s = flush_every_s
        self._counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, team_id: str) -> None:
        with self._changed:
            if self._thread is None:  # not earlier: servers fork
                self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)
                self._thread.start()
            self._counts[team_id] += 1
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._counts)
                counts, self._counts = self._counts, Counter()
            self._write(counts)
            time.sleep(self._flush_every_s)

    def _write(self, counts: Counter[str]) -> None:
        self._context.meter.add([(DELIVERIES, ("refused",), counts.total())])
        try:
            with self._context.pool.connection() as connection:
                Connections(connection, self._context.box).add_refused(counts)
        except psycopg.Error as exc:
            log.warning("refusals.not_counted", reason=loggable_reason(exc))
        log.info("deliveries.refused", teams=len(counts), count=counts.total())
