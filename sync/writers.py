"""Threads that commit pages, each on a connection of its own."""

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg

from sync.store import MirrorStore

_Task = Callable[[MirrorStore], None]


class Writers:
    """At most so many, each started with its first task. What is submitted under one number is done in that order."""

    def __init__(
        self,
        team_id: str,
        connect: Callable[[], AbstractContextManager[psycopg.Connection]],
        failed: Callable[[Exception], None],
        *,
        most: int,
    ) -> None:
        """`failed` hears of what ends a thread."""
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
        """Returns when all that was submitted is done, or could not be."""
        for _, tasks in self._started.values():
            tasks.put(None)
        for writer, _ in self._started.values():
            writer.join()

    def _work(self, tasks: "queue.SimpleQueue[_Task | None]") -> None:
        try:
            with self._connect() as connection:
                prepare(connection)
                store = MirrorStore(connection, self._team_id)
                while task := tasks.get():
                    task(store)
                    del task  # while it rests a thread would keep a page
        except Exception as exc:
            self._failed(exc)


def prepare(connection: psycopg.Connection) -> None:
    """How pages are written.

    An fsync can take 40 ms, so a page does not wait for one: rows, seen and checkpoint are lost together or not at all,
    and the lease's next renewal, which does wait, makes all of them durable. A page's rows are looked up by their ids
    whatever the planner thinks of a table that was empty when it last looked: a plan with a scan would be kept. And the
    statement is planned once, not five times before Postgres sees that its plan can be kept.
    """
    connection.execute(
        """
        SET synchronous_commit = off;
        SET enable_seqscan = off;
        SET enable_hashjoin = off;
        SET enable_mergejoin = off;
        SET jit = off;
        SET plan_cache_mode = force_generic_plan
        """
    )
