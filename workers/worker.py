"""RQ workers as we run them: several processes side by side. A dead worker's work continues at once."""

import contextlib
import ctypes
import os
import random
import time
from typing import Any

import redis
import structlog
from redis.client import Pipeline
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker_pool import WorkerPool

from sync.backfill.part_records import PartStore
from sync.stripe.sdk import preload
from workers.context import Context, connect_redis, open_context
from workers.horse import Call, Horse
from workers.jobs import backfill as jobs
from workers.queues import BACKFILLS, EVENTS, QUEUES, enqueue_due
from workers.redis.beats import BEAT_EVERY_S, beat, stop_beating
from workers.rq_internals import MirrorJob, register_again
from workers.settings import HORSES, Settings

# The six object types of a backfill run side by side. Events of two teams do, so that a busy team does not block
# others.
PROCESSES = {BACKFILLS: 6, EVENTS: 2}
assert sum(PROCESSES.values()) == HORSES

# On a machine shared with workers, requests go first: the web gets three times a worker's share of the CPU.
_NICER = 5

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 2 * 1024 * 1024  # most pages are smaller: new memory for each would cost more than filling it

_BEAT_AT_MOST_EVERY_S = 1.0

log = structlog.get_logger()


def run_workers(settings: Settings, queue_name: str) -> None:
    """Runs until SIGTERM or SIGINT. A worker that dies is restarted within a second."""
    os.nice(_NICER)
    _warm_up(settings)
    _keep_memory_together()
    pool = WorkerPool(
        QUEUES[queue_name],
        connection=connect_redis(settings),
        num_workers=PROCESSES[queue_name],
        worker_class=MirrorWorker,
        job_class=MirrorJob,
        serializer=JSONSerializer,
    )
    pool.start(logging_level="WARNING")


def _warm_up(settings: Settings) -> None:
    """Does work once that each work-horse, a fork of this process, would otherwise repeat."""
    preload()
    open_context(settings, direct=True).close()
    time.strptime("2026", "%Y")  # loads the module with which RQ reads a job's times


def _keep_memory_together() -> None:
    """Limits glibc's malloc to two arenas (the default is eight per core) and to small cached blocks.

    Otherwise each of a job's threads would keep memory of its own, and after the first large block malloc would cache
    ever larger ones.
    """
    with contextlib.suppress(OSError, AttributeError):  # other C libraries lack it
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)


class MirrorWorker(Worker):
    """RQ's worker, which forks a work-horse process for each job.

    This one keeps its work-horse, and enqueues the work of one that died.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # RQ waits for a job for 15 s less than `worker_ttl` and sends a heartbeat after each wait.
        options |= {"worker_ttl": BEAT_EVERY_S + 15, "job_monitoring_interval": BEAT_EVERY_S}
        super().__init__(*arguments, **options)
        self._beat_at = float("-inf")
        self._horse: Horse | None = None

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """RQ sends several heartbeats around each job. We send at most one a second."""
        super().heartbeat(timeout, pipeline)
        if time.monotonic() - self._beat_at >= _BEAT_AT_MOST_EVERY_S:
            self._beat_at = time.monotonic()
            with self.connection.pipeline(transaction=False) as ours:
                beat(ours, self.queue_names()[0], self.name)
                register_again(self, ours)
                ours.execute()

    def _start_scheduler(self, *_: Any, **__: Any) -> None:
        """RQ's pool asks for a process that enqueues scheduled jobs. We have none."""

    # The horse --------------------------------------------------------------------------------------------------------

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Hands the job to the existing horse or to a new one."""
        assert self.execution
        call = Call(job.id, queue.name, self.execution.id)
        while self._horse is None or not self._horse.run(call):
            if self._horse:
                self._horse.dismiss()
            self._horse = Horse(self._serve, self._become_horse)
        self._horse_pid = self._horse.pid

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Reports a finished job as a horse that has ended."""
        if self._horse is None:
            return None, None, None
        if self._horse.wait():
            return self._horse.pid, os.EX_OK, None
        ended = super().wait_for_horse()
        self._horse = None
        return ended

    def teardown(self) -> None:
        if self._horse and not self.is_horse:
            self._horse.dismiss()
        super().teardown()  # type: ignore[no-untyped-call]

    def _become_horse(self) -> None:
        _let_go_of(self.connection)
        random.seed()
        self.setup_work_horse_signals()  # type: ignore[no-untyped-call]
        self._is_horse = True
        self._horse = None
        self.executions.clear()
        jobs.keep_context()

    def _serve(self, call: Call) -> None:
        """Runs in the horse: RQ's own code runs the job and records the result."""
        job = self.job_class.fetch(call.job_id, connection=self.connection, serializer=self.serializer)
        queue = next(queue for queue in self.queues if queue.name == call.queue)
        self.execution = Execution.fetch(call.execution_id, call.job_id, connection=self.connection)
        self.perform_job(job, queue, self.execution)
        self.executions.clear()

    # Its end ----------------------------------------------------------------------------------------------------------

    def register_death(self) -> None:
        super().register_death()  # type: ignore[no-untyped-call]
        stop_beating(self.connection, self.queue_names()[0], self.name)

    def handle_work_horse_killed(self, job: Job, *_: Any) -> None:
        with jobs.job_context() as context:
            go_on(context, job)


def _let_go_of(connection: redis.Redis) -> None:
    """Closes this process' copies of the connections that were open when it was forked.

    While one is open, Redis takes a worker that was killed for one that waits, and gives it the next job.
    """
    pool = connection.connection_pool
    for inherited in (*pool._available_connections, *pool._in_use_connections):
        inherited.disconnect()


def go_on(context: Context, job: Job) -> None:
    """The killed process held the lease after the fence in the job's id. Frees it and enqueues the part again."""
    try:
        backfill_id, part, fence = job.id.split("-")
    except ValueError:
        return  # an events job: its claimed events come due again by themselves
    log.warning("job.killed", backfill=backfill_id, type=part)
    with context.pool.connection() as connection:
        PartStore(connection).release_dead(backfill_id, part, int(fence) + 1)
    enqueue_due(context, backfill_id)
