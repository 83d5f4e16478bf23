"""Dashboard sessions: a random cookie whose SHA-256 is in Postgres, so that each one can be revoked there."""

import hashlib
import secrets
from datetime import timedelta

from flask import Response, request

from api.context import current_context
from api.people import Caller, People

COOKIE = "billstack_session"
LIFETIME = timedelta(days=30)
# Sliding to the minute is enough, and spares a write on every request.
EXTEND_AFTER = timedelta(minutes=1)


def begin_session(people: People, user_id: str) -> str:
    """A new session's cookie value."""
    token = secrets.token_urlsafe(32)
    people.delete_expired_sessions(user_id)
    people.create_session(_sha256(token), user_id=user_id, lifetime=LIFETIME)
    return token


def end_session(people: People) -> None:
    """Forgets the session that this request carries, if any."""
    token = request.cookies.get(COOKIE)
    if token:
        people.delete_session(_sha256(token))


def resume_session(people: People, team_id: str | None) -> Caller | None:
    """Who holds the session that this request carries; extends it when that is due (`is_stale`)."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    caller = people.find_caller(_sha256(token), team_id=team_id, extend_after=EXTEND_AFTER)
    if caller is not None and caller.is_stale:
        people.extend_session(_sha256(token), lifetime=LIFETIME)
    return caller


def set_cookie(response: Response, token: str) -> None:
    response.set_cookie(COOKIE, token, max_age=LIFETIME, secure=_is_https(), httponly=True, samesite="Lax")


def set_plain_cookie(response: Response, name: str, value: str) -> None:
    """One that is no credential, kept as long as browsers allow."""
    response.set_cookie(name, value, max_age=timedelta(days=400), secure=_is_https(), httponly=True, samesite="Lax")


def clear_cookie(response: Response) -> None:
    response.delete_cookie(COOKIE, secure=_is_https(), httponly=True, samesite="Lax")


def _is_https() -> bool:
    return current_context().settings.public_url.startswith("https://")


def _sha256(token: str) -> bytes:
    # A cookie may hold any bytes; what is not text of ours matches no session.
    return hashlib.sha256(token.encode(errors="replace")).digest()
