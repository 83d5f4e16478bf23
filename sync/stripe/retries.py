"""When a failed request is retried, and who is told about it."""

from dataclasses import dataclass
from typing import Protocol

import structlog
import tenacity

from sync.error_text import loggable_reason
from sync.errors import StripeUnavailable

# With full jitter of up to 20 s, this gives Stripe about two minutes to recover before a type ends with an error.
BACKGROUND_ATTEMPTS = 15
# For requests that a person waits for, and for work that is repeated later anyway.
FAIL_FAST_ATTEMPTS = 3
# Full jitter, so that requests that failed together are not retried together.
_JITTERED = tenacity.wait_random_exponential(multiplier=0.5, max=20.0)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Retry:
    """`attempt` of `attempts` failed; the next one follows after `wait_s`. Without a `status` there was no answer."""

    endpoint: str
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
    """The attempts of one request, as a context manager. tenacity decides how many there are and how long they wait.

    Its own loop would block: here a thread that has many requests under way asks when to send one of them again.
    """

    __slots__ = ("_endpoint", "_most", "_path", "_state", "_watch")

    def __init__(self, endpoint: str, path: str, *, most: int, watch: RetryWatch) -> None:
        self._endpoint = endpoint
        self._path = path
        self._most = most
        self._watch = watch
        self._state: tenacity.RetryCallState | None = None

    def __enter__(self) -> "Attempts":
        return self

    def __exit__(self, *_: object) -> None:
        if self._state:
            self._watch.is_over(self)

    def wait_after(self, error: StripeUnavailable) -> float:
        """Seconds until the next attempt. Raises the error itself if there is none."""
        if self._state is None:
            self._state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        else:
            self._state.prepare_for_next_attempt()
        if tenacity.stop_after_attempt(self._most)(self._state):
            raise error
        failed = self._state.attempt_number
        wait_s = _JITTERED(self._state) if error.retry_after_s is None else error.retry_after_s
        log.info("stripe.retried", endpoint=self._endpoint, attempt=failed, reason=loggable_reason(error))
        self._watch.waits(
            self,
            Retry(
                self._endpoint, self._path, error.status, error.request_id, error.message, failed, self._most, wait_s
            ),
        )
        return wait_s
