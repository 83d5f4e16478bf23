"""Everything that leans on how RQ stores jobs and workers in Redis. RQ is pinned for its sake (pyproject.toml).

**No pickle, and no names from Redis that choose what a worker runs.** Whoever can write to Redis writes jobs. RQ would
unpickle them, import the function that they name, run the callbacks that they name, and call the URLs that they name. Here
a job is JSON, and it runs only if it names one of our own job functions. Importing this module takes pickle out of the
whole process, so a call to RQ that forgets its serializer reads JSON too.
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

# What RQ falls back to wherever no serializer is named: in the web, rq-dashboard and the workers' own look-ups.
rq.serializers.PickleSerializer = JSONSerializer  # type: ignore[assignment]


class ForeignJob(Exception):
    """A job names a function that is none of ours, or brings an object to call it on."""


class MirrorJob(Job):
    """A job that runs one of JOB_FUNCTIONS, and nothing else that Redis says."""

    @property
    def func(self) -> Callable[..., Any]:
        if self.func_name not in JOB_FUNCTIONS or self.instance is not None:
            raise ForeignJob("the job names a function that BillStack's workers do not run")
        found: Callable[..., Any] = import_attribute(self.func_name)
        return found

    @property
    def success_callback(self) -> None:
        """We have none, so whoever named one was not us."""

    @property
    def failure_callback(self) -> None:
        """As above."""

    @property
    def stopped_callback(self) -> None:
        """As above."""

    def send_webhooks(self, *_: Any, **__: Any) -> None:
        """As above: a URL in Redis would make a worker call it from inside our network."""


# Queues ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How many jobs of a queue wait, run and have failed."""

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
    """Those of the jobs that wait in the queue, in one round trip."""
    if not job_ids:
        return set()
    key = open_queue(name, connection).key
    with connection.pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.lpos(key, job_id)
        places = pipeline.execute()
    return {job_id for job_id, place in zip(job_ids, places, strict=True) if place is not None}


def withdraw(name: str, connection: redis.Redis, job_id: str) -> None:
    """Takes a job that waits out of its queue, and forgets it."""
    with connection.pipeline() as pipeline:
        pipeline.lrem(open_queue(name, connection).key, 1, job_id)
        pipeline.delete(MirrorJob.key_for(job_id))
        pipeline.execute()


def take_first(name: str, connection: redis.Redis, prefix: str) -> tuple[str, dict[str, Any]] | None:
    """The job that waits longest, taken out and forgotten, if its id begins like that: the id and the job's `meta`."""
    key = open_queue(name, connection).key
    popped = connection.lpop(key)
    if not isinstance(popped, bytes):
        return None
    job_id = popped.decode()
    if not job_id.startswith(prefix):
        connection.lpush(key, job_id)
        return None
    with connection.pipeline() as pipeline:
        pipeline.hget(MirrorJob.key_for(job_id), "meta")
        pipeline.delete(MirrorJob.key_for(job_id))
        meta, _ = pipeline.execute()
    return job_id, msgspec.json.decode(meta) if meta else {}


def remove(job: Job) -> None:
    """RQ's own `delete` fails if a listed execution is gone: it ended this moment, or expired after its worker died."""
    executions = job.execution_registry
    if ids := executions.get_execution_ids():
        job.connection.zrem(job.started_job_registry.key, *(f"{job.id}:{each}" for each in ids))
        job.connection.delete(executions.key)
    job.delete()


def clean_queue(name: str, connection: redis.Redis) -> None:
    """Moves the jobs of dead workers out of the registry of started ones."""
    clean_registries(open_queue(name, connection))


# Workers --------------------------------------------------------------------------------------------------------------


def forget_worker(worker: BaseWorker) -> None:
    """Removes a dead worker from RQ's list of workers."""
    worker_registration.unregister(worker)
    worker.connection.delete(worker.key, worker.executions_key)


def register_again(worker: BaseWorker, pipeline: Any) -> None:
    """A worker that was silent for long has been forgotten."""
    worker_registration.register(worker, pipeline)
