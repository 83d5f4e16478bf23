"""Known devices: a cookie says that somebody who had the account's password signed in there before.

The cookie is no credential. It only gives failed attempts there a count of their own (api/people/attempts.py). A new
password makes the account forget all its devices.
"""

import hashlib
import hmac
import secrets

from flask import Response

from api.http.context import current_context
from api.people.cookies import read_cookie, set_cookie
from api.people.store import User

_COOKIE = "billstack_device"
_PURPOSE = b"billstack device"


def known_device(user: User | None) -> str | None:
    """The device that this request comes from, if the account knows it."""
    device, _, seal = (read_cookie(_COOKIE) or "").partition(".")
    if user is None or not device:
        return None
    keys = current_context().settings.secret_keys
    is_ours = any(hmac.compare_digest(_seal(key, user, device).encode(), seal.encode(errors="replace")) for key in keys)
    return device if is_ours else None


def remember_device(response: Response, user: User) -> None:
    if known_device(user) is None:
        device = secrets.token_hex(16)
        seal = _seal(current_context().settings.secret_keys[0], user, device)
        set_cookie(response, _COOKIE, f"{device}.{seal}")


def _seal(key: bytes, user: User, device: str) -> str:
    derived = hmac.digest(key, _PURPOSE, hashlib.sha256)
    return hmac.new(derived, f"{user.id} {device} {user.password_hash}".encode(errors="replace"), "sha256").hexdigest()
