"""A team's members and their roles. Owners manage them."""

from typing import Any

from flask import Response
from marshmallow import fields

from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Choice
from api.http.times import iso
from api.people import Member, People, Role
from api.people.audit import note
from api.people.invitation_store import Invitations
from api.people.invitations import InvitationShown
from api.people.invitations import shown as shown_invitation
from sync.errors import Conflict, NotFound

blueprint = Blueprint(
    "members",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/members",
    description="A team's members. Owners manage members, admins change settings, viewers read.",
)

_ROLES = tuple(role.value for role in Role)


class ChangedMember(Body):
    role = Choice(_ROLES, required=True)


class MemberShown(Body):
    userId = fields.String(required=True)
    email = fields.String(required=True)
    role = fields.String(required=True)
    createdAt = fields.DateTime(required=True)


class MemberAnswer(Body):
    member = fields.Nested(MemberShown, required=True)


class MembersAnswer(Body):
    members = fields.List(fields.Nested(MemberShown), required=True)
    invitations = fields.List(fields.Nested(InvitationShown), required=True)


@blueprint.endpoint("GET", "", Access.READ_TEAM, answers={200: MembersAnswer})
def list_members(team_id: str) -> dict[str, Any]:
    """List the team's members and open invitations"""
    with current_context().pool.connection() as connection:
        members = People(connection).list_members(team_id)
        invitations = Invitations(connection).list_open(team_id)
    return {
        "members": [_shown(member) for member in members],
        "invitations": [shown_invitation(each) for each in invitations],
    }


@blueprint.endpoint("PATCH", "/<user_id>", Access.OWN_TEAM, body=ChangedMember, answers={200: MemberAnswer})
def change_member(team_id: str, user_id: str, *, body: dict[str, str]) -> dict[str, Any]:
    """Change a member's role

    The last owner stays an owner.
    """
    role = Role(body["role"])
    with current_context().pool.connection() as connection, connection.transaction():
        people = People(connection)
        people.lock_members(team_id)
        if role is not Role.OWNER:
            _keep_an_owner(people, team_id, _member(people, team_id, user_id))
        people.add_member(team_id, _member(people, team_id, user_id).user_id, role)
        changed = _member(people, team_id, user_id)
    note(user_id, email=changed.email, role=changed.role)
    return {"member": _shown(changed)}


@blueprint.endpoint("DELETE", "/<user_id>", Access.OWN_TEAM, answers={204: "Removed"})
def remove_member(team_id: str, user_id: str) -> Response:
    """Remove a member, or leave the team

    The last owner cannot leave.
    """
    with current_context().pool.connection() as connection, connection.transaction():
        people = People(connection)
        people.lock_members(team_id)
        leaving = _member(people, team_id, user_id)
        _keep_an_owner(people, team_id, leaving)
        people.remove_member(team_id, user_id)
    note(user_id, email=leaving.email, role=leaving.role)
    return Response(status=204)


def _member(people: People, team_id: str, user_id: str) -> Member:
    member = people.find_member(team_id, user_id)
    if member is None:
        raise NotFound("the team has no such member")
    return member


def _keep_an_owner(people: People, team_id: str, leaving: Member) -> None:
    if leaving.role is Role.OWNER and not people.has_other_owner(team_id, leaving.user_id):
        raise Conflict("this is the team's last owner: make another member an owner first", code="last_owner")


def _shown(member: Member) -> dict[str, Any]:
    return {
        "userId": member.user_id,
        "email": member.email,
        "role": member.role,
        "createdAt": iso(member.created_at),
    }
