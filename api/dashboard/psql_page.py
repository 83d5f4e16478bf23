"""How to read the mirror with SQL: the team's database role, its one-time password and its address."""

from flask import Blueprint

from api.account.database_access import find_access
from api.dashboard.mirror_rows import MirrorRows
from api.dashboard.pages import show_page
from api.http.access import Access, allow
from api.http.context import current_context

blueprint = Blueprint("psql_page", __name__)


@blueprint.get("/teams/<team_id>/psql")
@allow(Access.READ_TEAM)
def show(team_id: str) -> str:
    reader, where = find_access(team_id)
    with current_context().pool.connection() as connection:
        has_mirror = MirrorRows(connection, team_id).has_table("customers")
    return show_page("psql.html", team_id, reader=reader, where=where, has_mirror=has_mirror)
