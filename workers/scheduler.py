"""Looks every few seconds for work that nobody does: parts whose holder died or whose job Redis lost, events left lying."""

import signal
import threading

import psycopg
import redis
import structlog
from psycopg_pool import PoolTimeout

from workers.context import Context
from workers.queues import enqueue_due

EVERY_S = 3.0

log = structlog.get_logger()


def run(context: Context) -> None:
    """Until SIGTERM or SIGINT. Several schedulers may run: what one enqueued, the others find enqueued."""
    stopped = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopped.set())
    log.info("scheduler.started")
    while not stopped.wait(EVERY_S):
        try:
            run_once(context)
        except (psycopg.Error, PoolTimeout, redis.RedisError) as exc:
            log.warning("scheduler.waits", reason=str(exc))


def run_once(context: Context) -> int:
    """How many parts it enqueued."""
    return enqueue_due(context)
