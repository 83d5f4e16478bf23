"""Dashboard sessions. The cookie is random; Postgres stores its SHA-256, so each session can be revoked."""

import contextlib
from datetime import timedelta

from flask import Response, g, request

from api.http.context import current_context
from api.operate.rq_view import presented_session
from api.people import cookies
from api.people.links import new_token, sha256
from api.people.store import Caller, People, Place, Session
from sync.database.server import NO_WRITES

COOKIE = "billstack_session"
LIFETIME = timedelta(days=30)
# The limit however much a session is used, so that a copied cookie ends too.
LONGEST = timedelta(days=90)
# Extending by the minute is enough, and saves a write on every request.
EXTEND_AFTER = timedelta(minutes=1)
_LONGEST_AGENT = 300


def begin_session(people: People, user_id: str) -> str:
    """Begins a session and returns the value of its cookie."""
    token = new_token()
    people.delete_expired_sessions(user_id)
    people.create_session(sha256(token), user_id=user_id, lifetime=LIFETIME, place=_place())
    return token


def session_sha256() -> bytes | None:
    """The hash of this request's session cookie. The session itself is not looked up."""
    token = presented_token()
    return sha256(token) if token else None


def end_session(people: People) -> None:
    """Ends the session that this request carries, if any."""
    token = presented_token()
    if token:
        people.delete_session(sha256(token))


def resume_session(people: People, team_id: str | None) -> Caller | None:
    """The holder of this request's session. Extends the session if it is due (`is_stale`)."""
    hashed = presented_session(current_context().settings.secret_keys) or session_sha256()
    if not hashed:
        return None
    caller = people.find_caller(hashed, team_id=team_id, extend_after=EXTEND_AFTER, longest=LONGEST)
    if caller is not None and caller.is_stale:
        with contextlib.suppress(*NO_WRITES):  # reads go on
            people.extend_session(hashed, lifetime=LIFETIME, longest=LONGEST, place=_place())
    return caller


def list_sessions(people: People, user_id: str) -> list[Session]:
    return people.list_sessions(user_id, sha256(presented_token() or ""), longest=LONGEST)


def presented_token() -> str | None:
    return cookies.read_cookie(COOKIE)


def set_cookie(response: Response, token: str) -> None:
    g.session_is_answered = True
    cookies.set_cookie(response, COOKIE, token, lifetime=LIFETIME)


def clear_cookie(response: Response) -> None:
    g.session_is_answered = True
    cookies.delete_cookie(response, COOKIE)


def slide_cookie(response: Response) -> None:
    """Extends the browser's cookie along with the session, unless this answer already sets or deletes it."""
    token = presented_token()
    if token and not g.get("session_is_answered"):
        set_cookie(response, token)


def _place() -> Place:
    agent = request.headers.get("User-Agent", "").replace("\0", "")[:_LONGEST_AGENT]
    return Place(str(request.remote_addr), agent.encode(errors="replace").decode())
