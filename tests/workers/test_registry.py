"""Operators see a dead worker as dead as soon as it misses its beats, and RQ forgets it later."""

import time

import pytest
from rq import Queue, Worker
from rq.executions import Execution

from workers import registry
from workers.queues import BACKFILLS
from workers.redis import beats
from workers.registry import Cleaner, known_workers
from workers.worker import MirrorWorker


@pytest.fixture
def busy_worker(context):
    worker = MirrorWorker([BACKFILLS], connection=context.redis, name="w1")
    worker.register_birth()
    worker.set_state("busy")
    worker.heartbeat()
    return worker


def die(context):
    """Its last beat is older than a worker's may be."""
    context.redis.zadd("billstack:beats:backfills", {"w1": time.time() - beats.DEAD_AFTER_S - 1})


def states(context) -> dict[str, str]:
    return {worker.name: worker.state for worker in known_workers(context.redis)}


def test_a_worker_that_beats_is_what_rq_says(context, busy_worker):
    assert states(context) == {"w1": "busy"}


def test_a_worker_that_does_not_is_dead_whatever_rq_says(context, busy_worker):
    die(context)

    assert Worker.all(connection=context.redis)[0].get_state() == "busy"
    assert states(context) == {"w1": "dead"}


def test_a_dead_worker_is_forgotten_after_a_while(context, busy_worker, monkeypatch):
    die(context)
    cleaner = Cleaner()
    assert cleaner.clean(context) == 0
    assert states(context) == {"w1": "dead"}

    monkeypatch.setattr(registry, "_SHOWN_DEAD_S", 0.0)
    monkeypatch.setattr(registry, "_CLEAN_EVERY_S", 0.0)
    assert cleaner.clean(context) == 1

    assert states(context) == {}
    assert not context.redis.exists(busy_worker.key)


def test_a_worker_that_was_forgotten_and_lives_is_known_again(context, busy_worker, monkeypatch):
    monkeypatch.setattr(registry, "_SHOWN_DEAD_S", 0.0)
    die(context)
    Cleaner().clean(context)

    busy_worker._beat_at = float("-inf")
    busy_worker.maintain_heartbeats(*_job_of(context))

    assert states(context).keys() == {"w1"}


def _job_of(context):
    job = Queue(BACKFILLS, connection=context.redis).enqueue("builtins.int")
    with context.redis.pipeline() as pipeline:
        execution = Execution.create(job, ttl=60, pipeline=pipeline)
        pipeline.execute()
    return job, execution


def test_a_worker_that_ends_properly_is_gone_at_once(context, busy_worker):
    busy_worker.register_death()

    assert states(context) == {}
    assert beats.ask_for_alive(context.redis, BACKFILLS) == []
