"""Pages about people: members, an invitation, a person's own account, and the audit log."""

from flask import Blueprint, render_template, request, url_for

from api.dashboard.pages import show_page
from api.http.access import Access, allow, caller, current_caller
from api.http.context import current_context
from api.people import People, Role
from api.people.audit_store import NEWEST, AuditLog, Recorded
from api.people.credentials import gone
from api.people.invitation_store import Invitations
from api.people.invitations import LIFETIME, find_invitation
from api.people.links import NEW_PASSWORD, Links
from api.people.sessions import list_sessions
from sync.database.leftovers import AUDIT_KEPT

members = Blueprint("members", __name__)
account = Blueprint("account", __name__)
audit = Blueprint("audit", __name__)
server_audit = Blueprint("server_audit", __name__)

_ENTRIES = 100


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


@account.get("/account")
@allow(Access.SIGNED_IN)
def show_account() -> str:
    with current_context().pool.connection() as connection:
        sessions = list_sessions(People(connection), caller().id)
    return show_page("account.html", sessions=sessions)


@account.get("/new-password")
@allow(Access.ANYONE)
def new_password() -> str:
    token = request.args.get("token", "")
    with current_context().pool.connection() as connection:
        if not Links(connection).is_good(NEW_PASSWORD, token):
            raise gone()
    return render_template("dashboard/new_password.html", token=token)


@account.get("/invitation")
@allow(Access.ANYONE)
def show_invitation() -> str:
    """The same for everybody with the link and no session, so that it does not reveal whether the address is known."""
    token = request.args.get("token", "")
    who = current_caller()
    return render_template(
        "dashboard/invitation.html",
        invitation=find_invitation(token, who),
        token=token,
        user=who,
        sign_in=url_for("dashboard.entry_pages.sign_in", next=f"{request.path}?token={token}"),
    )


@audit.get("/teams/<team_id>/audit-log")
@allow(Access.READ_AS_OWNER)
def show_team(team_id: str) -> str:
    with current_context().pool.connection() as connection:
        found = AuditLog(connection).list_of_team(team_id, limit=_ENTRIES + 1, before=_before())
    return _show_entries(found, team_id)


@server_audit.get("/operators/audit-log")
@allow(Access.OPERATE)
def show_server() -> str:
    with current_context().pool.connection() as connection:
        found = AuditLog(connection).list_all(limit=_ENTRIES + 1, before=_before())
    return _show_entries(found, None)


def _before() -> int:
    """The entry after which the page continues. Anything that is no such number means the newest."""
    text = request.args.get("before", "")
    return min(int(text), NEWEST) if text.isascii() and text.isdigit() and len(text) < 20 else NEWEST


def _show_entries(found: list[Recorded], team_id: str | None) -> str:
    shown = found[:_ENTRIES]
    return show_page(
        "audit_log.html",
        team_id,
        entries=shown,
        is_of_server=team_id is None,
        older=shown[-1].id if len(found) > _ENTRIES else None,
        days=AUDIT_KEPT.days,
    )
