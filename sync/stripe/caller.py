"""Calls Stripe for one account: pays from the budget, retries what may pass, translates the SDK's errors into ours."""

import copy
import email.utils
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import stripe
import structlog
import tenacity

from sync.bounds import is_second
from sync.error_text import loggable_reason
from sync.errors import StripeError, StripeRateLimited, StripeRejected, StripeUnavailable
from sync.json_text import mended
from sync.stripe.curl import HttpAnswer, Outcome
from sync.stripe.retries import NobodyWatches, RetryWatch, retry_of
from sync.stripe.sdk import Flights, Sdk, Sender

# With full jitter up to 20 s this gives Stripe about two minutes to come back before a type ends with an error.
PATIENT_ATTEMPTS = 15
# While a person waits for the answer.
HASTY_ATTEMPTS = 3
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 20.0
_LONGEST_WISH_S = 300.0  # of Stripe's own

T = TypeVar("T")
log = structlog.get_logger()


class Reservation(Protocol):
    """For how many requests; how long to wait before sending, and what the budget looks like (requests/s, free tokens)."""

    @property
    def count(self) -> int: ...

    @property
    def wait_s(self) -> float: ...
    @property
    def rate(self) -> float: ...
    @property
    def tokens(self) -> float: ...


class Limiter(Protocol):
    """Hands out the request budget of an account (workers/redis/limiter.py)."""

    def reserve(
        self, account_id: str, endpoint: str, *, livemode: bool, urgent: bool = False, most: int = 1
    ) -> Reservation: ...
    def slow_down(self, account_id: str, endpoint: str, reason: str | None, *, livemode: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A body as Stripe sent it, and between which two moments of Stripe's clock (whole seconds) it was true."""

    body: bytes
    as_of: int
    as_of_until: int


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """A GET, and what makes sense of its answer.

    Attempts that are not paid for yet go before those that wait in line for the budget; unless they are not `urgent`.
    """

    endpoint: str
    path: str
    params: Mapping[str, Any]
    decode: Callable[[Answer], T]
    urgent: bool = True


class Caller:
    """One Stripe account, called with one key. Thread-safe."""

    def __init__(
        self,
        *,
        secret_key: str,
        account_id: str,
        livemode: bool,
        api_base: str,
        transport: Sender,
        limiter: Limiter,
        attempts: int = PATIENT_ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        on_answer: Callable[[str, int | None], None] = lambda endpoint, status: None,
        retries: RetryWatch | None = None,
    ) -> None:
        """`on_answer` hears of each request's endpoint and status, None where there was no answer."""
        self.account_id = account_id
        self.livemode = livemode
        self._transport = transport
        self._sdk = Sdk(secret_key=secret_key, api_base=api_base, transport=transport)
        self._limiter = limiter
        self._sleep = sleep
        self._on_answer = on_answer
        self._retries = retries or NobodyWatches()
        self._attempts = attempts
        self._monotonic = monotonic
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StripeUnavailable),
            wait=_wait,
            stop=tenacity.stop_after_attempt(attempts),
            sleep=sleep,
            reraise=True,
        )

    def hasty(self) -> "Caller":
        """The same account and budget, with as few attempts as while a person waits."""
        found = copy.copy(self)
        found._attempts = HASTY_ATTEMPTS
        found._retrying = self._retrying.copy(stop=tenacity.stop_after_attempt(HASTY_ATTEMPTS))
        return found

    def reserve(self, endpoint: str, *, urgent: bool = False, most: int = 1) -> Reservation:
        """Pages of a backfill stand in line for the account's budget; an urgent request goes before those that wait."""
        return self._limiter.reserve(self.account_id, endpoint, livemode=self.livemode, urgent=urgent, most=most)

    def get(
        self, read: Read[T], *, reserved: bool = False, on_retry: Callable[[BaseException], None] | None = None
    ) -> T:
        """What its `decode` cannot decode is retried like any other failure of Stripe's.

        `reserved` says that the first attempt is already paid for. Raises StripeUnavailable after the last attempt,
        StripeRejected at once. `on_retry` hears of each failure that is tried again.
        """
        return self._call(read, self._getter(read), reserved=reserved, on_retry=on_retry)

    def post(
        self,
        endpoint: str,
        path: str,
        params: Mapping[str, Any],
        decode: Callable[[Answer], T],
        *,
        idempotency_key: str,
    ) -> T:
        """The key makes a retry safe: Stripe does the work of several attempts once."""
        sent = {**params, "idempotency_key": idempotency_key}
        return self._call(Read(endpoint, path, params, decode), lambda: self._sdk.write("post", path, sent))

    def delete(self, endpoint: str, path: str) -> None:
        """Raises StripeRejected `resource_missing` also when an attempt without an answer had done it."""
        read: Read[None] = Read(endpoint, path, {}, lambda answer: None)
        self._call(read, lambda: self._sdk.write("delete", path, {}))

    def flights(self) -> Flights:
        return self._transport.flights()

    def begin(self, flights: Flights, read: Read[T], then: Callable[[Callable[[], T]], None]) -> None:
        """The first attempt of a read, paid for already, as one of many that a thread has under way.

        `then` gets a function that returns what came of it, or raises: StripeUnavailable when it may be tried `again`.
        """
        started = self._monotonic()

        def met(outcome: Outcome) -> None:
            then(lambda: self._understood(read, lambda: self._sdk.judged(outcome), started))

        self._sdk.begin(flights, read.path, read.params, met)

    def again(self, read: Read[T], failure: StripeUnavailable, on_retry: Callable[[BaseException], None]) -> T:
        """`get` whose first attempt ended in that failure."""
        return self._call_again(read, self._getter(read), failure, on_retry)

    def _getter(self, read: Read[Any]) -> Callable[[], HttpAnswer]:
        return lambda: self._sdk.get(read.path, read.params)

    def _call(
        self,
        read: Read[T],
        send: Callable[[], HttpAnswer],
        *,
        reserved: bool = False,
        on_retry: Callable[[BaseException], None] | None = None,
    ) -> T:
        try:
            return self._attempt(read, send, paid=reserved)  # most succeed; tenacity would cost these as much again
        except StripeUnavailable as exc:
            return self._call_again(read, send, exc, on_retry)

    def _attempt(self, read: Read[T], send: Callable[[], HttpAnswer], *, paid: bool) -> T:
        if not paid:
            _wait_for(self.reserve(read.endpoint, urgent=read.urgent), self._sleep)
        return self._understood(read, send, self._monotonic())

    def _understood(self, read: Read[T], send: Callable[[], HttpAnswer], started: float) -> T:
        answer = self._judged(read.endpoint, send, started)
        try:
            return _decoded(read.decode, answer)
        except msgspec.DecodeError as exc:
            raise StripeUnavailable(f"Stripe's answer to {read.endpoint} was not the JSON it should be: {exc}") from exc

    def _call_again(
        self,
        read: Read[T],
        send: Callable[[], HttpAnswer],
        failure: StripeUnavailable,
        on_retry: Callable[[BaseException], None] | None,
    ) -> T:
        first = [failure]

        def attempt() -> T:
            if first:
                raise first.pop()
            return self._attempt(read, send, paid=False)

        def before_sleep(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            told = loggable_reason(error) if error else None
            log.info("stripe.retried", endpoint=read.endpoint, attempt=state.attempt_number, reason=told)
            if on_retry and error:
                on_retry(error)
            if isinstance(error, StripeError):
                nth, wait_s = state.attempt_number, state.upcoming_sleep
                retry = retry_of(read.path, error, attempt=nth, attempts=self._attempts, wait_s=wait_s)
                self._retries.waits(attempt, retry)

        try:
            return self._retrying.copy(before_sleep=before_sleep)(attempt)
        finally:
            self._retries.is_over(attempt)

    def _judged(self, endpoint: str, send: Callable[[], HttpAnswer], started: float) -> Answer:
        try:
            answer = send()
        except StripeUnavailable:
            self._on_answer(endpoint, None)
            raise
        except stripe.RateLimitError as exc:
            self._on_answer(endpoint, exc.http_status)
            raise self._slowed_down(endpoint, exc) from exc
        except stripe.StripeError as exc:
            self._on_answer(endpoint, exc.http_status)
            raise _translated(exc, self._monotonic() - started) from exc
        self._on_answer(endpoint, 200)
        return Answer(answer.body, *_moments(answer.headers, self._monotonic() - started))

    def _slowed_down(self, endpoint: str, exc: stripe.RateLimitError) -> StripeRateLimited:
        error = StripeRateLimited(_message(exc), status=429, request_id=exc.request_id, retry_after_s=_retry_after(exc))
        error.reason = (exc.headers or {}).get("Stripe-Rate-Limited-Reason")
        self._limiter.slow_down(self.account_id, endpoint, error.reason, livemode=self.livemode)
        return error


def _wait_for(reservation: Reservation, sleep: Callable[[float], None]) -> None:
    if reservation.wait_s:
        sleep(reservation.wait_s)


def _decoded(decode: Callable[[Answer], T], answer: Answer) -> T:
    try:
        return decode(answer)
    except msgspec.DecodeError:
        return decode(replace(answer, body=mended(answer.body)))


def _translated(exc: stripe.StripeError, elapsed_s: float) -> StripeUnavailable | StripeRejected:
    """5xx, 409 and lost connections may pass; what Stripe answered with another 4xx will not."""
    status = exc.http_status
    may_pass = status is None or status < 400 or status == 409 or status >= 500
    error = (StripeUnavailable if may_pass else StripeRejected)(
        _message(exc),
        status=status,
        stripe_code=exc.code,
        request_id=exc.request_id,
        retry_after_s=_retry_after(exc),
        param=getattr(exc, "param", None),
        type=exc.error.type if exc.error else None,
    )
    if isinstance(error, StripeRejected):
        error.as_of, error.as_of_until = _moments(exc.headers or {}, elapsed_s)
    else:
        error.is_replay = (exc.headers or {}).get("Idempotent-Replayed") == "true"
    return error


def _moments(headers: Mapping[str, str], elapsed_s: float) -> tuple[int, int]:
    """as_of and as_of_until of an answer that came `elapsed_s` after its request began.

    Stripe wrote Date at some moment of the request and cut it to whole seconds: so the request began at most its whole
    duration before Date, and ended at most its duration and that one second after it. Our own clock plays no part.
    """
    whole_s = math.ceil(elapsed_s)
    date = _seconds(headers.get("Date") or "") or int(time.time())
    return date - whole_s, date + 1 + whole_s


@lru_cache(maxsize=16)  # all answers of a second have the same one
def _seconds(date: str) -> int | None:
    parsed = email.utils.parsedate_tz(date)
    try:
        second = email.utils.mktime_tz(parsed) if parsed else None
    except (ValueError, OverflowError):  # the 32nd of a month, the year 99999
        return None
    return second if second is not None and is_second(second) else None


def _message(exc: stripe.StripeError) -> str:
    """Stripe's own sentence. The SDK puts whole bodies into the others, which may be pages of HTML."""
    if exc.http_status is not None and (exc.error is None or exc.user_message is None):
        return f"Stripe answered {exc.http_status} without saying why"
    return str(exc.user_message or "Stripe could not be reached")


def _retry_after(exc: stripe.StripeError) -> float | None:
    value = (exc.headers or {}).get("Retry-After", "")
    return min(float(value), _LONGEST_WISH_S) if value.isdecimal() else None


_jittered = tenacity.wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S)


def _wait(state: tenacity.RetryCallState) -> float:
    """Full jitter, so that requests that failed together do not come back together; Stripe's own wish goes first."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, StripeError) else None
    return asked if asked is not None else _jittered(state)
