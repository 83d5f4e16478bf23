"""The queues and how work gets into them. Jobs carry only ids, because Redis keeps their arguments."""

import contextlib
import secrets
from collections.abc import Sequence
from typing import Any

import psycopg
import redis
import structlog
from redis.exceptions import LockNotOwnedError
from rq.exceptions import DuplicateJobError, InvalidJobOperation, NoSuchJobError
from rq.job import JobStatus
from rq.registry import StartedJobRegistry

from sync.backfill.part_records import FINISH, Part, PartStore
from sync.events.ledger import take_from_dead, teams_waiting
from sync.reconcile.records import Idle, ReconcileStore
from sync.teams.connections import Connections
from workers.context import Context
from workers.rq_internals import MirrorJob, open_queue, remove, take_first, waiting_among, withdraw

BACKFILLS = "backfills"
EVENTS = "events"
# Work that nobody waits for. Workers take it only while their first queue is empty.
COMPARISONS = "comparisons"
SWEEPS = "sweeps"
# By a worker's role: its queues, in the order in which it takes from them.
QUEUES = {BACKFILLS: (BACKFILLS, COMPARISONS), EVENTS: (EVENTS, SWEEPS)}
ALL_QUEUES = tuple(name for names in QUEUES.values() for name in names)

# A turn ends after a minute, and the retries of its last page within about three more.
_TYPE_TIMEOUT_S = 15 * 60
# The finish fetches each suspect by itself. A hundred thousand deletions take hours.
_FINISH_TIMEOUT_S = 24 * 3600
_RESULT_TTL_S = 3600
_FAILURE_TTL_S = 24 * 3600
# Enqueuing a job takes milliseconds. A process that dies or hangs meanwhile blocks the others no longer than this.
_LOOK_S = 5.0
# Events that have been due for longer are lying there. A running job takes the rest.
_LYING_S = 2.0
# If a process dies between setting the mark and enqueuing, the scheduler finds the events after this time.
_WAKE_MARK_S = 10
# Ids of jobs that apply events begin with this; `-` and the team follow.
_EVENTS_JOB = "events_"

log = structlog.get_logger()


def enqueue_due(context: Context, backfill_id: str | None = None) -> int:
    """Enqueues every part (of one backfill or of all) that no worker holds and that is not queued already."""
    with context.pool.connection() as connection:
        parts = PartStore(connection).due_parts(backfill_id)
    return _enqueue_parts(context, parts)


def _enqueue_parts(context: Context, parts: Sequence[Part]) -> int:
    waiting = waiting_among(BACKFILLS, context.redis, [_job_id(part) for part in parts])
    return sum(_enqueue_part(context, part) for part in parts if _job_id(part) not in waiting)


def take_waiting(context: Context, backfill_id: str, connection: psycopg.Connection) -> str | None:
    """Takes an unstarted part of the backfill, out of the queue if it waits there. None if there is none.

    Enqueues the remaining ones for other workers if they are not queued yet. The lease decides as always: if a worker
    has just fetched the part's job, one of the two gets no lease.
    """
    parts = PartStore(connection).due_parts(backfill_id)
    if not parts:
        return None
    _enqueue_parts(context, parts[1:])
    withdraw(BACKFILLS, context.redis, _job_id(parts[0]))
    return parts[0].part


def _job_id(part: Part) -> str:
    """Contains the fence, so that a part gets one next job however many processes enqueue it."""
    return f"{part.backfill_id}-{part.part}-{part.fence}"


def _enqueue_part(context: Context, part: Part) -> bool:
    job_id = _job_id(part)
    enqueued = _enqueue_once(
        context.redis,
        BACKFILLS,
        job_id,
        "workers.jobs.backfill.work_on_part",
        (part.backfill_id, part.part),
        job_timeout=_FINISH_TIMEOUT_S if part.part == FINISH else _TYPE_TIMEOUT_S,
        description=f"{part.part} of {part.backfill_id}",
        meta={"request_id": part.request_id, "team": part.team_id},
    )
    if enqueued:
        log.info("part.enqueued", backfill=part.backfill_id, type=part.part, job=job_id)
    return enqueued


def _enqueue_once(
    connection: redis.Redis, queue_name: str, job_id: str, name: str, arguments: tuple[str, ...], **options: Any
) -> bool:
    """Returns False if the job is already queued, or if another process is enqueuing it right now."""
    looking = connection.lock(f"billstack:enqueuing:{job_id}", timeout=_LOOK_S)
    if not looking.acquire(blocking=False):
        return False
    try:
        if _is_waiting(connection, queue_name, job_id):
            return False
        open_queue(queue_name, connection).enqueue(
            name,
            *arguments,
            job_id=job_id,
            unique=True,
            result_ttl=_RESULT_TTL_S,
            failure_ttl=_FAILURE_TTL_S,
            **options,
        )
    except DuplicateJobError:
        return False  # this process was slower than the lock's lifetime, and another one enqueued it
    finally:
        with contextlib.suppress(LockNotOwnedError):
            looking.release()
    return True


