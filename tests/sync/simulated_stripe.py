"""The sandbox's Stripe without HTTP, on a clock that moves only when the test or a request moves it.

`SimulatedStripe` stands where sync/stripe/transport.py stands: the real SDK, caller, source and everything above it run as they
are. `interfere` is called at the beginning and at the end of every request, so that a test can let the world move on
while one is under way, or let it fail.
"""

import contextlib
import email.utils
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from scripts.sandbox.account import Account
from scripts.sandbox.seeding import Recipe
from sync.errors import StripeUnavailable
from sync.events.applying import Mirrored
from sync.stripe.caller import Caller
from sync.stripe.curl import Headers, HttpAnswer, RequestOutcome
from sync.stripe.retries import BACKGROUND_ATTEMPTS
from sync.stripe.source import Source
from tests.factories import NOW, encoded


class Clock:
    """Stripe's clock, and ours: seconds since 1970."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Request:
    """One request on its way. Whoever sets `instead` answers in Stripe's place: status, headers, body."""

    path: str
    params: dict[str, str]
    instead: tuple[int, dict[str, str], bytes] | None = None
    body: bytes = b""  # at the end of the request: what was answered


@dataclass(frozen=True)
class Budget:
    """A limiter without limits that keeps what it was told."""

    slowed_down: list[tuple[str, str | None]] = field(default_factory=list)
    reserved: list[str] = field(default_factory=list)
    most: list[int] = field(default_factory=list)
    urgent: list[bool] = field(default_factory=list)
    wait_s: float = 0.0
    rate: float = 100.0
    tokens: float = 100.0
    count: int = 1

    def reserve(
        self, account_id: str, endpoint: str, *, livemode: bool, urgent: bool = False, most: int = 1
    ) -> "Budget":
        self.reserved.append(endpoint)
        self.most.append(most)
        self.urgent.append(urgent)
        return self

    def slow_down(self, account_id: str, endpoint: str, reason: str | None, **_: bool) -> None:
        self.slowed_down.append((endpoint, reason))


def _nothing(request: Request) -> None:
    pass


class SimulatedStripe:
    """One account. Thread-safe: requests are answered one at a time, in the order in which they get there."""

    def __init__(self, account: Account, clock: Clock) -> None:
        self.account = account
        self.clock = clock
        self.lock = threading.RLock()
        self.requests: list[Request] = []
        self.at_begin: Callable[[Request], None] = _nothing
        self.at_end: Callable[[Request], None] = _nothing

    def send(self, method: str, url: str, headers: Any, body: str | None = None) -> HttpAnswer:
        address = urlsplit(url)
        request = Request(address.path, dict(parse_qsl(address.query)))
        self.at_begin(request)
        with self.lock:
            self.requests.append(request)
            status, answer_headers, request.body = request.instead or self._answer(method, request)
            date = email.utils.formatdate(int(self.clock.now), usegmt=True)  # cut, as `created` is; never rounded up
        self.at_end(request)
        return HttpAnswer(status, Headers({"Date": date, **answer_headers}), request.body)

    def concurrent_requests(self) -> "ThreadedRequests":
        return ThreadedRequests(self)

    def _answer(self, method: str, request: Request) -> tuple[int, dict[str, str], bytes]:
        answer = self.account.handle(method.upper(), request.path, request.params)
        return answer.status, dict(answer.headers), answer.body


class ThreadedRequests:
    """Stands where ConcurrentRequests of sync/stripe/transport.py stands: each request is sent in a thread of its own."""

    def __init__(self, simulated: SimulatedStripe) -> None:
        self._simulated = simulated
        self._ended: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def get(self, url: str, headers: Mapping[str, str], then: Callable[[RequestOutcome], None]) -> None:
        threading.Thread(target=self._send, args=(url, headers, then), daemon=True).start()

    def _send(self, url: str, headers: Mapping[str, str], then: Callable[[RequestOutcome], None]) -> None:
        try:
            outcome: RequestOutcome = self._simulated.send("GET", url, headers)
        except StripeUnavailable as exc:
            outcome = exc
        except Exception as exc:
            self._ended.put(partial(_raise, exc))  # a test's own, such as the death of a process
            return
        self._ended.put(partial(then, outcome))

    def wait(self, timeout_s: float) -> None:
        with contextlib.suppress(queue.Empty):
            ended = self._ended.get(timeout=timeout_s)
            if ended:
                ended()

    def wake(self) -> None:
        self._ended.put(None)

    def close(self) -> None:
        """What is under way ends by itself."""


def _raise(error: Exception) -> None:
    raise error


def simulated_stripe(
    *, seed: int = 1, counts: dict[str, int] | None = None, profile: str = "default", now: int = NOW
) -> SimulatedStripe:
    """An account whose history ended two minutes ago, so that its objects are no news."""
    clock = Clock(now)
    every = dict.fromkeys(("customer", "product", "price", "subscription", "invoice", "charge"), 0) | (counts or {})
    recipe = Recipe(seed=seed, counts=every, profile=profile, until=now - 120)
    return SimulatedStripe(Account("simulated", recipe, clock), clock)


def source_of(
    simulated: SimulatedStripe,
    *,
    page_size: int = 100,
    attempts: int = BACKGROUND_ATTEMPTS,
    budget: Budget | None = None,
) -> Source:
    """Retries sleep on the simulated clock."""
    caller = Caller(
        secret_key="sk_test_simulated",
        account_id=simulated.account.state.id,
        livemode=False,
        api_base="https://stripe.invalid",
        transport=simulated,
        limiter=budget or Budget(),
        attempts=attempts,
        sleep=simulated.clock.advance,
        monotonic=simulated.clock,
    )
    return Source(caller, page_size=page_size)


def mirrored_of(simulated: SimulatedStripe) -> Mirrored:
    return Mirrored(simulated.account.state.id, livemode=False)


def error(
    status: int, code: str | None = None, message: str = "No.", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """An answer of Stripe's that says no, for `Request.instead`."""
    details = {"message": message, "type": "invalid_request_error", **({"code": code} if code else {})}
    return status, headers, encoded({"error": details})
