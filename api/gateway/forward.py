"""Forwards a request to Stripe with the team's own key, and returns Stripe's answer unchanged.

It sends each request once: only the caller knows whether to try again, and with which idempotency key. Forwarded requests
go before every backfill in the account's budget.
"""

import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from api.gateway.errors import StripeUnreachable, TooManyForwarded
from sync.errors import BadRequest, StripeUnavailable
from sync.stripe.caller import Limiter
from sync.stripe.curl import HttpAnswer
from sync.stripe.sdk import Sender
from sync.teams.connections import Connection

# Stripe's own servers give up after 80 s at the latest, so our threads wait no longer.
READ_TIMEOUT_S = 80
# Requests of one team in one process. A Stripe that hangs then holds these threads and no others.
MOST_UNDER_WAY = 8
# A caller who would wait longer for the account's budget gets 429 with Retry-After.
LONGEST_WAIT_S = 5.0
# Where the mirror has an answer of its own, and Stripe's would only be better.
PATIENCE_S = 2
_SENT = (
    "Content-Type",
    "Idempotency-Key",
    "Stripe-Account",
    "Stripe-Context",
    "Stripe-Version",
    "X-Stripe-Client-User-Agent",
)
_GIVEN_BACK = (
    "Content-Type",
    "Idempotency-Key",
    "Idempotent-Replayed",
    "Original-Request",
    "Request-Id",
    "Retry-After",
    "Stripe-Account",
    "Stripe-Rate-Limited-Reason",
    "Stripe-Should-Retry",
    "Stripe-Version",
)
_PLAIN = re.compile(r"[\x20-\x7e]*")
_COLLECTION = re.compile(r"/v[12]/([a-z_]{1,40})")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """`target` is path and query, escaped as they came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Forwarder:
    """Of one web process. Thread-safe."""

    def __init__(self, transport: Sender, api_base: str, *, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._transport = transport
        self._api_base = api_base
        self._longest_wait_s = longest_wait_s
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    def send(self, outgoing: Outgoing, connection: Connection, limiter: Limiter) -> HttpAnswer:
        """Raises TooManyForwarded, StripeUnreachable. Stripe's refusals are answers."""
        assert connection.secret_key is not None
        with self._place_of(connection.team_id):
            endpoint = endpoint_of(outgoing)
            reserved = limiter.reserve(connection.account_id, endpoint, livemode=connection.livemode, urgent=True)
            if reserved.wait_s > self._longest_wait_s:
                raise TooManyForwarded(
                    "this account's request budget at Stripe is used up: try again in a moment",
                    retry_after_s=reserved.wait_s,
                )
            threading.Event().wait(reserved.wait_s)
            try:
                answer = self._transport.send(
                    outgoing.method,
                    self._api_base + outgoing.target,
                    headers_for(outgoing.headers, connection),
                    outgoing.body if outgoing.body or outgoing.method == "POST" else None,
                )
            except StripeUnavailable as exc:
                raise StripeUnreachable(f"Stripe could not be reached: {exc.message}") from exc
        if answer.status == 429:
            reason = answer.headers.get("Stripe-Rate-Limited-Reason")
            limiter.slow_down(connection.account_id, endpoint, reason, livemode=connection.livemode)
        return _without_key(answer, connection.secret_key)

    @contextmanager
    def _place_of(self, team_id: str) -> Iterator[None]:
        with self._lock:
            if self._under_way[team_id] >= MOST_UNDER_WAY:
                raise TooManyForwarded(
                    "too many requests of this team are waiting for Stripe: try again in a moment", retry_after_s=1
                )
            self._under_way[team_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[team_id] -= 1


def endpoint_of(outgoing: Outgoing) -> str:
    """Which of Stripe's limits it counts against; each list, object and change has its own."""
    path = outgoing.target.partition("?")[0]
    collection = _COLLECTION.match(path)
    if collection is None:
        return "other"
    if outgoing.method != "GET":
        return f"change_{collection[1]}"
    return f"list_{collection[1]}" if path.count("/") == 2 else f"retrieve_{collection[1]}"


def headers_for(given: Mapping[str, str], connection: Connection) -> dict[str, str]:
    """What Stripe sees of a caller's headers; never the caller's own key. Raises BadRequest for one that HTTP cannot carry."""
    sent = {name: given[name] for name in _SENT if name in given}
    for name, value in sent.items():
        if not _PLAIN.fullmatch(value):
            raise BadRequest(f"the header {name} may hold printable ASCII characters only")
    return {"Stripe-Version": connection.api_version} | sent | {"Authorization": f"Bearer {connection.secret_key}"}


def headers_back(answer: HttpAnswer) -> dict[str, str]:
    return {name: answer.headers[name] for name in _GIVEN_BACK if name in answer.headers}


def _without_key(answer: HttpAnswer, secret_key: str) -> HttpAnswer:
    if secret_key.encode() not in answer.body:
        return answer
    return HttpAnswer(answer.status, answer.headers, answer.body.replace(secret_key.encode(), b"***"))
