"""Calls Stripe for one account: takes tokens from the budget, sends requests, and retries errors that may pass.

Most callers wait for each answer. A backfill has many reads in flight in one thread (`begin`).
"""

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

from sync.errors import StripeRateLimited, StripeUnavailable
from sync.stripe.answers import Answer, Read, read_answer
from sync.stripe.curl import HttpAnswer, RequestOutcome
from sync.stripe.retries import BACKGROUND_ATTEMPTS, FAIL_FAST_ATTEMPTS, Attempts, NobodyWatches, RetryWatch
from sync.stripe.sdk import API_VERSION, ConcurrentSender, Sdk, Sender

T = TypeVar("T")


class Reservation(Protocol):
    """Permission for `count` requests after `wait_s`.

    `rate` (requests/s) and `free` (tokens) describe the budget.
    """

    @property
    def count(self) -> int: ...

    @property
    def wait_s(self) -> float: ...
    @property
    def rate(self) -> float: ...
    @property
    def tokens(self) -> float: ...


class Limiter(Protocol):
    """Hands out an account's request budget (workers/redis/limiter.py)."""

    def reserve(
        self, account_id: str, endpoint: str, *, livemode: bool, urgent: bool = False, most: int = 1
    ) -> Reservation: ...
    def slow_down(self, account_id: str, endpoint: str, reason: str | None, *, livemode: bool) -> None: ...


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
        api_version: str = API_VERSION,
        attempts: int = BACKGROUND_ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        on_answer: Callable[[str, int | None], None] = lambda endpoint, status: None,
        retries: RetryWatch | None = None,
    ) -> None:
        """`on_answer` gets each request's endpoint and status. The status is None if there was no answer."""
        self.account_id = account_id
        self.livemode = livemode
        self.api_version = api_version
        self._transport = transport
        self._api_base = api_base
        self._sdk = Sdk(secret_key=secret_key, api_base=api_base, transport=transport, api_version=api_version)
        self._limiter = limiter
        self._sleep = sleep
        self._on_answer = on_answer
        self._retries = retries or NobodyWatches()
        self._attempts = attempts
        self._monotonic = monotonic

    def fail_fast(self) -> "Caller":
        """A caller for the same account and budget, with as few attempts as for a waiting person."""
        found = copy.copy(self)
        found._attempts = FAIL_FAST_ATTEMPTS
        return found

    def reserve(self, endpoint: str, *, urgent: bool = False, most: int = 1) -> Reservation:
        """A backfill's pages wait in line for the account's budget. An urgent request goes before them."""
        return self._limiter.reserve(self.account_id, endpoint, livemode=self.livemode, urgent=urgent, most=most)

    def get(self, read: Read[T], *, reserved: bool = False) -> T:
        """If `decode` cannot decode the answer, the request is retried like after any other failure of Stripe's.

        `reserved`: the first attempt already has its token. Raises StripeUnavailable after the last attempt, and
        StripeRejected at once.
        """
        return self._call(read, self._getter(read), paid=reserved)

    def begin(self, requests: ConcurrentSender, read: Read[T], then: Callable[[Callable[[], T]], None]) -> None:
        """Sends the first attempt of a read, which already has its token, as one of many in a thread.

        `then` gets a function that returns the result or raises. After StripeUnavailable, the read may be retried with
        `again`.
        """
        started = self._monotonic()

        def met(outcome: RequestOutcome) -> None:
            then(lambda: self._understood(read, outcome, started))

        requests.get(self._url(read), self._sdk.headers, met)

    def again(self, read: Read[T], failure: StripeUnavailable, on_retry: Callable[[StripeUnavailable], None]) -> T:
        """Like `get`, after a first attempt that ended in `failure`. `on_retry` gets each failure that is retried."""
        return self._call(read, self._getter(read), failure=failure, on_retry=on_retry)

    def post(
        self,
        endpoint: str,
        path: str,
        params: Mapping[str, Any],
        decode: Callable[[Answer], T],
        *,
        idempotency_key: str,
    ) -> T:
        """The key makes retries safe: Stripe performs several attempts only once."""
        sent = {**params, "idempotency_key": idempotency_key}
        return self._call(Read(endpoint, path, params, decode), lambda: self._sdk.write("post", path, sent))

    def delete(self, endpoint: str, path: str) -> None:
        """Raises StripeRejected `resource_missing` also if an earlier attempt without an answer had deleted it."""
        read: Read[None] = Read(endpoint, path, {}, lambda answer: None)
        self._call(read, lambda: self._sdk.write("delete", path, {}))

    def _getter(self, read: Read[Any]) -> Callable[[], HttpAnswer]:
        return lambda: self._transport.send("GET", self._url(read), self._sdk.headers)

    def _call(
        self,
        read: Read[T],
        send: Callable[[], HttpAnswer],
        *,
        paid: bool = False,
        failure: StripeUnavailable | None = None,
        on_retry: Callable[[StripeUnavailable], None] = lambda error: None,
    ) -> T:
        """`failure`: how the first attempt has already ended."""
        with Attempts(read.endpoint, read.path, most=self._attempts, watch=self._retries) as attempts:
            while True:
                try:
                    if failure:
                        raise failure
                    return self._attempt(read, send, paid=paid)
                except StripeUnavailable as error:
                    wait_s = attempts.wait_after(error)
                    on_retry(error)
                self._sleep(wait_s)
                failure, paid = None, False

    def _attempt(self, read: Read[T], send: Callable[[], HttpAnswer], *, paid: bool) -> T:
        if not paid and (wait_s := self.reserve(read.endpoint, urgent=read.urgent).wait_s):
            self._sleep(wait_s)
        started = self._monotonic()
        try:
            outcome: RequestOutcome = send()
        except StripeUnavailable as error:
            outcome = error
        return self._understood(read, outcome, started)

    def _understood(self, read: Read[T], outcome: RequestOutcome, started: float) -> T:
        if isinstance(outcome, StripeUnavailable):
            self._on_answer(read.endpoint, None)
            raise outcome
        self._on_answer(read.endpoint, outcome.status)
        try:
            return read_answer(read, outcome, self._monotonic() - started)
        except StripeRateLimited as error:
            self._limiter.slow_down(self.account_id, read.endpoint, error.reason, livemode=self.livemode)
            raise

    def concurrent_requests(self) -> ConcurrentSender:
        """Requests for one thread."""
        return self._transport.concurrent_requests()

    def _url(self, read: Read[Any]) -> str:
        query = f"?{urlencode(read.params)}" if read.params else ""
        return f"{self._api_base}{read.path}{query}"
