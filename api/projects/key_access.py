"""Checks that an API key is valid and not used too fast. What it gives access to is decided in api/http/access.py."""

import contextlib
from dataclasses import dataclass
from math import ceil

from flask import Response, g, request

from api.http.context import current_context
from api.http.rate_limits import API_KEY_REQUESTS, Taken, take
from api.projects.key_store import OF_OWN_KEY, PREFIX, KeyStore, PresentedKey
from sync.database.server import NO_WRITES
from sync.errors import TooManyRequests, Unauthorized
from sync.teams.own_keys import OwnKeys, is_full
from workers.context import Context

# In the WSGI environment: what was found out about the key before Flask.
CHECKED_KEY = "billstack.checked_key"


@dataclass(frozen=True, slots=True)
class CheckedKey:
    """A valid key and where its limit stands, or why it is refused."""

    key: PresentedKey | None = None
    taken: Taken | None = None
    refusal: Exception | None = None


def check_key(context: Context, raw_key: str) -> CheckedKey:
    """Refused is an invalid key, and a valid one that is used too fast."""
    found = find_key(context, raw_key)
    return found if found.key is None else limited(found, take(context.redis, API_KEY_REQUESTS, found.key.id))


def find_key(context: Context, raw_key: str) -> CheckedKey:
    """Without its limit."""
    return _find_key(context, raw_key) if raw_key.startswith(PREFIX) else _find_own_key(context, raw_key)


def limited(found: CheckedKey, taken: Taken | None) -> CheckedKey:
    """`taken` is what the request took of the key's limit."""
    if found.key is None:
        return found
    if taken is not None and not taken.is_allowed:
        fast = "this API key is making too many requests: slow down"
        return CheckedKey(found.key, taken, TooManyRequests(fast, retry_after_s=taken.wait_s))
    return CheckedKey(found.key, taken)


def _find_key(context: Context, raw_key: str) -> CheckedKey:
    with context.pool.connection() as connection:
        store = KeyStore(connection)
        key = store.find(raw_key)
        if key is None:
            return _refused("this API key does not exist or was revoked: create a new one", "invalid_api_key")
        if key.is_expired:
            return _refused("this API key has expired: create a new one", "expired_api_key")
        if key.is_use_due:
            with contextlib.suppress(*NO_WRITES):  # reads go on
                store.note_use(key.id)
    return CheckedKey(key)


def _find_own_key(context: Context, raw_key: str) -> CheckedKey:
    """A key of Stripe's. It counts if a team lets it in."""
    if not is_full(raw_key):
        return _refused(
            "a restricted Stripe key is never let in, because it may see less than the mirror shows: send an API key of"
            " BillStack (bs_…)",
            "invalid_api_key",
        )
    with context.pool.connection() as connection:
        keys = OwnKeys(connection, context.box)
        own = keys.find(raw_key)
        if own is None:
            return _refused(
                "no team lets this Stripe key in: send an API key of BillStack (bs_…), or let the key of the team's"
                " connection in on its API keys page",
                "invalid_api_key",
            )
        if not own.key_valid:
            return _refused("Stripe refuses this key: connect the team with a valid one", "invalid_api_key")
        if own.is_use_due:
            with contextlib.suppress(*NO_WRITES):  # reads go on
                keys.note_use(own.team_id)
    name = f"stripe_key_of_{own.team_id}"  # stands for the key in logs and in its limit
    return CheckedKey(PresentedKey(name, own.team_id, None, OF_OWN_KEY, is_expired=False, is_use_due=False))


def _refused(sentence: str, code: str) -> CheckedKey:
    return CheckedKey(refusal=Unauthorized(sentence, code=code))


def authenticate_key(raw_key: str) -> PresentedKey:
    """Raises Unauthorized for an invalid key, and TooManyRequests for a valid one that is used too fast."""
    checked: CheckedKey = request.environ.get(CHECKED_KEY) or check_key(current_context(), raw_key)
    g.key_count = checked.taken
    if checked.refusal is not None:
        raise checked.refusal
    assert checked.key is not None
    return checked.key


def show_rate_limit(response: Response) -> Response:
    response.headers.update(limit_headers(g.get("key_count")))
    return response


def limit_headers(taken: Taken | None) -> dict[str, str]:
    """The state of the key's rate limit. No headers while Redis is unavailable."""
    if taken is None:
        return {}
    return {
        "RateLimit-Limit": str(taken.limit.most),
        "RateLimit-Remaining": str(taken.remaining),
        "RateLimit-Reset": str(ceil(taken.full_s)),
    }
