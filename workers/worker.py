"""RQ workers as we run them: several processes side by side, and a dead one's work goes on at once."""

from collections.abc import Callable
from typing import Any

import structlog
from rq import Queue, Worker
from rq.job import Job
from rq.worker_pool import WorkerPool

from sync.backfills import BackfillStore
from workers.context import Context
from workers.queues import BACKFILLS, EVENTS, enqueue_due

# The six object types of one backfill run side by side.
PROCESSES = {BACKFILLS: 6, EVENTS: 1}

log = structlog.get_logger()


def run_workers(context: Context, queue_name: str) -> None:
    """Until SIGTERM or SIGINT; a worker that dies is started again within a second."""
    pool = WorkerPool(
        [queue_name],
        connection=context.redis,
        num_workers=PROCESSES[queue_name],
        worker_class=worker_class(lambda job: go_on(context, job)),
        queue_class=Queue,
    )
    pool.start(logging_level="WARNING")


def worker_class(on_horse_killed: Callable[[Job], None]) -> type[Worker]:
    """RQ's worker forks a process (its work-horse) a job; ours says when that one was killed."""

    class MirrorWorker(Worker):
        def handle_work_horse_killed(self, job: Job, *_: Any) -> None:
            on_horse_killed(job)

    return MirrorWorker


def go_on(context: Context, job: Job) -> None:
    """The killed process held the lease that follows the fence in the job's id: free it, and enqueue its part again."""
    try:
        backfill_id, part, fence = job.id.split("-")
    except ValueError:
        return  # an events job: what it claimed comes back by itself
    log.warning("job.killed", backfill=backfill_id, type=part)
    with context.pool.connection() as connection:
        BackfillStore(connection).release_dead(backfill_id, part, int(fence) + 1)
    enqueue_due(context, backfill_id)
