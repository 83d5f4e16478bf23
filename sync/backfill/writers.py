"""Threads that commit pages. Each uses a connection for one page at a time."""

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg

from sync.mirror.store import MirrorStore

_Task = Callable[[MirrorStore], None]


class Writers:
    """A limited number, each started with its first task. Tasks submitted under one number run in that order."""

    def __init__(
        self,
        team_id: str,
        connect: Callable[[], AbstractContextManager[psycopg.Connection]],
        failed: Callable[[Exception], None],
        *,
        most: int,
    ) -> None:
        """`failed` gets the exception that ends a thread."""
        self._team_id = team_id
        self._connect = connect
        self._failed = failed
        self._most = most
        self._started: dict[int, tuple[threading.Thread, queue.SimpleQueue[_Task | None]]] = {}

    def submit(self, number: int, task: _Task) -> None:
        turn = number % self._most
        if turn not in self._started:
            tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
            writer = threading.Thread(target=self._work, args=(tasks,), name="writer", daemon=True)
            self._started[turn] = writer, tasks
            writer.start()
        self._started[turn][1].put(task)

    def stop(self) -> None:
        """Returns when everything that was submitted is done or has failed."""
        for _, tasks in self._started.values():
            tasks.put(None)
        for writer, _ in self._started.values():
            writer.join()

    def _work(self, tasks: "queue.SimpleQueue[_Task | None]") -> None:
        try:
            while task := tasks.get():
                with self._connect() as connection:
                    task(MirrorStore(connection, self._team_id))
                del task  # otherwise an idle thread would keep a page in memory
        except Exception as exc:
            self._failed(exc)
