"""Runs threads on a simulated clock, one at a time: minutes of waiting pass as fast as the code between the waits."""

import heapq
import itertools
import threading
from collections.abc import Callable


class _Over(BaseException):
    """Ends a thread that still slept when the simulation ended."""


class SimulatedTime:
    """`sleep` hands over to whoever wakes next. Repeatable: who sleeps equally long wakes in the order of asking."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, threading.Semaphore]] = []
        self._order = itertools.count()
        self._threads: list[threading.Thread] = []
        self._end = threading.Semaphore(0)
        self._ends_at = 0.0
        self._failures: list[Exception] = []

    def clock(self) -> float:
        return self.now

    def start(self, body: Callable[[], None]) -> None:
        gate = self._gate_at(self.now)
        thread = threading.Thread(target=self._run_body, args=(body, gate), daemon=True)
        thread.start()
        self._threads.append(thread)

    def sleep(self, seconds: float) -> None:
        gate = self._gate_at(self.now + seconds)
        self._wake_next()
        self._pass(gate)

    def run(self, *, until: float) -> None:
        self._ends_at = until
        self._wake_next()
        self._end.acquire()
        for _, _, gate in self._sleepers:
            gate.release()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _gate_at(self, wakes_at: float) -> threading.Semaphore:
        gate = threading.Semaphore(0)
        heapq.heappush(self._sleepers, (wakes_at, next(self._order), gate))
        return gate

    def _wake_next(self) -> None:
        if self._failures or not self._sleepers or self._sleepers[0][0] > self._ends_at:
            self.now = self._ends_at
            self._ends_at = -1.0
            self._end.release()
            return
        self.now, _, gate = heapq.heappop(self._sleepers)
        gate.release()

    def _pass(self, gate: threading.Semaphore) -> None:
        gate.acquire()
        if self._ends_at < 0:
            raise _Over

    def _run_body(self, body: Callable[[], None], gate: threading.Semaphore) -> None:
        try:
            self._pass(gate)
            body()
        except _Over:
            return
        except Exception as exc:
            self._failures.append(exc)
        self._wake_next()
