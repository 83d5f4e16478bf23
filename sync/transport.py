"""Moves bytes between the Stripe SDK and Stripe.

The SDK builds the request (authentication, version, encoding) and judges the answer (errors); a successful body is
handed past it unparsed, for turning a page of 100 objects into Python objects costs more than everything else we do
with it.
"""

from collections.abc import Mapping
from typing import Any

import stripe
import urllib3

_CONNECT_TIMEOUT_S = 10.0
# Heavy pages take seconds; the SDK's own default is 80.
READ_TIMEOUT_S = 60.0
_PARSED_ELSEWHERE = "{}"


class AnswerHeaders(urllib3.HTTPHeaderDict):
    """The headers of an answer, which carry its body past the SDK's JSON parser."""

    body: bytes = b""


class Transport(stripe.HTTPClient):
    """The SDK's HTTP client interface on urllib3. Thread-safe; connections are kept and shared."""

    name = "urllib3"

    def __init__(self, *, max_connections: int, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        super().__init__()
        self._max_connections = max_connections
        self._timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=read_timeout_s)
        self._pools: dict[str, urllib3.HTTPConnectionPool] = {}

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[str, int, AnswerHeaders]:
        try:
            answer = self._pool_of(url).urlopen(
                method.upper(),
                url[url.index("/", len("https://")) :],
                headers={**(headers or {}), "Accept-Encoding": "gzip"},
                body=post_data,
            )
        except urllib3.exceptions.HTTPError as exc:
            raise stripe.APIConnectionError(f"no answer from Stripe: {_reason(exc)}") from exc  # type: ignore[no-untyped-call]
        answer_headers = AnswerHeaders(answer.headers)
        if answer.status >= 300:
            return answer.data.decode("utf-8", "replace"), answer.status, answer_headers
        answer_headers.body = answer.data
        return _PARSED_ELSEWHERE, answer.status, answer_headers

    def _pool_of(self, url: str) -> urllib3.HTTPConnectionPool:
        """One a host, found without urllib3's own parsing of every URL, which costs a third of a page."""
        host = url[: url.index("/", len("https://"))]
        if host not in self._pools:
            pool = urllib3.connection_from_url(
                host, maxsize=self._max_connections, retries=False, timeout=self._timeout, block=False
            )
            self._pools.setdefault(host, pool)
        return self._pools[host]

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()


def _reason(exc: urllib3.exceptions.HTTPError) -> str:
    """The kind of failure without the URL, which urllib3 puts into its messages."""
    cause = exc.__cause__ or exc.__context__
    return type(cause or exc).__name__