def _is_waiting(connection: redis.Redis, queue_name: str, job_id: str) -> bool:
    """Whether the job is in its queue. Removes the remains of a dead or finished one.

    A job that starts takes its part's lease a moment later. If it still has none when the scheduler looks, it has died,
    or it is starting right now and its twin will get no lease.
    """
    try:
        job = MirrorJob.fetch(job_id, connection=connection)
        if job.get_status() == JobStatus.QUEUED and waiting_among(queue_name, connection, [job_id]):
            return True
        remove(job)
    except (NoSuchJobError, InvalidJobOperation):
        pass  # not there, or another process has just removed it
    return False


def wake_events(context: Context, team_id: str, *, request_id: str | None = None) -> None:
    """Enqueues one job that drains the team's ledger, unless one is already queued."""
    if context.redis.set(wake_mark(team_id), "1", nx=True, ex=_WAKE_MARK_S):
        _enqueue_event_job(context, "apply_events", team_id, request_id)


def wake_waiting(context: Context) -> int:
    """Wakes teams with events left in the ledger: Redis was unavailable, a worker died, or a retry is due."""
    with context.pool.connection() as connection:
        take_from_dead(connection)
        team_ids = teams_waiting(connection, due_for_s=_LYING_S)
    for team_id in team_ids:
        wake_events(context, team_id)
    return len(team_ids)


def enqueue_sweeps(context: Context) -> int:
    """Enqueues one job for all teams whose events were not read from Stripe recently.

    Returns 1 if the job is new.
    """
    with context.pool.connection() as connection:
        if not Connections(connection, context.box).sweeps_due():
            return 0
    queue = open_queue(SWEEPS, context.redis)
    if queue.count or StartedJobRegistry(queue=queue).get_job_count(cleanup=False):
        return 0
    queue.enqueue(
        "workers.jobs.events.sweep_due", job_timeout=_TYPE_TIMEOUT_S, result_ttl=0, failure_ttl=_FAILURE_TTL_S
    )
    return 1


def take_waiting_events(context: Context) -> dict[str, str] | None:
    """Takes the longest-waiting job for a team's events out of the queue. Returns its `team` and `request_id`.

    None if the queue is empty or begins with another kind of job. If the caller dies now, the scheduler finds the
    events.
    """
    taken = take_first(EVENTS, context.redis, _EVENTS_JOB)
    if taken is None:
        return None
    job_id, meta = taken
    team_id = job_id.partition("-")[2]
    context.redis.delete(wake_mark(team_id))
    return {name: value for name, value in meta.items() if value} | {"team": team_id}


def _enqueue_event_job(context: Context, name: str, team_id: str, request_id: str | None) -> None:
    """Puts the team into the job's id, so that a process can take it from the queue without reading the job."""
    open_queue(EVENTS, context.redis).enqueue(
        f"workers.jobs.events.{name}",
        team_id,
        job_id=f"{_EVENTS_JOB}{secrets.token_hex(8)}-{team_id}",
        job_timeout=_TYPE_TIMEOUT_S,
        result_ttl=0,
        failure_ttl=_FAILURE_TTL_S,
        meta={"request_id": request_id, "team": team_id},
    )


def enqueue_reconciles(context: Context) -> int:
    """Enqueues a turn for each comparison that no worker holds. Backfill workers run it, because it may take long."""
    with context.pool.connection() as connection:
        idle = {f"{each.id}-{each.fence}": each for each in ReconcileStore(connection).idle()}
    waiting = waiting_among(COMPARISONS, context.redis, list(idle))
    return sum(_enqueue_reconcile(context, job_id, idle[job_id]) for job_id in idle.keys() - waiting)


def _enqueue_reconcile(context: Context, job_id: str, idle: Idle) -> bool:
    """The job's id contains the fence, like a part's."""
    return _enqueue_once(
        context.redis,
        COMPARISONS,
        job_id,
        "workers.jobs.reconcile.work_on_reconcile",
        (idle.id,),
        job_timeout=_TYPE_TIMEOUT_S,
        description=f"reconcile {idle.id}",
        meta={"request_id": idle.request_id, "team": idle.team_id},
    )


def wake_mark(team_id: str) -> str:
    """The mark that an apply job of the team is queued. The job removes it before it reads the ledger."""
    return f"billstack:events:{team_id}:woken"
