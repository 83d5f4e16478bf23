"""What is enqueued once however many ask for it at the same moment."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import redis
from rq import Queue
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.registry import StartedJobRegistry

from sync.backfill.records import BackfillStore
from workers.queues import BACKFILLS, enqueue_due


class Contested(redis.Redis):
    """Somebody else removes a job, as enqueue_due does with a dead one, right after the last of our `reads_left`."""

    reads_left = 0

    def execute_command(self, *arguments, **options):
        answer = super().execute_command(*arguments, **options)
        if arguments[0] in ("HGETALL", "HGET"):
            self.reads_left -= 1
            if self.reads_left == 0:
                super().execute_command("DEL", arguments[1])
        return answer


@pytest.fixture
def backfill_id(database, team_id) -> str:
    return BackfillStore(database).start(team_id, ["customer"], None, request_id=None).id


def take(context, job_id) -> Execution:
    """As a worker does before it forks; nothing of the work is done."""
    Queue(BACKFILLS, connection=context.redis).remove(job_id)
    job = Job.fetch(job_id, connection=context.redis)
    with context.redis.pipeline() as pipeline:
        execution = Execution.create(job, 90, pipeline)
        job.prepare_for_execution("dead", pipeline)
        pipeline.execute()
    return execution


@pytest.mark.parametrize("reads", [1, 2, 3])
def test_a_dead_job_that_somebody_else_removes_at_the_same_moment_gets_its_successor(context, backfill_id, reads):
    enqueue_due(context, backfill_id)
    (job_id,) = Queue(BACKFILLS, connection=context.redis).job_ids
    Queue(BACKFILLS, connection=context.redis).remove(job_id)
    Job.fetch(job_id, connection=context.redis).set_status(JobStatus.STARTED)
    contested = Contested.from_url(context.settings.redis_url)
    contested.reads_left = reads

    with contested:
        enqueued = enqueue_due(replace(context, redis=contested), backfill_id)

    assert contested.reads_left <= 0
    assert enqueued == 1
    assert Queue(BACKFILLS, connection=context.redis).job_ids == [job_id]


def test_a_dead_job_whose_execution_expired_gets_its_successor(context, backfill_id):
    """RQ lists an execution for a minute after the hash with its facts is gone."""
    enqueue_due(context, backfill_id)
    (job_id,) = Queue(BACKFILLS, connection=context.redis).job_ids
    context.redis.delete(take(context, job_id).key)

    assert enqueue_due(context, backfill_id) == 1
    assert Queue(BACKFILLS, connection=context.redis).job_ids == [job_id]
    assert StartedJobRegistry(BACKFILLS, connection=context.redis).get_job_and_execution_ids(cleanup=False) == []


def test_many_who_look_at_a_started_job_at_the_same_moment_make_one_successor(context, backfill_id):
    enqueue_due(context, backfill_id)
    (job_id,) = Queue(BACKFILLS, connection=context.redis).job_ids
    with ThreadPoolExecutor(8) as several:
        for _ in range(30):
            take(context, job_id)
            list(several.map(lambda _: enqueue_due(context, backfill_id), range(8)))

            assert Queue(BACKFILLS, connection=context.redis).job_ids == [job_id]
