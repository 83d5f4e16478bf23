"""The first visit: makes the first user and their team, once."""

from typing import Any

from flask import Response, jsonify
from marshmallow import fields

from api.access import Access
from api.context import current_context
from api.endpoints import Blueprint
from api.fields import Body, Email, Text
from api.people import People, Role
from api.people.passwords import hash_password
from api.people.sessions import begin_session, set_cookie
from sync.errors import Conflict

blueprint = Blueprint("set_up", __name__, url_prefix="/api/auth", description="The first visit.")


class FirstUser(Body):
    email = Email(required=True)
    password = Text(shortest=8, longest=1024, required=True)
    team = Text(longest=100, required=True)


class SetUpAnswer(Body):
    userId = fields.String(required=True)
    teamId = fields.String(required=True)


@blueprint.endpoint(
    "POST", "/set-up", Access.ANYONE, body=FirstUser, answers={201: SetUpAnswer, 409: "Somebody has a user already"}
)
def set_up(body: dict[str, str]) -> tuple[Response, int]:
    """Create the first user, who owns the first team, and begin their session

    Only while there is no user at all: of several who try at once, one succeeds.
    """
    with current_context().pool.connection() as connection:
        people = People(connection)
        _refuse_second(people)  # before the hash, which is made to be slow
        password_hash = hash_password(body["password"])
        with connection.transaction():
            people.lock_people()
            _refuse_second(people)
            made = _create(people, body, password_hash)
            token = begin_session(people, made["userId"])
    response = jsonify(made)
    set_cookie(response, token)
    return response, 201


def _create(people: People, body: dict[str, str], password_hash: str) -> dict[str, Any]:
    user_id = people.create_user(body["email"], password_hash)
    team_id = people.create_team(body["team"])
    people.add_member(team_id, user_id, Role.OWNER)
    return {"userId": user_id, "teamId": team_id}


def _refuse_second(people: People) -> None:
    if people.has_users():
        raise Conflict("BillStack is set up already: sign in instead", code="already_set_up")
