"""Checks that an API key is valid and not used too fast. What it gives access to is decided in api/http/access.py."""

import contextlib
from math import ceil

from flask import Response, g

from api.http.context import current_context
from api.http.rate_limits import API_KEY_REQUESTS, Taken, take
from api.projects.key_store import KeyStore, PresentedKey
from sync.database.server import NO_WRITES
from sync.errors import TooManyRequests, Unauthorized


def authenticate_key(raw_key: str) -> PresentedKey:
    """Raises Unauthorized for an invalid key, and TooManyRequests for a valid one that is used too fast."""
    context = current_context()
    with context.pool.connection() as connection:
        store = KeyStore(connection)
        key = store.find(raw_key)
        if key is None:
            raise Unauthorized("this API key does not exist or was revoked: create a new one", code="invalid_api_key")
        if key.is_expired:
            raise Unauthorized("this API key has expired: create a new one", code="expired_api_key")
        if key.is_use_due:
            with contextlib.suppress(*NO_WRITES):  # reads go on
                store.note_use(key.id)
    g.key_count = taken = take(context.redis, API_KEY_REQUESTS, key.id)
    if taken is not None and not taken.is_allowed:
        raise TooManyRequests("this API key is making too many requests: slow down", retry_after_s=taken.wait_s)
    return key


def show_rate_limit(response: Response) -> Response:
    """Puts the state of the key's rate limit into headers. No headers while Redis is unavailable."""
    count: Taken | None = g.get("key_count")
    if count is not None:
        response.headers["RateLimit-Limit"] = str(count.limit.most)
        response.headers["RateLimit-Remaining"] = str(count.remaining)
        response.headers["RateLimit-Reset"] = str(ceil(count.full_s))
    return response
