"""Tickets that let a page of /rq read its data. The page is sandboxed, so it has no cookie.

A ticket names the session that opened the page. It is valid only for the data of /rq, and ends after an hour. Each use
looks the session up, so signing out or losing the operator role ends the ticket at once.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Iterable

from flask import request

HEADER = "X-Rq-View"
LIFETIME_S = 3600
# The only views that accept a ticket.
_VIEWS = {f"rq_dashboard.{name}" for name in ("list_queues", "list_jobs", "job_info", "list_workers")}
_HASH_BYTES = 32
_TIME_BYTES = 8


def make_ticket(session_sha256: bytes, secret_keys: Iterable[bytes], now: float | None = None) -> str:
    """A ticket for the session with this hash, signed with the first key."""
    ends = int((time.time() if now is None else now) + LIFETIME_S).to_bytes(_TIME_BYTES, "big")
    body = session_sha256 + ends
    return base64.urlsafe_b64encode(body + _sign(body, next(iter(secret_keys)))).decode()


def read_ticket(ticket: str, secret_keys: Iterable[bytes], now: float | None = None) -> bytes | None:
    """The hash of the ticket's session. None if the ticket is not ours or has expired."""
    try:
        raw = base64.urlsafe_b64decode(ticket.encode())
    except (binascii.Error, ValueError):
        return None
    body, signature = raw[: _HASH_BYTES + _TIME_BYTES], raw[_HASH_BYTES + _TIME_BYTES :]
    if not any(hmac.compare_digest(_sign(body, key), signature) for key in secret_keys):
        return None
    ends = int.from_bytes(body[_HASH_BYTES:], "big")
    return body[:_HASH_BYTES] if (time.time() if now is None else now) < ends else None


def is_data() -> bool:
    """Whether this request may use a ticket."""
    return request.endpoint in _VIEWS


def is_preflight() -> bool:
    """A browser's question whether the sandbox may send the ticket. The answer tells nothing about our data."""
    return request.method == "OPTIONS" and is_data()


def presented_session(secret_keys: Iterable[bytes]) -> bytes | None:
    """The session of this request's ticket."""
    return read_ticket(request.headers.get(HEADER, ""), secret_keys) if is_data() else None


def _sign(body: bytes, key: bytes) -> bytes:
    own_key = hmac.digest(key, b"billstack rq view", hashlib.sha256)
    return hmac.digest(own_key, body, hashlib.sha256)
