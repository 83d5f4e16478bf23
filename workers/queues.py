"""The queues' names, and how work gets onto them. Jobs carry ids only, for Redis keeps their arguments."""

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

from sync.backfill.records import FINISH, BackfillStore, Part
from sync.events.ledger import take_from_dead, teams_waiting
from sync.reconcile.records import Idle, ReconcileStore
from sync.teams.connections import Connections
from workers.context import Context
from workers.rq_internals import MirrorJob, open_queue, remove, take_first, waiting_among, withdraw

BACKFILLS = "backfills"
EVENTS = "events"
# What nobody waits for. Their workers take from these only while the queue above is empty.
COMPARISONS = "comparisons"
SWEEPS = "sweeps"
# By the name of a worker's role, in the order in which it takes from them.
QUEUES = {BACKFILLS: (BACKFILLS, COMPARISONS), EVENTS: (EVENTS, SWEEPS)}
ALL_QUEUES = tuple(name for names in QUEUES.values() for name in names)

# A turn ends after a minute, and the retries of its last page within about three more.
_TYPE_TIMEOUT_S = 15 * 60
# The finish asks for each suspect one by one; of a hundred thousand deletions that takes hours.
_FINISH_TIMEOUT_S = 24 * 3600
_RESULT_TTL_S = 3600
_FAILURE_TTL_S = 24 * 3600
# Whoever enqueues a job once takes milliseconds for it; after this, dead or frozen, it stands in nobody's way.
_LOOK_S = 5.0
# What is due for longer lies there; a job at work takes the rest.
_LYING_S = 2.0
# Should the process die between taking the mark and enqueuing, the scheduler's sweep finds the events after this.
_WAKE_MARK_S = 10
# How the ids of jobs begin that apply events; `-` and the team follow.
_EVENTS_JOB = "events_"

log = structlog.get_logger()


def enqueue_due(context: Context, backfill_id: str | None = None) -> int:
    """Enqueues every part, of one backfill or of all, that nobody works on and that is not waiting already."""
    with context.pool.connection() as connection:
        parts = BackfillStore(connection).due_parts(backfill_id)
    return _enqueue_parts(context, parts)


def _enqueue_parts(context: Context, parts: Sequence[Part]) -> int:
    waiting = waiting_among(BACKFILLS, context.redis, [_job_id(part) for part in parts])
    return sum(_enqueue_part(context, part) for part in parts if _job_id(part) not in waiting)


def take_waiting(context: Context, backfill_id: str, connection: psycopg.Connection) -> str | None:
    """A part of the backfill that nobody has begun, out of the queue if it waits there; None: there is none.

    Further ones are enqueued for others if they do not wait yet. Its lease decides, as ever: should a worker have fetched
    its job this moment, one of the two gets none.
    """
    parts = BackfillStore(connection).due_parts(backfill_id)
    if not parts:
        return None
    _enqueue_parts(context, parts[1:])
    withdraw(BACKFILLS, context.redis, _job_id(parts[0]))
    return parts[0].part


def _job_id(part: Part) -> str:
    """It names the fence, so that each holder's successor is one job however many ask for it."""
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
    """False: it waits already, or somebody else looks at it this moment and enqueues it."""
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
        return False  # somebody else was quicker, for this one took longer than the lock holds
    finally:
        with contextlib.suppress(LockNotOwnedError):
            looking.release()
    return True


def _is_waiting(connection: redis.Redis, queue_name: str, job_id: str) -> bool:
    """Whether the job waits in its queue; what is left of a dead or finished one is removed.

    A job that has started holds its part's lease a moment later. One that is still without it when the scheduler looks
    either runs this very moment, and then its twin gets no lease, or has died.
    """
    try:
        job = MirrorJob.fetch(job_id, connection=connection)
        if job.get_status() == JobStatus.QUEUED and waiting_among(queue_name, connection, [job_id]):
            return True
        remove(job)
    except (NoSuchJobError, InvalidJobOperation):
        pass  # it is not there, or somebody else who looks at this moment has just removed it
    return False


def wake_events(context: Context, team_id: str, *, request_id: str | None = None) -> None:
    """One job drains a team's ledger; while one waits in the queue, no second is put there."""
    if context.redis.set(wake_mark(team_id), "1", nx=True, ex=_WAKE_MARK_S):
        _enqueue_event_job(context, "apply_events", team_id, request_id)


def wake_waiting(context: Context) -> int:
    """Wakes the teams whose events lie there: Redis was away, a worker died, or they failed and are due again."""
    with context.pool.connection() as connection:
        take_from_dead(connection)
        team_ids = teams_waiting(connection, due_for_s=_LYING_S)
    for team_id in team_ids:
        wake_events(context, team_id)
    return len(team_ids)


def enqueue_sweeps(context: Context) -> int:
    """One job for all teams whose events were not read from Stripe lately, unless there is one; returns 1 for a new one."""
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
    """The facts of the job that waits longest for a team's events, `team` and perhaps `request_id`: now it is the caller's.

    None: there is none, or it is another kind of job. Should the caller die now, the scheduler finds the events.
    """
    taken = take_first(EVENTS, context.redis, _EVENTS_JOB)
    if taken is None:
        return None
    job_id, meta = taken
    team_id = job_id.partition("-")[2]
    context.redis.delete(wake_mark(team_id))
    return {name: value for name, value in meta.items() if value} | {"team": team_id}


def _enqueue_event_job(context: Context, name: str, team_id: str, request_id: str | None) -> None:
    """The job's id names the team, so that whoever takes it out of the queue need not read it."""
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
    """A turn for each comparison that nobody works on, by the workers for backfills: it may take long."""
    with context.pool.connection() as connection:
        idle = {f"{each.id}-{each.fence}": each for each in ReconcileStore(connection).idle()}
    waiting = waiting_among(COMPARISONS, context.redis, list(idle))
    return sum(_enqueue_reconcile(context, job_id, idle[job_id]) for job_id in idle.keys() - waiting)


def _enqueue_reconcile(context: Context, job_id: str, idle: Idle) -> bool:
    """The job's id names the fence, as a part's does."""
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
    """Stands while an apply job of the team waits; the job takes it away before it looks into the ledger."""
    return f"billstack:events:{team_id}:woken"
