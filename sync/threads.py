"""Threads for many short tasks. concurrent.futures makes a future of each, which cost a backfill 4% of its CPU."""

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

_Task = tuple[Callable[..., None], tuple[Any, ...]]


class Threads:
    """At most so many, started as they are needed. For one thread that submits; a task tells of its own failures."""

    def __init__(self, most: int, *, name: str) -> None:
        self._most = most
        self._name = name
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._started = 0
        self._idle = threading.Semaphore(0)

    def submit(self, task: Callable[..., None], *arguments: Any) -> None:
        self._tasks.put((task, arguments))
        if not self._idle.acquire(blocking=False) and self._started < self._most:
            self._started += 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def stop(self) -> None:
        """Tasks that wait are dropped; those under way end by themselves."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._tasks.get_nowait()
        for _ in range(self._started):
            self._tasks.put(None)

    def _work(self) -> None:
        while work := self._tasks.get():
            task, arguments = work
            task(*arguments)
            del work, task, arguments  # while it rests a thread would keep what it worked on, a page perhaps
            self._idle.release()
