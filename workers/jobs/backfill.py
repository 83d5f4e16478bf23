"""The jobs that RQ runs: thin, ids in; each opens a context of its own, for it runs in a process of its own."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import psycopg
import redis
import structlog
from rq import Queue, Worker, get_current_job

from sync.backfill.part import PartRun
from sync.backfill.records import FINISH, Backfill, BackfillStore
from sync.backfill.type_run import Tools
from sync.database.borrowing import borrowing
from sync.error_text import loggable_reason
from sync.events.routing import Mirrored
from sync.mirror.store import LOSSES
from sync.teams.connections import Connection, Connections
from workers.context import Context, open_context
from workers.queues import BACKFILLS, enqueue_due, take_waiting
from workers.redis.progress import Progress, ShownRetries
from workers.settings import Settings
from workers.stripe_account import open_source

# A turn on a part: a minute, so that a deploy never waits for hours; less when others wait, so that a small team does
# not wait for a huge one. Less than a few seconds would be spent on taking turns.
TURN_S = 60.0
TURN_WHILE_OTHERS_WAIT_S = 5.0
_LOOK_EVERY_S = 1.0
_COUNT_EVERY_S = 1.0
# Where Postgres refuses connections: then the job ends, and its part is begun again.
_CONNECTION_WAIT_S = 15.0

log = structlog.get_logger()


class JobFailed(Exception):
    """What broke a job, in words that carry nothing of a tenant's."""


def work_on_part(backfill_id: str, part: str) -> str:
    """One turn on a part of a backfill, and on parts that still wait for a worker; says how it ended, for rq-dashboard.

    A part of a small team takes less than a job for it, so whoever is done with one goes on with the next. Of a large team
    each is at some worker by then.
    """
    with job_context(backfill=backfill_id, type=part) as context:
        connection = borrowing(lambda: connect(context))
        try:
            return _take_part(context, connection, backfill_id, part)
        except LOSSES as exc:
            context.trouble.note_error(exc)
            log.warning("part.waits", reason=loggable_reason(exc))
            return "waits"


def _take_part(context: Context, connection: psycopg.Connection, backfill_id: str, part: str) -> str:
    backfill = BackfillStore(connection).get(backfill_id)
    connected = Connections(connection, context.box).get(backfill.team_id) if backfill else None
    if backfill is None or connected is None or connected.secret_key is None:
        log.info("part.dropped", reason="the team was disconnected")
        return "dropped"
    ended = _work_on_parts(context, connection, backfill, connected, part)
    if ended != "waits":  # else the scheduler enqueues it again, and not at once
        enqueue_due(context, backfill_id)
    return ended


def _work_on_parts(
    context: Context, connection: psycopg.Connection, backfill: Backfill, connected: Connection, first: str
) -> str:
    """Until the turn is over or nothing waits; how the first one ended."""
    ours = turn(context)
    retries = ShownRetries(context.redis, backfill.id, first)
    source = open_source(context, connected, retries=retries)
    tools = Tools(source, lambda: connect(context), ours.is_over, ours.is_stopping)
    show = Progress(context.redis, backfill.id).show
    ended = latest = PartRun(backfill, first, mirrored(connected), tools, show, connection).run()
    while latest == "done" and not ours.is_over() and (part := take_waiting(context, backfill.id, connection)):
        retries.follow(part)
        with structlog.contextvars.bound_contextvars(type=part):
            # A long finish has a job of its own, whose time limit fits it.
            further = replace(tools, is_stopping=ours.is_over) if part == FINISH else tools
            backfill = BackfillStore(connection).get(backfill.id) or backfill  # its upper end is fixed by now
            latest = PartRun(backfill, part, mirrored(connected), further, show, connection).run()
    return ended


def mirrored(connected: Connection) -> Mirrored:
    return Mirrored(connected.account_id, connected.livemode)


def connect(context: Context) -> AbstractContextManager[psycopg.Connection]:
    """One of the process' few connections: who waits for Stripe holds none (sync/database/borrowing.py)."""
    return context.pool.connection()


# Of a process that runs one job after the other: what they work with.
_kept: Context | None = None


def keep_context() -> None:
    """From now on the jobs of this process share one context and its connections."""
    global _kept
    _kept = _open()


def _open() -> Context:
    settings = Settings.from_env(os.environ)
    return open_context(
        settings,
        pool_size=settings.connections_of_horse,
        pool_wait_s=_CONNECTION_WAIT_S,
        count_every_s=_COUNT_EVERY_S,
        direct=True,
        application="billstack backfill",
    )


@contextmanager
def job_context(**facts: str) -> Iterator[Context]:
    """A context, and log lines that say which request, team and part they are of."""
    job = get_current_job()
    meta = {key: value for key, value in (job.meta if job else {}).items() if value}
    with structlog.contextvars.bound_contextvars(**(meta | facts)):
        context = _kept or _open()
        try:
            yield context
        except Exception as exc:
            context.trouble.note_error(exc)
            # RQ keeps a failed job's traceback in Redis, and shows it to operators.
            raise JobFailed(loggable_reason(exc)).with_traceback(exc.__traceback__) from None
        finally:
            if _kept:
                context.meter.flush()
            else:
                context.close()


def turn(
    context: Context,
    waiting_in: str = BACKFILLS,
    *,
    longest_s: float = TURN_S,
    while_others_wait_s: float = TURN_WHILE_OTHERS_WAIT_S,
) -> "Turn":
    """The current job's turn, from now on: shorter while others wait in that queue."""
    job = get_current_job()
    name = job.worker_name if job else None
    return Turn(context.redis, name, waiting_in, longest_s=longest_s, while_others_wait_s=while_others_wait_s)


class Turn:
    """When to let others work, or the worker stop: a deploy waits for the pages in flight, not for the turn's end."""

    def __init__(
        self,
        connection: redis.Redis,
        worker_name: str | None,
        waiting_in: str,
        *,
        longest_s: float,
        while_others_wait_s: float,
    ) -> None:
        self._redis = connection
        self._worker_key = f"{Worker.redis_worker_namespace_prefix}{worker_name}"
        self._queue = Queue(waiting_in, connection=connection)
        self._longest_s = longest_s
        self._while_others_wait_s = while_others_wait_s
        self._started = self._looked = time.monotonic()
        self._over = self._stopping = False

    def is_over(self) -> bool:
        """Also when others wait, or the worker is to stop."""
        self._look()
        return self._over

    def is_stopping(self) -> bool:
        self._look()
        return self._stopping

    def _look(self) -> None:
        now = time.monotonic()
        if self._stopping or now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        lasted_s = now - self._started
        try:
            self._stopping = bool(self._redis.hexists(self._worker_key, "shutdown_requested_date"))
            others_wait = lasted_s >= self._while_others_wait_s and self._queue.count > 0
        except redis.RedisError:
            others_wait = False
        self._over = self._over or self._stopping or others_wait or lasted_s >= self._longest_s
