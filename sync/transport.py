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
        self._pool = urllib3.PoolManager(
            maxsize=max_connections,
            retries=False,
            timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=read_timeout_s),
        )

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[str, int, AnswerHeaders]:
        try:
            answer = self._pool.request(
                method.upper(), url, headers={**(headers or {}), "Accept-Encoding": "gzip"}, body=post_data
            )
        except urllib3.exceptions.HTTPError as exc:
            raise stripe.APIConnectionError(f"no answer from Stripe: {_reason(exc)}") from exc  # type: ignore[no-untyped-call]
        answer_headers = AnswerHeaders(answer.headers)
        if answer.status >= 300:
            return answer.data.decode("utf-8", "replace"), answer.status, answer_headers
        answer_headers.body = answer.data
        return _PARSED_ELSEWHERE, answer.status, answer_headers

    def close(self) -> None:
        self._pool.clear()


def _reason(exc: urllib3.exceptions.HTTPError) -> str:
    """The kind of failure without the URL, which urllib3 puts into its messages."""
    cause = exc.__cause__ or exc.__context__
    return type(cause or exc).__name__
