"""What the Stripe SDK does for us: it writes the headers (key, version), encodes what is posted, and judges refusals.

What it does between those, for a successful read, is more work than everything else a page costs: so reads are sent with
the headers that it once wrote, and it sees their answers only when Stripe said no.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

import pycurl
import stripe

from sync.errors import StripeUnavailable
from sync.stripe.curl import HttpAnswer, Outcome
from sync.stripe.transport import Transport

API_VERSION = "2026-10-28.endive"  # the one stripe-python 16.1 is typed for, and our tables read


class Flights(Protocol):
    """The requests of a thread that has many under way."""

    def get(self, url: str, headers: Mapping[str, str], then: Callable[[Outcome], None]) -> None: ...
    def wait(self, timeout_s: float) -> None: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


class Sender(Protocol):
    """sync/stripe/transport.py, or what stands for it in a test."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: str | None = None) -> HttpAnswer: ...
    def flights(self) -> Flights: ...


class Sdk:
    """One key. Thread-safe. Raises stripe.StripeError when Stripe said no, StripeUnavailable when it did not answer."""

    def __init__(self, *, secret_key: str, api_base: str, transport: Sender) -> None:
        self._secret_key = secret_key
        self._api_base = api_base
        self._transport = transport
        self._headers = self._headers_of_a_read()

    def get(self, path: str, params: Mapping[str, Any]) -> HttpAnswer:
        return self.judged(self._transport.send("GET", self._url(path, params), self._headers))

    def begin(self, flights: Flights, path: str, params: Mapping[str, Any], then: Callable[[Outcome], None]) -> None:
        """`get` for one thread with many under way: `then` hears of the outcome, which is to be `judged`."""
        flights.get(self._url(path, params), self._headers, then)

    def judged(self, outcome: Outcome) -> HttpAnswer:
        if isinstance(outcome, StripeUnavailable):
            raise outcome
        if outcome.status >= 300:
            self._request(_Given(outcome), "get", "/v1/account", {})  # whatever was asked for, the answer decides
        return outcome

    def write(self, method: str, path: str, params: Mapping[str, Any]) -> HttpAnswer:
        """A `post` or `delete`; `idempotency_key` may be among the parameters."""
        passing = _Passing(self._transport)
        self._request(passing, method, path, params)
        assert passing.answer is not None
        return passing.answer

    def _url(self, path: str, params: Mapping[str, Any]) -> str:
        query = f"?{urlencode(params)}" if params else ""
        return f"{self._api_base}{path}{query}"

    def _headers_of_a_read(self) -> Mapping[str, str]:
        given = _Given(None)
        self._request(given, "get", "/v1/account", {})
        return given.headers

    def _request(self, http: stripe.HTTPClient, method: str, path: str, params: Mapping[str, Any]) -> None:
        client = stripe.StripeClient(
            self._secret_key,
            base_addresses={"api": self._api_base},
            max_network_retries=0,  # sync/stripe/caller.py is the only layer that retries
            stripe_version=API_VERSION,
            http_client=http,
        )
        client.raw_request(method, path, **params)


def preload() -> None:
    """Loads what the SDK and libcurl load when first used. For a process that forks: each of its children would do it."""
    Sdk(secret_key="sk_test_none", api_base="https://stripe.invalid", transport=Transport())
    pycurl.Curl().close()


class _SdkHttpClient(stripe.HTTPClient):
    """The SDK's interface to HTTP. The body of a success is kept from its JSON parser."""

    name = "billstack"

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[str, int, Mapping[str, str]]:
        answer = self._answer(method, url, headers or {}, post_data)
        if answer is None or answer.status < 300:
            return "{}", 200, answer.headers if answer else {}
        return answer.body.decode("utf-8", "replace"), answer.status, answer.headers

    def _answer(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> HttpAnswer | None:
        raise NotImplementedError

    def close(self) -> None:
        """Connections are the transport's."""


class _Given(_SdkHttpClient):
    """Sends nothing: gives an answer that is there already, and keeps the headers that the SDK would have sent."""

    def __init__(self, answer: HttpAnswer | None) -> None:
        super().__init__()
        self._given = answer
        self.headers: Mapping[str, str] = {}

    def _answer(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> HttpAnswer | None:
        self.headers = dict(headers)
        return self._given


class _Passing(_SdkHttpClient):
    """Sends one request, and keeps its answer."""

    def __init__(self, transport: Sender) -> None:
        super().__init__()
        self._transport = transport
        self.answer: HttpAnswer | None = None

    def _answer(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> HttpAnswer | None:
        self.answer = self._transport.send(method.upper(), url, headers, body)
        return self.answer
