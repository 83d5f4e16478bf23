"""One's own password and sessions: change it, set a new one by a link, see where one is signed in, end it there."""

from typing import Any

from flask import Response
from marshmallow import fields

from api.http.access import Access, caller
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Text
from api.http.times import iso
from api.people import People, Session, User
from api.people.attempts import Attempts
from api.people.audit import acts
from api.people.auth import attempt_of, is_right
from api.people.devices import remember_device
from api.people.links import NEW_PASSWORD, Links
from api.people.passwords import hash_new_password
from api.people.sessions import begin_session, clear_cookie, list_sessions, set_cookie
from sync.errors import Forbidden, NotFound

blueprint = Blueprint("credentials", __name__, url_prefix="/api/auth", description="One's own password and sessions.")


class ChangedPassword(Body):
    currentPassword = Text(longest=1024, required=True)
    newPassword = Text(shortest=8, longest=1024, required=True)


class NewPassword(Body):
    token = Text(longest=200, required=True, metadata={"description": "of the link that an operator gave"})
    password = Text(shortest=8, longest=1024, required=True)


class SessionShown(Body):
    id = fields.String(required=True)
    createdAt = fields.DateTime(required=True)
    lastSeenAt = fields.DateTime(required=True)
    expiresAt = fields.DateTime(required=True)
    address = fields.String(required=True, allow_none=True)
    agent = fields.String(required=True, allow_none=True, metadata={"description": "what the browser says it is"})
    isCurrent = fields.Boolean(required=True)


class SessionsAnswer(Body):
    sessions = fields.List(fields.Nested(SessionShown), required=True)


@blueprint.endpoint(
    "POST",
    "/password",
    Access.SIGNED_IN,
    body=ChangedPassword,
    answers={204: "Changed; all other sessions are over", 403: "The current password is another"},
)
def change_password(body: dict[str, str]) -> Response:
    """Change one's password

    Ends every session, and begins a new one for this browser. Wrong current passwords count like failures to sign in.
    """
    user = _user_with(body["currentPassword"])
    password_hash = hash_new_password(body["newPassword"], email=user.email, field="newPassword")
    with current_context().pool.connection() as connection, connection.transaction():
        people = People(connection)
        _replace_password(people, Links(connection), user.id, password_hash)
        token = begin_session(people, user.id)
        changed = people.get_user(user.id)
    response = Response(status=204)
    set_cookie(response, token)
    remember_device(response, changed)
    return response


@blueprint.endpoint(
    "POST",
    "/new-password",
    Access.ANYONE,
    body=NewPassword,
    answers={204: "Set; all sessions are over", 404: "The link was used or has expired"},
)
def set_new_password(body: dict[str, str]) -> Response:
    """Set a new password by a link

    `flask --app api reset-link` prints one on the server. Ends every session; sign in with the new password then.
    """
    with current_context().pool.connection() as connection:
        if not Links(connection).is_good(NEW_PASSWORD, body["token"]):  # before the hash, which is made to be slow
            raise gone()
        with connection.transaction():
            links, people = Links(connection), People(connection)
            taken = links.take(NEW_PASSWORD, body["token"])
            if taken is None or taken[0] is None:
                raise gone()
            user = people.get_user(taken[0])
            _replace_password(people, links, user.id, hash_new_password(body["password"], email=user.email))
    acts(user)
    response = Response(status=204)
    clear_cookie(response)
    return response


@blueprint.endpoint("GET", "/sessions", Access.SIGNED_IN, answers={200: SessionsAnswer})
def show_sessions() -> dict[str, Any]:
    """Where one is signed in, the one used last first"""
    with current_context().pool.connection() as connection:
        return {"sessions": [_shown(each) for each in list_sessions(People(connection), caller().id)]}


@blueprint.endpoint("DELETE", "/sessions/<session_id>", Access.SIGNED_IN, answers={204: "It is over"})
def end_one_session(session_id: str) -> Response:
    """Sign out on one device"""
    with current_context().pool.connection() as connection:
        if not People(connection).end_session(caller().id, session_id):
            raise NotFound("you have no such session")
    return Response(status=204)


def gone() -> NotFound:
    return NotFound("this link was used or has expired: ask for another one", code="link_not_found")


def _user_with(password: str) -> User:
    """The caller. Raises Forbidden where it is not their password."""
    with current_context().pool.connection() as connection:
        people = People(connection)
        user = people.get_user(caller().id)
        attempt = attempt_of(people.normal_email(user.email), user)
        Attempts(connection).count(attempt)
    if not is_right(attempt, password, user):
        raise Forbidden("the current password is another one", code="wrong_credentials")
    return user


def _replace_password(people: People, links: Links, user_id: str, password_hash: str) -> None:
    """Whoever had the old one is out everywhere, and links to a new one are void."""
    people.set_password(user_id, password_hash)
    people.delete_sessions_of_user(user_id)
    links.delete_others(NEW_PASSWORD, user_id)


def _shown(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "createdAt": iso(session.created_at),
        "lastSeenAt": iso(session.last_seen_at),
        "expiresAt": iso(session.expires_at),
        "address": session.address,
        "agent": session.agent,
        "isCurrent": session.is_current,
    }
