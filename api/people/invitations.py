"""Invitations: an owner invites a person to the team. Only that person, with the link, can accept."""

from datetime import timedelta
from typing import Any

from flask import Response, jsonify
from marshmallow import fields

from api.http.access import Access, current_caller
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Choice, NewEmail, Text
from api.http.times import iso
from api.people import Caller, People, Role, User
from api.people.audit import acts, note
from api.people.devices import remember_device
from api.people.invitation_store import FoundInvitation, Invitation, Invitations
from api.people.links import new_token
from api.people.passwords import hash_new_password
from api.people.sessions import begin_session, set_cookie
from sync.errors import Conflict, Forbidden, NotFound, Unauthorized

blueprint = Blueprint("invitations", __name__, description="Invite people to a team, and accept an invitation.")

LIFETIME = timedelta(days=7)
# More than any team needs at once. It stops a faulty program, and an owner who guesses addresses.
_MOST_OPEN = 100
_ROLES = tuple(role.value for role in Role)
_MEMBERS = "/api/billstack/teams/<team_id>/members"


class NewMember(Body):
    email = NewEmail(required=True, metadata={"description": "the person to invite, with or without an account here"})
    role = Choice(_ROLES, required=True)


class InvitationShown(Body):
    id = fields.String(required=True)
    email = fields.String(required=True)
    role = fields.String(required=True)
    createdAt = fields.DateTime(required=True)
    expiresAt = fields.DateTime(required=True)


class InvitationAnswer(Body):
    invitation = fields.Nested(InvitationShown, required=True)
    link = fields.String(required=True, metadata={"description": "shown only here: pass it on to the person"})


class Acceptance(Body):
    token = Text(longest=200, required=True, metadata={"description": "the token of the invitation's link"})
    password = Text(
        shortest=8, longest=1024, metadata={"description": "the new account's password, for a person without one"}
    )


class JoinedTeam(Body):
    id = fields.String(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True)


class AcceptanceAnswer(Body):
    team = fields.Nested(JoinedTeam, required=True)


@blueprint.endpoint(
    "POST", _MEMBERS, Access.OWN_TEAM, body=NewMember, answers={201: InvitationAnswer, 409: "A member already"}
)
def invite(team_id: str, *, body: dict[str, str]) -> tuple[dict[str, Any], int]:
    """Invite a person to the team

    The answer contains a link that works once, for seven days. It is the same whether or not the address has an account
    here. The person belongs to the team only after they accept. Inviting them again makes a new link and voids the
    previous one.
    """
    token = new_token()
    with current_context().pool.connection() as connection, connection.transaction():
        People(connection).lock_members(team_id)
        invitations = Invitations(connection)
        if invitations.is_member(team_id, body["email"]):
            raise Conflict("this user is a member already: change their role instead", code="already_member")
        if len(invitations.list_open(team_id)) >= _MOST_OPEN:
            raise Conflict("too many invitations are open: withdraw one first", code="too_many_invitations")
        made = invitations.create(team_id, **body, token=token, lifetime=LIFETIME)
    return {"invitation": shown(made), "link": f"{current_context().settings.public_url}/invitation?token={token}"}, 201


@blueprint.endpoint(
    "DELETE", f"{_MEMBERS}/invitations/<invitation_id>", Access.OWN_TEAM, answers={204: "Its link works no more"}
)
def withdraw(team_id: str, invitation_id: str) -> Response:
    """Withdraw an invitation"""
    with current_context().pool.connection() as connection:
        if not Invitations(connection).withdraw(team_id, invitation_id):
            raise NotFound("there is no such invitation")
    return Response(status=204)


@blueprint.endpoint(
    "POST",
    "/api/auth/accept-invitation",
    Access.ANYONE,
    body=Acceptance,
    answers={
        200: AcceptanceAnswer,
        404: "It was used or withdrawn, or has expired",
        409: "Sign in first: the account exists",
    },
)
def accept(body: dict[str, str]) -> Response:
    """Accept an invitation

    Sign in as the invited person first. A person without an account sends a `password` instead; that creates the
    account and begins its session.
    """
    who = current_caller()
    found = find_invitation(body["token"], who)
    if who is not None:
        return _join(found, body["token"], who)
    if "password" not in body:
        raise Unauthorized("sign in first, or send a password for your new account")
    return _sign_up(found, body["token"], hash_new_password(body["password"], email=found.email))


def find_invitation(token: str, who: Caller | None) -> FoundInvitation:
    """Raises NotFound if the invitation is no longer valid."""
    with current_context().pool.connection() as connection:
        found = Invitations(connection).find(token, as_email=who.email if who else None)
    if found is None:
        raise _gone()
    return found


def shown(invitation: Invitation) -> dict[str, Any]:
    return {
        "id": invitation.id,
        "email": invitation.email,
        "role": invitation.role,
        "createdAt": iso(invitation.created_at),
        "expiresAt": iso(invitation.expires_at),
    }


def _join(found: FoundInvitation, token: str, who: Caller) -> Response:
    if not found.is_theirs:
        raise Forbidden("this invitation is for another e-mail address: sign out first", code="other_address")
    with current_context().pool.connection() as connection, connection.transaction():
        _take(Invitations(connection), found, token)
        people = People(connection)
        if people.find_member(found.team_id, who.id) is None:
            people.add_member(found.team_id, who.id, Role(found.role))
    return _joined(found, who)


def _sign_up(found: FoundInvitation, token: str, password_hash: str) -> Response:
    with current_context().pool.connection() as connection, connection.transaction():
        people = People(connection)
        people.lock_people()
        if people.find_user(found.email) is not None:
            raise Conflict(
                "this address already has an account: sign in, then open the link again", code="account_exists"
            )
        _take(Invitations(connection), found, token)
        user_id = people.create_user(found.email, password_hash)
        people.add_member(found.team_id, user_id, Role(found.role))
        session = begin_session(people, user_id)
        user = people.get_user(user_id)
    response = _joined(found, user)
    set_cookie(response, session)
    remember_device(response, user)
    return response


def _take(invitations: Invitations, found: FoundInvitation, token: str) -> None:
    if not invitations.take(found, token):
        raise _gone()


def _joined(found: FoundInvitation, user: User | Caller) -> Response:
    acts(user, found.team_id)
    note(user.id, role=found.role)
    return jsonify({"team": {"id": found.team_id, "name": found.team_name, "role": found.role}})


def _gone() -> NotFound:
    return NotFound(
        "this invitation was used or withdrawn, or it has expired: ask for a new one", code="invitation_not_found"
    )
