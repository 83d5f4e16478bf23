"""A person's own password and sessions: change the password, reset it by link, list sessions and end them."""

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

blueprint = Blueprint("credentials", __name__, url_prefix="/api/auth", description="Your own password and sessions.")


class ChangedPassword(Body):
    currentPassword = Text(longest=1024, required=True)
    newPassword = Text(shortest=8, longest=1024, required=True)


class NewPassword(Body):
    token = Text(
        longest=200, required=True, metadata={"description": "the token of the link that an operator gave you"}
    )
    password = Text(shortest=8, longest=1024, required=True)


class SessionShown(Body):
    id = fields.String(required=True)
    createdAt = fields.DateTime(required=True)
    lastSeenAt = fields.DateTime(required=True)
    expiresAt = fields.DateTime(required=True)
    address = fields.String(required=True, allow_none=True)
    agent = fields.String(required=True, allow_none=True, metadata={"description": "the browser's user agent"})
    isCurrent = fields.Boolean(required=True)


class SessionsAnswer(Body):
    sessions = fields.List(fields.Nested(SessionShown), required=True)


@blueprint.endpoint(
    "POST",
    "/password",
    Access.SIGNED_IN,
    body=ChangedPassword,
    answers={204: "Changed; all other sessions have ended", 403: "The current password is wrong"},
)
def change_password(body: dict[str, str]) -> Response:
    """Change your password

    Ends every session and begins a new one for this browser. A wrong current password counts as a failed sign-in.
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
    answers={204: "Set; all sessions have ended", 404: "The link was used or has expired"},
)
def set_new_password(body: dict[str, str]) -> Response:
    """Set a new password with a link

    `flask --app api reset-link` prints the link on the server. Every session ends; sign in with the new password
    afterwards.
    """
    with current_context().pool.connection() as connection:
        if not Links(connection).is_good(NEW_PASSWORD, body["token"]):  # check before hashing, which is slow on purpose
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
    """List your sessions, the most recently used first"""
    with current_context().pool.connection() as connection:
        return {"sessions": [_shown(each) for each in list_sessions(People(connection), caller().id)]}


@blueprint.endpoint("DELETE", "/sessions/<session_id>", Access.SIGNED_IN, answers={204: "It is over"})
def end_one_session(session_id: str) -> Response:
    """Sign out one device"""
    with current_context().pool.connection() as connection:
        if not People(connection).end_session(caller().id, session_id):
            raise NotFound("you have no such session")
    return Response(status=204)


def gone() -> NotFound:
    return NotFound("this link was used or has expired: ask for a new one", code="link_not_found")


def _user_with(password: str) -> User:
    """The caller. Raises Forbidden if the password is not theirs."""
    with current_context().pool.connection() as connection:
        people = People(connection)
        user = people.get_user(caller().id)
        attempt = attempt_of(people.normal_email(user.email), user)
        Attempts(connection).count(attempt)
    if not is_right(attempt, password, user):
        raise Forbidden("the current password is wrong", code="wrong_credentials")
    return user


def _replace_password(people: People, links: Links, user_id: str, password_hash: str) -> None:
    """Ends all sessions that began with the old password, and voids the user's reset links."""
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
