"""When a failed request is retried, and who is told about it."""

import random
from dataclasses import dataclass
from typing import Protocol

import structlog

from sync.error_text import loggable_reason
from sync.errors import StripeUnavailable

# With full jitter of up to 20 s, this gives Stripe about two minutes to recover before a type ends with an error.
BACKGROUND_ATTEMPTS = 15
# For requests that a person waits for, and for work that is repeated later anyway.
FAIL_FAST_ATTEMPTS = 3
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 20.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Retry:
    """`attempt` of `attempts` failed; the next one follows after `wait_s`. Without a `status` there was no answer."""

    path: str
    status: int | None
    request_id: str | None
    message: str
    attempt: int
    attempts: int
    wait_s: float


class RetryWatch(Protocol):
    """Receives retries from any thread. `request` is the same object for all attempts of one request."""

    def waits(self, request: object, retry: Retry) -> None: ...
    def is_over(self, request: object) -> None: ...


class NobodyWatches:
    def waits(self, request: object, retry: Retry) -> None:
        pass

    def is_over(self, request: object) -> None:
        pass


class Attempts:
    """The attempts of one request, as a context manager."""

    __slots__ = ("_endpoint", "_failed", "_most", "_path", "_watch")

    def __init__(self, endpoint: str, path: str, *, most: int, watch: RetryWatch) -> None:
        self._endpoint = endpoint
        self._path = path
        self._most = most
        self._watch = watch
        self._failed = 0

    def __enter__(self) -> "Attempts":
        return self

    def __exit__(self, *_: object) -> None:
        if self._failed:
            self._watch.is_over(self)

    def wait_after(self, error: StripeUnavailable) -> float:
        """Seconds until the next attempt. Raises the error itself if there is none."""
        self._failed += 1
        if self._failed >= self._most:
            raise error
        wait_s = self._jittered() if error.retry_after_s is None else error.retry_after_s
        log.info("stripe.retried", endpoint=self._endpoint, attempt=self._failed, reason=loggable_reason(error))
        self._watch.waits(
            self, Retry(self._path, error.status, error.request_id, error.message, self._failed, self._most, wait_s)
        )
        return wait_s

    def _jittered(self) -> float:
        """Full jitter, so that requests that failed together are not retried together."""
        return random.uniform(0, min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (self._failed - 1)))
