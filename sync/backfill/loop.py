"""The loop of the one thread that decides in a backfill: Stripe's answers and other threads' news come to it in turn."""

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

    That thread also begins reads of Stripe, many at a time, and hears of their answers. A read that failed and may pass
    is tried again on a thread of its own, because it waits in between.
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
        """What is under way is dropped, or ends by itself and is not heard of."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._requests.close()

    def wait(self, timeout_s: float) -> None:
        """Until something has come, or the time is over."""
        self._requests.wait(timeout_s)
        while not self._told.empty():
            act, arguments = self._told.get()
            act(*arguments)

    def tell(self, act: Callable[..., None], *arguments: Any) -> None:
        """By any thread."""
        self._told.put((act, arguments))
        self._requests.wake()

    def fail(self, error: Exception) -> None:
        """By any thread: `wait` raises it."""
        self.tell(_raise, error)

    def run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Works in a thread, for it waits for something; `then` gets the result."""
        self._threads.submit(self._run, work, then)

    def read(
        self,
        read: Read[T],
        then: Callable[[T], None],
        refused: Callable[[StripeRejected], None],
        on_retry: Callable[[StripeUnavailable], None] = lambda error: None,
    ) -> None:
        """Reads what is paid for already. `refused` hears what Stripe said no to; other failures are raised by `wait`."""

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
