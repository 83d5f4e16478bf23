"""The loop of the one thread that decides in a backfill: Stripe's answers and other threads' news come to it in turn."""

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from sync.errors import StripeRejected, StripeUnavailable
from sync.stripe.caller import Read
from sync.stripe.source import Source

T = TypeVar("T")


class Loop:
    """Everything that is handed to it to be called, is called by `wait`, in the thread that waits; so is what raises there.

    Reads of Stripe are begun and met in that thread too, many at a time. Only one that failed and may pass is tried again
    in a thread of its own, for it waits in between.
    """

    def __init__(self, source: Source, *, most_threads: int) -> None:
        self._source = source
        self._flights = source.flights()
        self._threads = ThreadPoolExecutor(most_threads, thread_name_prefix="helper")
        self._told: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is under way is dropped, or ends by itself and is not heard of."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._flights.close()

    def wait(self, timeout_s: float) -> None:
        """Until something has come, or the time is over."""
        self._flights.wait(timeout_s)
        while not self._told.empty():
            act, arguments = self._told.get()
            act(*arguments)

    def tell(self, act: Callable[..., None], *arguments: Any) -> None:
        """By any thread."""
        self._told.put((act, arguments))
        self._flights.wake()

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
        on_retry: Callable[[BaseException], None] = lambda error: None,
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

        self._source.begin(self._flights, read, met)

    def _read_again(
        self,
        read: Read[T],
        failure: StripeUnavailable,
        then: Callable[[T], None],
        refused: Callable[[StripeRejected], None],
        on_retry: Callable[[BaseException], None],
    ) -> None:
        try:
            found = self._source.again(read, failure, lambda error: self.tell(on_retry, error))
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
