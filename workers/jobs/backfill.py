"""The backfill jobs. They are thin: they take ids and open a context."""

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
from sync.backfill.part_records import FINISH
from sync.backfill.records import Backfill, BackfillStore
from sync.backfill.tools import BackfillTools
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

# The longest turn on a part: a minute, so that a deploy never waits long. It is shorter while others wait, so that a
# small team does not wait for a huge one. Below a few seconds, changing turns would take most of the time.
TURN_S = 60.0
TURN_WHILE_OTHERS_WAIT_S = 5.0
_LOOK_EVERY_S = 1.0
_COUNT_EVERY_S = 1.0
# How long to wait while Postgres refuses connections. Then the job ends, and the part starts again.
_CONNECTION_WAIT_S = 15.0

log = structlog.get_logger()


class JobFailed(Exception):
    """A job's failure, in words that contain nothing of a tenant's."""


def work_on_part(backfill_id: str, part: str) -> str:
    """Runs a turn on a part of a backfill, then on parts that still wait. Returns how it ended, for rq-dashboard.

    A small team's part takes less time than a job does, so a worker continues with the next one. By then, a large
    team's parts are all held by workers.
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
    if ended != "waits":  # otherwise the scheduler enqueues it again later
        enqueue_due(context, backfill_id)
    return ended


def _work_on_parts(
    context: Context, connection: psycopg.Connection, backfill: Backfill, connected: Connection, first: str
) -> str:
    """Runs until the turn is over or nothing waits. Returns how the first part ended."""
    ours = turn(context)
    retries = ShownRetries(context.redis, backfill.id, first)
    source = open_source(context, connected, retries=retries)
    tools = BackfillTools(source, lambda: connect(context), ours.is_over, ours.is_stopping)
    show = Progress(context.redis, backfill.id).show
    ended = latest = PartRun(backfill, first, mirrored(connected), tools, show, connection).run()
    while latest == "done" and not ours.is_over() and (part := take_waiting(context, backfill.id, connection)):
        retries.follow(part)
        with structlog.contextvars.bound_contextvars(type=part):
            # A long finish gets a job of its own, with a time limit that fits it.
            further = replace(tools, is_stopping=ours.is_over) if part == FINISH else tools
            backfill = BackfillStore(connection).get(backfill.id) or backfill  # by now its upper end is fixed
            latest = PartRun(backfill, part, mirrored(connected), further, show, connection).run()
    return ended


def mirrored(connected: Connection) -> Mirrored:
    return Mirrored(connected.account_id, connected.livemode, api_version=connected.api_version)


def connect(context: Context) -> AbstractContextManager[psycopg.Connection]:
    """One of the process' few connections. Nobody holds one while waiting for Stripe (sync/database/borrowing.py)."""
    return context.pool.connection()


# The context of a process that runs many jobs.
_kept: Context | None = None


def keep_context() -> None:
    """Makes the jobs of this process share one context and its connections from now on."""
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
    """A context, and log lines with the job's request, team and part."""
    job = get_current_job()
    meta = {key: value for key, value in (job.meta if job else {}).items() if value}
    with structlog.contextvars.bound_contextvars(**(meta | facts)):
        context = _kept or _open()
        try:
            yield context
        except Exception as exc:
            context.trouble.note_error(exc)
            log.error("job.failed", exc_info=exc)  # RQ's own line has no exception to report
            # RQ keeps a failed job's traceback in Redis and shows it to operators.
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
    """The current job's turn, beginning now. It is shorter while others wait in that queue."""
    job = get_current_job()
    name = job.worker_name if job else None
    return Turn(context.redis, name, waiting_in, longest_s=longest_s, while_others_wait_s=while_others_wait_s)


class Turn:
    """Tells when to let others work or to stop. So a deploy waits only for the pages in flight, not for the turn."""

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
        """Also true if others wait, or if the worker should stop."""
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
