"""One process runs job after job, and is watched, timed out, killed and replaced like one of its own for each."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import redis
from rq import Queue
from rq.job import Job

from scripts.local.processes import wait_until
from workers import horse
from workers.queues import BACKFILLS, COMPARISONS
from workers.worker import MirrorWorker

PATIENCE_S = 60.0  # a busy machine lets a fork of a large test process wait


@pytest.fixture
def queue(context) -> Queue:
    return Queue(BACKFILLS, connection=context.redis)


@pytest.fixture
def start(redis_url) -> Iterator[Callable[..., int]]:
    """A worker in a process of its own; gives its pid.

    Not forked from this process: a lock that one of its threads held would stay locked in the worker for ever.
    """
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload([__name__])
    workers: list[BaseProcess] = []

    def fork(*, held_mb: int = 0, **changed: int) -> int:
        """`changed` are constants of the module horse. The worker holds so much memory before its first job."""
        worker = forkserver.Process(target=_work, args=(redis_url, held_mb, changed))
        worker.start()
        workers.append(worker)
        assert worker.pid
        return worker.pid

    yield fork
    for worker in workers:
        worker.kill()
        worker.join()


def _work(redis_url: str, held_mb: int, changed: dict[str, int]) -> None:
    held = bytearray(b"x" * held_mb * 2**20)
    for name, value in changed.items():
        setattr(horse, name, value)
    worker = MirrorWorker([BACKFILLS, COMPARISONS], connection=redis.Redis.from_url(redis_url))
    worker.work(logging_level="CRITICAL")
    del held


def has_ended(pid: int) -> bool:
    """With all of its threads: until then its end of the socket may still be open."""
    try:
        return not is_running(pid) and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except OSError:
        return True


def result(job: Job) -> object:
    assert wait_until(lambda: job.get_status(refresh=True) in ("finished", "failed"), PATIENCE_S)
    latest = job.latest_result()
    return latest.return_value if latest else None


def test_jobs_run_one_after_the_other_in_one_process_that_is_not_the_workers(queue, start):
    worker = start()

    ran_in = [result(queue.enqueue("os.getpid")) for _ in range(5)]

    assert len(set(ran_in)) == 1
    assert worker not in ran_in


def test_a_killed_process_fails_its_job_and_is_replaced(queue, start):
    start()
    first = result(queue.enqueue("os.getpid"))
    stuck = queue.enqueue("time.sleep", 60)
    assert wait_until(lambda: stuck.get_status(refresh=True) == "started", PATIENCE_S)

    os.kill(first, signal.SIGKILL)

    assert result(stuck) is None
    assert stuck.get_status() == "failed"
    assert result(queue.enqueue("os.getpid")) not in (None, first)


def test_one_that_died_while_it_waited_costs_no_job(queue, start):
    start()
    first = result(queue.enqueue("os.getpid"))

    os.kill(first, signal.SIGKILL)
    assert wait_until(lambda: has_ended(first), PATIENCE_S)

    assert result(queue.enqueue("os.getpid")) not in (None, first)


def test_one_that_dies_before_it_has_read_its_call_is_dead_and_not_an_error():
    kept = horse.Horse(lambda call: None, lambda: None)
    os.kill(kept.pid, signal.SIGSTOP)
    assert kept.run(horse.Call("job", "queue", "execution"))

    os.kill(kept.pid, signal.SIGKILL)

    assert not kept.wait()
    kept.dismiss()


def test_a_job_that_takes_too_long_is_ended_and_the_next_one_runs(queue, start):
    start()

    too_long = queue.enqueue("time.sleep", 60, job_timeout=1)

    assert result(too_long) is None
    assert too_long.get_status() == "failed"
    assert result(queue.enqueue("os.getpid")) is not None


def test_it_is_replaced_after_so_many_jobs(queue, start):
    start(MOST_JOBS=2)

    ran_in = [result(queue.enqueue("os.getpid")) for _ in range(4)]

    assert ran_in[0] == ran_in[1] != ran_in[2] == ran_in[3]


def test_it_is_replaced_when_it_has_grown(queue, start):
    start(MOST_GROWTH_MB=-1)

    assert result(queue.enqueue("os.getpid")) != result(queue.enqueue("os.getpid"))


def test_what_its_worker_holds_is_no_growth(queue, start):
    start(held_mb=horse.MOST_GROWTH_MB + 150)

    assert result(queue.enqueue("os.getpid")) == result(queue.enqueue("os.getpid"))


def test_it_ends_with_its_worker(queue, start):
    worker = start()
    child = result(queue.enqueue("os.getpid"))
    assert isinstance(child, int)

    os.kill(worker, signal.SIGTERM)

    assert wait_until(lambda: not is_running(child), PATIENCE_S)


def test_it_outlives_a_killed_worker_by_no_more_than_its_job(queue, start):
    worker = start()
    child = result(queue.enqueue("os.getpid"))
    assert isinstance(child, int)

    os.kill(worker, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)

    assert wait_until(lambda: not is_running(child), PATIENCE_S)


def test_it_does_not_keep_a_killed_workers_place_in_line_for_the_next_job(queue, start):
    """It ends a moment later. Until then, Redis would give the job to the connection on which the worker waited."""
    worker = start()
    child = result(queue.enqueue("os.getpid"))

    assert sockets(worker)
    assert not sockets(worker) & sockets(child)


def test_waiting_may_be_interrupted_and_begun_again():
    served = threading.Event()
    kept = horse.Horse(lambda call: time.sleep(0.3), served.set)
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        assert kept.run(horse.Call("job", "queue", "execution"))
        with pytest.raises(TimeoutError):
            kept.wait()
        assert kept.wait()
        assert kept.wait(), "its word stays until the next call"
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        kept.dismiss()


def _interrupt(*_: object) -> None:
    raise TimeoutError


def sockets(pid: int) -> set[str]:
    """Those that the process has open."""
    names = map(_target_of, Path(f"/proc/{pid}/fd").iterdir())
    return {name for name in names if name.startswith("socket:")}


def _target_of(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # it was closed meanwhile
        return ""


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
