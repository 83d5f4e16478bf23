"""Whoever can write to Redis cannot choose what a worker runs, and nothing there is unpickled."""

import json
import os
import pickle

import pytest
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat

from sync.backfill.records import BackfillStore
from workers.queues import BACKFILLS, enqueue_due
from workers.rq_internals import JOB_FUNCTIONS, MirrorJob
from workers.worker import MirrorWorker


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "ran"


@pytest.fixture
def plant(context):
    """Writes a job as somebody would who has Redis and not our code."""

    def put(data, **fields):
        at = utcformat(now())
        job = {
            "data": data,
            "created_at": at,
            "enqueued_at": at,
            "origin": BACKFILLS,
            "status": "queued",
            "timeout": 60,
        } | fields
        context.redis.hset("rq:job:planted", mapping=job)
        context.redis.lpush(f"rq:queue:{BACKFILLS}", "planted")
        context.redis.sadd("rq:queues", f"rq:queue:{BACKFILLS}")

    return put


class InThisProcess(SimpleWorker, MirrorWorker):
    """Our worker without its fork."""


def work(context):
    worker = InThisProcess(
        [BACKFILLS], connection=context.redis, job_class=MirrorJob, serializer=JSONSerializer, exception_handlers=[]
    )
    worker.work(burst=True, logging_level="CRITICAL")


def ours(*arguments):
    return json.dumps(["workers.jobs.backfill.work_on_part", None, list(arguments), {}]).encode()


@pytest.mark.parametrize("instance", [None, "instance"])
def test_a_function_that_is_not_ours_is_not_run(context, plant, trace, instance):
    plant(json.dumps(["os.mkdir", instance, [str(trace)], {}]).encode())

    work(context)

    assert not trace.exists()
    assert MirrorJob.fetch("planted", connection=context.redis).get_status() == "failed"


@pytest.mark.parametrize("field", ["data", "meta", "result"])
def test_pickle_is_not_opened_by_a_worker_nor_by_who_looks(context, plant, trace, field):
    plant(**({"data": ours("bf_none", "customer")} | {field: pickle.dumps(Bomb(trace))}))

    work(context)
    Job.fetch("planted", connection=context.redis).get_status()
    Queue(BACKFILLS, connection=context.redis).fetch_job("planted")

    assert not trace.exists()


@pytest.mark.parametrize("callback", ["success_callback_name", "failure_callback_name", "stopped_callback_name"])
@pytest.mark.parametrize("part", [("bf_none", "customer"), ()])  # one ends well, the other does not
def test_callbacks_that_redis_names_are_not_called(context, plant, monkeypatch, callback, part):
    called = []
    monkeypatch.setattr(os, "getpgid", lambda *_: called.append(callback))
    plant(ours(*part), **{callback: "os.getpgid"})

    work(context)

    assert called == []


def test_urls_that_redis_names_are_not_called(context, plant, monkeypatch):
    called = []
    monkeypatch.setattr("rq.webhook.urlopen", lambda *_, **__: called.append(1))
    hooks = [
        {"url": "http://127.0.0.1/", "job_status": status, "method": "GET", "headers": None, "timeout": 1}
        for status in ("finished", "failed")
    ]
    plant(ours(), webhooks=json.dumps(hooks))

    work(context)

    assert called == []


def test_every_job_that_we_enqueue_is_one_that_we_run(context, database, team_id):
    backfill = BackfillStore(database).start(team_id, ["customer"], None, request_id=None)
    enqueue_due(context, backfill.id)

    (job_id,) = Queue(BACKFILLS, connection=context.redis).job_ids
    job = MirrorJob.fetch(job_id, connection=context.redis)

    assert job.func_name in JOB_FUNCTIONS
    for name in JOB_FUNCTIONS:
        assert callable(MirrorJob.create(name, connection=context.redis).func)


def test_a_job_from_before_an_upgrade_gets_its_successor(context, database, team_id):
    """It waits in the queue as pickle; the worker drops it, and the scheduler enqueues the part again."""
    backfill = BackfillStore(database).start(team_id, ["customer"], None, request_id=None)
    enqueue_due(context, backfill.id)
    (job_id,) = Queue(BACKFILLS, connection=context.redis).job_ids
    old = pickle.dumps(("workers.jobs.backfill.work_on_part", None, (backfill.id, "customer"), {}))
    context.redis.hset(f"rq:job:{job_id}", mapping={"data": old, "meta": pickle.dumps({"team": team_id})})

    work(context)
    assert enqueue_due(context, backfill.id) == 1

    assert MirrorJob.fetch(job_id, connection=context.redis).args == [backfill.id, "opening"]
