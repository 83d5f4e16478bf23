"""The jobs that RQ runs: thin, ids in; each opens a context of its own, for it runs in a process of its own."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import redis
import structlog
from rq import Queue, Worker, get_current_job

from sync.backfill import Tools
from sync.backfills import BackfillStore
from sync.connections import Connection, Connections
from sync.error_text import loggable_reason
from sync.event_routing import Mirrored
from sync.parts import PartRun
from workers.context import Context, connection_options, open_context
from workers.progress import Progress
from workers.queues import BACKFILLS, enqueue_due
from workers.settings import Settings
from workers.stripe_account import open_source

# A turn on a part: a minute, so that a deploy never waits for hours; less when others wait, so that a small team does
# not wait for a huge one. Less than a few seconds would be spent on taking turns.
TURN_S = 60.0
TURN_WHILE_OTHERS_WAIT_S = 5.0
_LOOK_EVERY_S = 1.0
_COUNT_EVERY_S = 1.0

log = structlog.get_logger()


class JobFailed(Exception):
    """What broke a job, in words that carry nothing of a tenant's."""


def work_on_part(backfill_id: str, part: str) -> str:
    """One turn on one part of a backfill; says how it ended, for rq-dashboard."""
    with job_context(backfill=backfill_id, type=part) as context:
        with context.pool.connection() as connection:
            backfill = BackfillStore(connection).get(backfill_id)
            connected = Connections(connection, context.box).get(backfill.team_id) if backfill else None
            if backfill is None or connected is None or connected.secret_key is None:
                log.info("part.dropped", reason="the team was disconnected")
                return "dropped"
            source = open_source(context, connected)
            tools = Tools(source, lambda: connect(context), turn(context).is_over)
            show = Progress(context.redis, backfill_id).show
            ended = PartRun(backfill, part, mirrored(connected), tools, show, connection).run()
        enqueue_due(context, backfill_id)
        return ended


def mirrored(connected: Connection) -> Mirrored:
    return Mirrored(connected.account_id, connected.livemode)


def connect(context: Context) -> psycopg.Connection:
    """A connection outside the pool, for threads of a backfill that keep theirs and set it up their own way."""
    url = context.settings.database_url
    return psycopg.connect(url, **connection_options(url, "billstack backfill"))


@contextmanager
def job_context(**facts: str) -> Iterator[Context]:
    """A context, and log lines that say which request, team and part they are of."""
    job = get_current_job()
    meta = {key: value for key, value in (job.meta if job else {}).items() if value}
    with structlog.contextvars.bound_contextvars(**(meta | facts)):
        context = open_context(Settings.from_env(os.environ), count_every_s=_COUNT_EVERY_S)
        try:
            yield context
        except Exception as exc:
            # RQ keeps a failed job's traceback in Redis, and shows it to operators.
            raise JobFailed(loggable_reason(exc)).with_traceback(exc.__traceback__) from None
        finally:
            context.close()


def turn(context: Context) -> "Turn":
    """The current job's turn on the queue of backfills, from now on."""
    job = get_current_job()
    return Turn(context.redis, job.worker_name if job else None)


class Turn:
    """When to let others work, or the worker stop: a deploy waits for the pages in flight, not for the turn's end."""

    def __init__(self, connection: redis.Redis, worker_name: str | None) -> None:
        self._redis = connection
        self._worker_key = f"{Worker.redis_worker_namespace_prefix}{worker_name}"
        self._queue = Queue(BACKFILLS, connection=connection)
        self._started = self._looked = time.monotonic()
        self._over = False

    def is_over(self) -> bool:
        now = time.monotonic()
        if not self._over and now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            lasted_s = now - self._started
            self._over = lasted_s >= TURN_S or self._is_wanted_elsewhere(lasted_s)
        return self._over

    def _is_wanted_elsewhere(self, lasted_s: float) -> bool:
        try:
            if self._redis.hexists(self._worker_key, "shutdown_requested_date"):
                return True
            return lasted_s >= TURN_WHILE_OTHERS_WAIT_S and self._queue.count > 0
        except redis.RedisError:
            return False
