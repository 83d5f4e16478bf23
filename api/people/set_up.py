"""First-run set-up: the holder of the link that the server printed creates the first user and team, once."""

import threading
from typing import Any

import psycopg
import structlog
from flask import Response, jsonify
from marshmallow import fields

from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, NewEmail, Text
from api.people import People, Role
from api.people.audit import acts, note
from api.people.devices import remember_device
from api.people.links import SET_UP, Links
from api.people.passwords import hash_new_password
from api.people.sessions import begin_session, set_cookie
from sync.errors import Conflict, Forbidden
from workers.context import Context

blueprint = Blueprint("set_up", __name__, url_prefix="/api/auth", description="The first visit.")

# For a web process that starts before its database is set up.
_ASKED_AGAIN_S = 5.0

log = structlog.get_logger()


class FirstUser(Body):
    email = NewEmail(required=True)
    password = Text(shortest=8, longest=1024, required=True)
    team = Text(longest=100, required=True)
    token = Text(
        longest=200, load_default="", metadata={"description": "the token of the set-up link that the server printed"}
    )


class SetUpAnswer(Body):
    userId = fields.String(required=True)
    teamId = fields.String(required=True)


@blueprint.endpoint(
    "POST",
    "/set-up",
    Access.ANYONE,
    body=FirstUser,
    answers={201: SetUpAnswer, 403: "No valid set-up link", 409: "A user exists already"},
)
def set_up(body: dict[str, str]) -> tuple[Response, int]:
    """Create the first user, who is an operator and owns the first team, and begin their session

    Works only while no user exists, and only with the token of a set-up link. The web prints a link in its log at
    start; `flask --app api set-up-link` prints another. If several people try at once, one succeeds.
    """
    with current_context().pool.connection() as connection:
        people, links = People(connection), Links(connection)
        _refuse_second(people)  # check before hashing, which is slow on purpose
        if not links.is_good(SET_UP, body["token"]):
            raise _no_link()
        password_hash = hash_new_password(body["password"], email=body["email"])
        with connection.transaction():
            people.lock_people()
            _refuse_second(people)
            if links.take(SET_UP, body["token"]) is None:
                raise _no_link()
            links.delete_others(SET_UP)
            made = _create(people, body, password_hash)
            token = begin_session(people, made["userId"])
        user = people.get_user(made["userId"])
    acts(user, made["teamId"])
    note(made["userId"], team=body["team"])
    response = jsonify(made)
    set_cookie(response, token)
    remember_device(response, user)
    return response, 201


def new_set_up_link(connection: psycopg.Connection, public_url: str) -> str | None:
    """A link that works once; None if a user exists."""
    if People(connection).has_users():
        return None
    return SET_UP.address(public_url, Links(connection).create(SET_UP))


def print_link(context: Context, gives_up: threading.Event) -> None:
    """Logs the link as soon as the database can tell whether one is needed."""
    while not gives_up.is_set():
        try:
            with context.pool.connection() as connection:
                address = new_set_up_link(connection, context.settings.public_url)
        except psycopg.Error:
            gives_up.wait(_ASKED_AGAIN_S)
            continue
        if address is not None:
            # A warning, so that it shows at every LOG_LEVEL except ERROR.
            log.warning(
                "set_up.waits", open=address, note="there is no user yet: this link creates the first one, once"
            )
        return


def _create(people: People, body: dict[str, str], password_hash: str) -> dict[str, Any]:
    user_id = people.create_user(body["email"], password_hash)
    people.set_operator(user_id, is_operator=True)
    team_id = people.create_team(body["team"])
    people.add_member(team_id, user_id, Role.OWNER)
    return {"userId": user_id, "teamId": team_id}


def _refuse_second(people: People) -> None:
    if people.has_users():
        raise Conflict("BillStack is set up already: sign in instead", code="already_set_up")


def _no_link() -> Forbidden:
    return Forbidden(
        "open the set-up link: the web's log has it, and `flask --app api set-up-link` prints a new one",
        code="set_up_link_required",
    )
