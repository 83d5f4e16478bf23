"""What is known of requests to Stripe that failed and wait for their next attempt."""

from dataclasses import dataclass
from typing import Protocol

from sync.errors import StripeError


@dataclass(frozen=True, slots=True)
class Retry:
    """`attempt` of `attempts` failed; the next one comes in `wait_s`. Without `status` there was no answer at all."""

    path: str
    status: int | None
    request_id: str | None
    message: str
    attempt: int
    attempts: int
    wait_s: float


class RetryWatch(Protocol):
    """Hears of retries, by any thread. `request` is the same object for all attempts of one request."""

    def waits(self, request: object, retry: Retry) -> None: ...
    def is_over(self, request: object) -> None: ...


class NobodyWatches:
    def waits(self, request: object, retry: Retry) -> None:
        pass

    def is_over(self, request: object) -> None:
        pass


def retry_of(path: str, error: StripeError, *, attempt: int, attempts: int, wait_s: float) -> Retry:
    return Retry(path, error.status, error.request_id, error.message, attempt, attempts, wait_s)
