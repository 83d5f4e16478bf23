"""Everything that depends on how RQ stores jobs and workers in Redis. pyproject.toml pins RQ because of this module.

**No pickle, and no name in Redis chooses what a worker runs.** Anybody who can write to Redis can write jobs. RQ would
unpickle them, import the function that they name, run their callbacks, and call their URLs. Here a job is JSON, and it
runs only if it names one of our own job functions. Importing this module removes pickle from the whole process, so an
RQ call without a serializer reads JSON too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import redis
import rq.serializers
from rq import Queue, worker_registration
from rq.job import Job
from rq.registry import FailedJobRegistry, StartedJobRegistry, clean_registries
from rq.serializers import JSONSerializer
from rq.utils import import_attribute
from rq.worker import BaseWorker

JOB_FUNCTIONS = frozenset(
    {
        "workers.jobs.backfill.work_on_part",
        "workers.jobs.events.apply_events",
        "workers.jobs.events.sweep_due",
        "workers.jobs.events.sweep_events",
        "workers.jobs.reconcile.work_on_reconcile",
    }
)

_TAKE_FIRST = """
local id = redis.call('LINDEX', KEYS[1], 0)
if not id or string.sub(id, 1, #ARGV[1]) ~= ARGV[1] then
    return false
end
redis.call('LPOP', KEYS[1])
local meta = redis.call('HGET', ARGV[2] .. id, 'meta')
redis.call('DEL', ARGV[2] .. id)
return {id, meta}
"""

# RQ's default serializer, which the web, rq-dashboard and the workers' own look-ups use.
rq.serializers.PickleSerializer = JSONSerializer  # type: ignore[assignment]


class ForeignJob(Exception):
    """A job names a function that is not ours, or an object to call it on."""


class MirrorJob(Job):
    """A job that runs one of JOB_FUNCTIONS and ignores everything else that Redis says."""

    @property
    def func(self) -> Callable[..., Any]:
        if self.func_name not in JOB_FUNCTIONS or self.instance is not None:
            raise ForeignJob("the job names a function that BillStack's workers do not run")
        found: Callable[..., Any] = import_attribute(self.func_name)
        return found

    @property
    def success_callback(self) -> None:
        """Ignored: we set none, so somebody else wrote it."""

    @property
    def failure_callback(self) -> None:
        """Ignored, like success_callback."""

    @property
    def stopped_callback(self) -> None:
        """Ignored, like success_callback."""

    def send_webhooks(self, *_: Any, **__: Any) -> None:
        """Ignored: a URL in Redis would make a worker call it from inside our network."""


# Queues ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """A queue's waiting, running and failed jobs."""

    name: str
    waiting: int
    running: int
    failed: int


def open_queue(name: str, connection: redis.Redis) -> Queue:
    return Queue(name, connection=connection, job_class=MirrorJob)


def queue_depth(name: str, connection: redis.Redis) -> QueueDepth:
    queue = open_queue(name, connection)
    running = StartedJobRegistry(queue=queue).get_job_count(cleanup=False)
    return QueueDepth(name, queue.count, running, FailedJobRegistry(queue=queue).get_job_count(cleanup=False))


def waiting_among(name: str, connection: redis.Redis, job_ids: Sequence[str]) -> set[str]:
    """The given jobs that wait in the queue, in one round trip."""
    if not job_ids:
        return set()
    key = open_queue(name, connection).key
    with connection.pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.lpos(key, job_id)
        places = pipeline.execute()
    return {job_id for job_id, place in zip(job_ids, places, strict=True) if place is not None}


def withdraw(name: str, connection: redis.Redis, job_id: str) -> None:
    """Removes a waiting job from its queue and deletes it."""
    with connection.pipeline() as pipeline:
        pipeline.lrem(open_queue(name, connection).key, 1, job_id)
        pipeline.delete(MirrorJob.key_for(job_id))
        pipeline.execute()


def take_first(name: str, connection: redis.Redis, prefix: str) -> tuple[str, dict[str, Any]] | None:
    """Takes out and deletes the job that waits longest, if its id begins with `prefix`.

    Returns the id and the job's `meta`.
    """
    key = open_queue(name, connection).key
    taken = connection.eval(_TAKE_FIRST, 1, key, prefix, MirrorJob.redis_job_namespace_prefix)
    if not taken:
        return None
    job_id, meta = taken
    return job_id.decode(), msgspec.json.decode(meta) if meta else {}


def remove(job: Job) -> None:
    """RQ's `delete` fails if a listed execution is gone, because it just ended or expired after its worker died."""
    executions = job.execution_registry
    if ids := executions.get_execution_ids():
        job.connection.zrem(job.started_job_registry.key, *(f"{job.id}:{each}" for each in ids))
        job.connection.delete(executions.key)
    job.delete()


def clean_queue(name: str, connection: redis.Redis) -> None:
    """Moves dead workers' jobs out of the registry of started jobs."""
    clean_registries(open_queue(name, connection))


# Workers --------------------------------------------------------------------------------------------------------------


def forget_worker(worker: BaseWorker) -> None:
    """Removes a dead worker from RQ's list of workers."""
    worker_registration.unregister(worker)
    worker.connection.delete(worker.key, worker.executions_key)


def register_again(worker: BaseWorker, pipeline: Any) -> None:
    """Restores the record of a worker that was silent for so long that it was forgotten."""
    worker_registration.register(worker, pipeline)
