"""The bare client: reads the same pages as fast as the rates allow and discards them. No mirror can be faster.

It knows all cursors in advance, so it can have many requests of one list in flight.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.benchmark.lists import Rates, Reader, Request

# With 150 ms per answer and 100 requests/s, some fifteen are in flight. Heavy pages take longer.
THREADS_WITH_LATENCY = 64
THREADS_WITHOUT = 4  # more would only compete for the interpreter
# Later than allowed by this much: the sandbox counts from the first arrival, we from the start.
MARGIN_S = 0.05
TRY_AGAIN_AFTER_S = 0.25


@dataclass(frozen=True, slots=True)
class Drained:
    """What the bare client did."""

    wall_s: float
    requests: int
    limited: int  # answered 429
    received_bytes: int


class Bucket:
    """Predicts the sandbox's token bucket: one second's worth of tokens, full at first. None: no limit."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._tokens = max(1.0, rate or 0.0)
        self._at = 0.0

    def next_token_at(self) -> float:
        if self._rate is None or self._tokens >= 1:
            return self._at
        return self._at + (1 - self._tokens) / self._rate

    def take(self, at: float) -> None:
        if self._rate is not None:
            refilled = self._tokens + (at - self._at) * self._rate
            self._tokens = min(max(1.0, self._rate), refilled) - 1
        self._at = at


def due_times(endpoints: Sequence[str], rates: Rates) -> list[float]:
    """When to send each request, in seconds after the first. If several may go, the longest list goes first."""
    waiting: dict[str, list[int]] = {}
    for index in reversed(range(len(endpoints))):
        waiting.setdefault(endpoints[index], []).append(index)
    account, own = Bucket(rates.account_rps), {endpoint: Bucket(rates.endpoint_rps) for endpoint in waiting}
    due, now = [0.0] * len(endpoints), 0.0
    while waiting:
        free_at = {each: max(now, account.next_token_at(), own[each].next_token_at()) for each in waiting}
        chosen = min(waiting, key=lambda each: (free_at[each], -len(waiting[each])))
        now = free_at[chosen]
        account.take(now)
        own[chosen].take(now)
        due[waiting[chosen].pop()] = now + MARGIN_S
        if not waiting[chosen]:
            del waiting[chosen]
    return due


class Drain:
    """One run of the bare client."""

    def __init__(self, url: str, secret_key: str, requests: Sequence[Request], rates: Rates) -> None:
        self._url = url
        self._secret_key = secret_key
        due = due_times([request.endpoint for request in requests], rates)
        self._waiting = sorted(zip(due, (request.target for request in requests), strict=True), reverse=True)
        self._lock = threading.Lock()
        self._received = self._limited = 0
        self._errors: list[Exception] = []

    def run(self, threads: int) -> Drained:
        requests = len(self._waiting)
        workers = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        self._started = time.monotonic()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if self._errors:
            raise self._errors[0]
        return Drained(time.monotonic() - self._started, requests, self._limited, self._received)

    def _work(self) -> None:
        reader = Reader(self._url, self._secret_key)
        try:
            while (taken := self._take()) is not None:
                due, target = taken
                time.sleep(max(0.0, self._started + due - time.monotonic()))
                self._read(reader, target)
        except Exception as error:
            self._errors.append(error)
        finally:
            reader.close()

    def _take(self) -> tuple[float, str] | None:
        with self._lock:
            return self._waiting.pop() if self._waiting else None

    def _read(self, reader: Reader, target: str) -> None:
        status, body = reader.get(target)
        while status == 429:
            with self._lock:
                self._limited += 1
            time.sleep(TRY_AGAIN_AFTER_S)
            status, body = reader.get(target)
        if status != 200:
            raise RuntimeError(f"the sandbox answered {status} to {target}")
        with self._lock:
            self._received += len(body)
