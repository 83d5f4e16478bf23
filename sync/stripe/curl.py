"""One HTTP request with libcurl, at a quarter of urllib3's cost.

Answers are returned unchanged, whatever their status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pycurl
import stripe

from sync.errors import StripeUnavailable

_CONNECT_TIMEOUT_S = 10
# Without receiving a byte. Heavy pages take seconds; the SDK's default is 80.
READ_TIMEOUT_S = 60
# For a whole answer that arrives slowly.
_WHOLE_TIMEOUT_S = 300
# A page has some 300 KB. Each piece is handed to Python separately.
_PIECE_BYTES = 128 * 1024
_REASONS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "its name could not be resolved",
    pycurl.E_COULDNT_CONNECT: "the connection was refused",
    pycurl.E_OPERATION_TIMEDOUT: "it took too long",
    pycurl.E_PARTIAL_FILE: "the answer was cut short",
    pycurl.E_GOT_NOTHING: "the connection was closed",
    pycurl.E_RECV_ERROR: "the connection was lost",
    pycurl.E_SEND_ERROR: "the connection was lost",
    pycurl.E_PEER_FAILED_VERIFICATION: "its certificate is not trusted",
}


class Headers(dict[str, str]):
    """By lower-case name. Looked up in any case, because a proxy may change it."""

    def __init__(self, pairs: Mapping[str, str] | None = None) -> None:
        super().__init__({name.lower(): value for name, value in (pairs or {}).items()})

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    headers: Headers
    body: bytes


RequestOutcome = HttpAnswer | StripeUnavailable


class Request:
    """A reusable libcurl handle, and the answer that arrives on it."""

    def __init__(self, read_timeout_s: int) -> None:
        self._pieces: list[bytes] = []
        self._lines: list[bytes] = []
        self._headers: Mapping[str, str] | None = None
        handle = self.handle = pycurl.Curl()
        handle.setopt(pycurl.NOSIGNAL, 1)  # signals belong to the process, which has many threads
        handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        handle.setopt(pycurl.ACCEPT_ENCODING, "gzip")
        handle.setopt(pycurl.PATH_AS_IS, 1)  # an id may be `..`
        handle.setopt(pycurl.CAINFO, stripe.ca_bundle_path)
        handle.setopt(pycurl.CONNECTTIMEOUT, _CONNECT_TIMEOUT_S)
        handle.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        handle.setopt(pycurl.LOW_SPEED_TIME, read_timeout_s)
        handle.setopt(pycurl.TIMEOUT, _WHOLE_TIMEOUT_S)
        handle.setopt(pycurl.BUFFERSIZE, _PIECE_BYTES)
        handle.setopt(pycurl.WRITEFUNCTION, self._pieces.append)
        handle.setopt(pycurl.HEADERFUNCTION, self._lines.append)

    def prepare(self, method: str, url: str, headers: Mapping[str, str], body: str | bytes | None = None) -> None:
        handle = self.handle
        handle.setopt(pycurl.URL, url)
        # An http:// address is a sandbox on this machine. A proxy from the environment must not come in between.
        handle.setopt(pycurl.PROXY, "" if url.startswith("http://") else None)
        handle.setopt(pycurl.CUSTOMREQUEST, method)
        handle.setopt(pycurl.POST, body is not None)
        if body is not None:
            handle.setopt(pycurl.POSTFIELDS, body)
        if headers is not self._headers:
            # `Expect:` sends no header. It is here because with an empty list the last request's headers would stay.
            handle.setopt(pycurl.HTTPHEADER, ["Expect:", *(f"{name}: {value}" for name, value in headers.items())])
            self._headers = headers

    def take_answer(self) -> HttpAnswer:
        answer = HttpAnswer(self.handle.getinfo(pycurl.RESPONSE_CODE), _headers(self._lines), b"".join(self._pieces))
        self._pieces.clear()
        self._lines.clear()
        return answer


def unavailable(number: int, words: str) -> StripeUnavailable:
    return StripeUnavailable(f"no answer from Stripe: {_REASONS.get(number, words)}")


def _headers(lines: list[bytes]) -> Headers:
    """The headers of the last answer. An interim one (100, or a proxy's) may come before it."""
    found: Headers = Headers()
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            dict.__setitem__(found, name.decode("latin-1").lower(), value.strip().decode("latin-1"))
        elif line.startswith(b"HTTP/"):
            found = Headers()
    return found
