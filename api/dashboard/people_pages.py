"""Pages about people: a team's members, an invitation, a new team."""

from flask import Blueprint, render_template, request, url_for

from api.access import Access, allow, caller, current_caller
from api.context import current_context
from api.dashboard.pages import show_page
from api.people import People, Role
from api.people.invitation_store import Invitations
from api.people.invitations import LIFETIME, find_invitation

members = Blueprint("members", __name__)
account = Blueprint("account", __name__)


@members.get("/teams/<team_id>/members")
@allow(Access.READ_TEAM)
def show_members(team_id: str) -> str:
    with current_context().pool.connection() as connection:
        found = People(connection).list_members(team_id)
        invitations = Invitations(connection).list_open(team_id)
    return show_page(
        "members.html",
        team_id,
        members=found,
        invitations=invitations,
        roles=list(Role),
        me=caller().id,
        days=LIFETIME.days,
    )


@account.get("/new-team")
@allow(Access.SIGNED_IN)
def new_team() -> str:
    return show_page("new_team.html")


@account.get("/invitation")
@allow(Access.ANYONE)
def show_invitation() -> str:
    """The same to everybody who has the link and no session, so that it tells nobody whether the address is known."""
    token = request.args.get("token", "")
    who = current_caller()
    return render_template(
        "dashboard/invitation.html",
        invitation=find_invitation(token, who),
        token=token,
        user=who,
        sign_in=url_for("dashboard.doors.sign_in", next=f"{request.path}?token={token}"),
    )
