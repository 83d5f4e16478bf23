"""Reads RQ's records of workers and started jobs, recognizes dead workers, and cleans up after them."""

import time
from dataclasses import dataclass
from datetime import datetime

import redis
import structlog
from rq import Worker
from rq.worker import BaseWorker

from workers.context import Context
from workers.queues import ALL_QUEUES, BACKFILLS, EVENTS
from workers.redis.beats import ask_for_alive
from workers.rq_internals import clean_queue, forget_worker

# Keeps a dead worker visible for a while, so that operators see that it died.
_SHOWN_DEAD_S = 120.0
_CLEAN_EVERY_S = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class KnownWorker:
    """A worker as RQ and its heartbeats describe it. `job` is the job that it runs.

    `state` is RQ's word (busy, idle…), or "dead" if its heartbeats have stopped.
    """

    name: str
    queues: str
    state: str
    job: str
    beat_at: datetime | None


def known_workers(connection: redis.Redis) -> list[KnownWorker]:
    """By queue. Raises redis.RedisError."""
    alive = _alive(connection)
    found = sorted(Worker.all(connection=connection), key=lambda worker: (worker.queue_names(), worker.name))
    return [_known(worker, alive) for worker in found]


def _known(worker: BaseWorker, alive: set[str]) -> KnownWorker:
    lives = worker.name in alive
    return KnownWorker(
        worker.name,
        ", ".join(worker.queue_names()),
        str(worker.get_state()) if lives else "dead",
        (worker.get_current_job_id() or "") if lives else "",
        worker.last_heartbeat,
    )


def _alive(connection: redis.Redis) -> set[str]:
    return {name.decode() for role in (BACKFILLS, EVENTS) for name in ask_for_alive(connection, role)}


class Cleaner:
    """Cleans every ten seconds what RQ cleans every ten minutes. One per process."""

    def __init__(self) -> None:
        self._cleaned_at = float("-inf")
        self._dead_since: dict[str, float] = {}

    def clean(self, context: Context) -> int:
        """Returns how many workers it forgot. Raises redis.RedisError."""
        now = time.monotonic()
        if now - self._cleaned_at < _CLEAN_EVERY_S:
            return 0
        self._cleaned_at = now
        for name in ALL_QUEUES:
            clean_queue(name, context.redis)
        return self._forget_dead(context.redis, now)

    def _forget_dead(self, connection: redis.Redis, now: float) -> int:
        alive = _alive(connection)
        dead = [worker for worker in Worker.all(connection=connection) if worker.name not in alive]
        self._dead_since = {worker.name: self._dead_since.get(worker.name, now) for worker in dead}
        forgotten = [worker for worker in dead if now - self._dead_since[worker.name] >= _SHOWN_DEAD_S]
        for worker in forgotten:
            log.warning("worker.forgotten", worker=worker.name, host=worker.hostname, pid=worker.pid)
            forget_worker(worker)
        return len(forgotten)
