"""Threads for many short tasks."""

import threading
import weakref

from sync.threads import Threads


def test_tasks_run_side_by_side_up_to_the_most() -> None:
    threads = Threads(2, name="test")
    started, go_on = threading.Semaphore(0), threading.Event()

    def task() -> None:
        started.release()
        go_on.wait(5)

    for _ in range(3):
        threads.submit(task)

    assert started.acquire(timeout=5)
    assert started.acquire(timeout=5)
    assert not started.acquire(timeout=0.1), "a third thread"
    go_on.set()
    assert started.acquire(timeout=5), "the task that waited"
    threads.stop()


def test_idle_threads_take_the_next_tasks() -> None:
    threads = Threads(50, name="test")
    seen: set[int] = set()
    done = threading.Semaphore(0)

    def task() -> None:
        seen.add(threading.get_ident())
        done.release()

    for _ in range(50):
        threads.submit(task)
        assert done.acquire(timeout=5)

    assert len(seen) < 25
    threads.stop()


def test_tasks_that_wait_at_the_end_are_dropped() -> None:
    threads = Threads(1, name="test")
    started, go_on = threading.Event(), threading.Event()
    ran: list[str] = []

    def first() -> None:
        started.set()
        go_on.wait(5)
        ran.append("first")

    threads.submit(first)
    threads.submit(ran.append, "second")
    assert started.wait(5)
    workers = [thread for thread in threading.enumerate() if thread.name == "test"]
    threads.stop()
    go_on.set()
    for worker in workers:
        worker.join(5)

    assert ran == ["first"]
    assert not any(worker.is_alive() for worker in workers)


def test_a_resting_thread_keeps_nothing_of_its_last_task() -> None:
    class Page:
        pass

    threads = Threads(1, name="test")
    page, rests = Page(), threading.Event()
    kept = weakref.ref(page, lambda _: rests.set())
    threads.submit(lambda page: None, page)
    del page

    assert rests.wait(5)
    assert kept() is None
    threads.stop()
