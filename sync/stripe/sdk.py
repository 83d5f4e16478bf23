"""The parts of the Stripe SDK that we use: it writes the headers (key, version) and encodes POST bodies.

Everything else that it does would cost more than the rest of a page's work. So reads are sent with headers that it
wrote once, and no answer passes through it: sync/stripe/answers.py also reads refusals.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Protocol

import pycurl
import stripe

from sync.errors import StripeRejected
from sync.stripe.curl import HttpAnswer, RequestOutcome
from sync.stripe.transport import Transport

API_VERSION = "2026-10-28.endive"  # the version of stripe-python 16.1's types and of our tables
# The tables' columns read the shapes from here on.
OLDEST_API_VERSION = "2017-01-27"


class ConcurrentSender(Protocol):
    """The requests of a thread that has many in flight."""

    def get(self, url: str, headers: Mapping[str, str], then: Callable[[RequestOutcome], None]) -> None: ...
    def wait(self, timeout_s: float) -> None: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


class Sender(Protocol):
    """sync/stripe/transport.py, or its replacement in a test."""

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: str | bytes | None = None
    ) -> HttpAnswer: ...
    def concurrent_requests(self) -> ConcurrentSender: ...


class Sdk:
    """One key. Thread-safe."""

    def __init__(self, *, secret_key: str, api_base: str, transport: Sender, api_version: str = API_VERSION) -> None:
        self._api_version = api_version
        self._secret_key = secret_key
        self._api_base = api_base
        self._transport = transport

    def write(self, method: str, path: str, params: Mapping[str, Any]) -> HttpAnswer:
        """Sends a `post` or `delete`.

        The parameters may include `idempotency_key`. Returns the answer, whatever its status.
        """
        sending = _Sending(self._transport)
        try:
            self._request(sending, method, path, params)
        except stripe.StripeError as exc:  # before it sent anything
            raise StripeRejected(exc.user_message or str(exc)) from exc
        assert sending.answer is not None
        return sending.answer

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """Of a read. The SDK needs as long to write them as a job needs for a small team's events without a read."""
        recording = _Recording()
        self._request(recording, "get", "/v1/account", {})
        return recording.headers

    def _request(self, http: stripe.HTTPClient, method: str, path: str, params: Mapping[str, Any]) -> None:
        client = stripe.StripeClient(
            self._secret_key,
            base_addresses={"api": self._api_base},
            max_network_retries=0,  # sync/stripe/caller.py is the only layer that retries
            stripe_version=self._api_version,
            http_client=http,
        )
        client.raw_request(method, path, **params)


def preload() -> None:
    """Loads modules that the SDK and libcurl load on first use, so that forked children need not."""
    _ = Sdk(secret_key="sk_test_none", api_base="https://stripe.invalid", transport=Transport()).headers
    pycurl.Curl().close()


class _SdkHttpClient(stripe.HTTPClient):
    """The SDK's HTTP interface. Every request looks successful to the SDK, with an empty body."""

    name = "billstack"

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[str, int, Mapping[str, str]]:
        self._send(method, url, headers or {}, post_data)
        return "{}", 200, {}

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Does nothing: the transport owns the connections."""


class _Recording(_SdkHttpClient):
    """Sends nothing, and keeps the headers that the SDK would have sent."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: Mapping[str, str] = {}

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> None:
        self.headers = dict(headers)


class _Sending(_SdkHttpClient):
    """Sends one request and keeps its answer."""

    def __init__(self, transport: Sender) -> None:
        super().__init__()
        self._transport = transport
        self.answer: HttpAnswer | None = None

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> None:
        self.answer = self._transport.send(method.upper(), url, headers, body)
