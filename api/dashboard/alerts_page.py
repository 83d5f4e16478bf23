"""The page of a team's alerts."""

from flask import Blueprint

from api.alerts.shown import read_alerts
from api.dashboard.pages import show_page
from api.http.access import Access, allow, caller
from api.http.context import current_context
from api.people import People, Role
from sync.alerts.words import KINDS, TEST

blueprint = Blueprint("alerts", __name__)


@blueprint.get("/teams/<team_id>/alerts")
@allow(Access.READ_TEAM)
def show(team_id: str) -> str:
    is_owner = caller().role is Role.OWNER
    with current_context().pool.connection() as connection:
        members = People(connection).list_members(team_id)
    return show_page(
        "alerts.html",
        team_id,
        shown=read_alerts(current_context(), team_id, is_owner=is_owner),
        members=[member.email for member in members],
        kinds=[kind for name, kind in KINDS.items() if name != TEST],
    )
