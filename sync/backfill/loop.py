"""The event loop of a backfill's one deciding thread. Stripe's answers and other threads' messages arrive in turn."""

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from sync.errors import StripeRejected, StripeUnavailable
from sync.stripe.answers import Read
from sync.stripe.caller import Caller

T = TypeVar("T")


class Loop:
    """Callbacks run inside `wait`, on the thread that waits. Their exceptions surface there.

    That thread also starts reads of Stripe, many at a time, and gets their answers. A read that failed but may pass is
    retried on its own thread, because it waits between attempts.
    """

    def __init__(self, caller: Caller, *, most_threads: int) -> None:
        self._caller = caller
        self._requests = caller.concurrent_requests()
        self._threads = ThreadPoolExecutor(most_threads, thread_name_prefix="helper")
        self._told: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drops reads in flight. Work in other threads ends by itself, and its results are ignored."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._requests.close()

    def wait(self, timeout_s: float) -> None:
        """Waits until something arrives or the time is over."""
        self._requests.wait(timeout_s)
        while not self._told.empty():
            act, arguments = self._told.get()
            act(*arguments)

    def tell(self, act: Callable[..., None], *arguments: Any) -> None:
        """Call it from any thread."""
        self._told.put((act, arguments))
        self._requests.wake()

    def fail(self, error: Exception) -> None:
        """Call it from any thread. `wait` raises the error."""
        self.tell(_raise, error)

    def run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Runs blocking work in a thread. `then` gets the result."""
        self._threads.submit(self._run, work, then)

    def read(
        self,
        read: Read[T],
        then: Callable[[T], None],
        refused: Callable[[StripeRejected], None],
        on_retry: Callable[[StripeUnavailable], None] = lambda error: None,
    ) -> None:
        """Sends a read that already has its token. `refused` gets Stripe's refusal; `wait` raises other failures."""

        def met(outcome: Callable[[], T]) -> None:
            try:
                found = outcome()
            except StripeUnavailable as exc:
                self._threads.submit(self._read_again, read, exc, then, refused, on_retry)
            except StripeRejected as exc:
                refused(exc)
            else:
                then(found)

        self._caller.begin(self._requests, read, met)

    def _read_again(
        self,
        read: Read[T],
        failure: StripeUnavailable,
        then: Callable[[T], None],
        refused: Callable[[StripeRejected], None],
        on_retry: Callable[[StripeUnavailable], None],
    ) -> None:
        try:
            found = self._caller.again(read, failure, lambda error: self.tell(on_retry, error))
        except StripeRejected as exc:
            self.tell(refused, exc)
        except Exception as exc:
            self.fail(exc)
        else:
            self.tell(then, found)

    def _run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        try:
            self.tell(then, work())
        except Exception as exc:
            self.fail(exc)


def _raise(error: Exception) -> None:
    raise error
