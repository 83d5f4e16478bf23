"""Sign-in, sign-out and the current session."""

from typing import Any

import structlog
from flask import Response, jsonify, request
from marshmallow import fields

from api.http.access import Access, caller
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Email, Text
from api.http.times import iso
from api.people import Caller, People, User
from api.people.attempts import Attempt, Attempts
from api.people.audit import acts
from api.people.devices import known_device, remember_device
from api.people.passwords import is_password
from api.people.sessions import begin_session, clear_cookie, end_session, set_cookie
from sync.errors import Unauthorized

blueprint = Blueprint("auth", __name__, url_prefix="/api/auth", description="Sign in to the dashboard.")

log = structlog.get_logger()


class SignIn(Body):
    email = Email(required=True)
    # Long enough for any passphrase, and short enough that hashing it does not keep argon2 busy.
    password = Text(longest=1024, required=True)


class UserAnswer(Body):
    id = fields.String()
    email = fields.String()
    createdAt = fields.DateTime()


class TeamAnswer(Body):
    id = fields.String()
    name = fields.String()
    role = fields.String()


class SessionAnswer(Body):
    user = fields.Nested(UserAnswer)
    teams = fields.List(fields.Nested(TeamAnswer))


@blueprint.endpoint("POST", "/sign-in", Access.ANYONE, body=SignIn, answers={200: SessionAnswer})
def sign_in(body: dict[str, str]) -> Response:
    """Begin a session, in a cookie

    The cookie `billstack_session` (`__Host-billstack_session` under https) lasts 30 days. Use extends it, to 90 days at
    most. After ten failures from one address within five minutes, that address gets 429 for the account; after a
    hundred, for every account. A device that has signed in to the account before has ten attempts of its own.
    """
    with current_context().pool.connection() as connection:
        people = People(connection)
        user = people.find_user(body["email"])
        attempt = attempt_of(people.normal_email(body["email"]), user)
        Attempts(connection).count(attempt)  # before the check: attempts at once must not all see a low count
    if not is_right(attempt, body["password"], user) or user is None:
        log.info("sign_in.failed", user=user.id if user else None, address=attempt.address)
        raise Unauthorized("the e-mail address or the password is wrong", code="wrong_credentials")
    with current_context().pool.connection() as connection:
        people = People(connection)
        end_session(people)
        token = begin_session(people, user.id)
        response = jsonify(_session_answer(people, user))
    acts(user)
    set_cookie(response, token)
    remember_device(response, user)
    return response


def is_right(attempt: Attempt, password: str, user: User | None) -> bool:
    """Whether the password is the user's. A wrong one stays counted; one that was never checked does not."""
    is_wrong = False
    try:
        is_wrong = not is_password(password, user.password_hash if user else None)
    finally:
        if not is_wrong:
            with current_context().pool.connection() as connection:
                Attempts(connection).forgive(attempt)
    return not is_wrong


def attempt_of(account: str, user: User | None) -> Attempt:
    return Attempt(account, str(request.remote_addr), known_device(user))


@blueprint.endpoint("POST", "/sign-out", Access.ANYONE, answers={204: "Signed out, or there was no session"})
def sign_out() -> Response:
    """Revoke the session"""
    with current_context().pool.connection() as connection:
        end_session(People(connection))
    response = Response(status=204)
    clear_cookie(response)
    return response


@blueprint.endpoint("POST", "/sign-out-everywhere", Access.SIGNED_IN, answers={204: "Signed out"})
def sign_out_everywhere() -> Response:
    """Revoke all sessions of this user, on every device"""
    with current_context().pool.connection() as connection:
        People(connection).delete_sessions_of_user(caller().id)
    response = Response(status=204)
    clear_cookie(response)
    return response


@blueprint.endpoint("GET", "/session", Access.SIGNED_IN, answers={200: SessionAnswer})
def show_session() -> dict[str, Any]:
    """Who is signed in, and their teams"""
    with current_context().pool.connection() as connection:
        return _session_answer(People(connection), caller())


def _session_answer(people: People, user: User | Caller) -> dict[str, Any]:
    teams = people.list_teams(user.id)
    return {
        "user": {"id": user.id, "email": user.email, "createdAt": iso(user.created_at)},
        "teams": [{"id": team.id, "name": team.name, "role": team.role} for team in teams],
    }
