"""Search, from every page of a team: by the id of any object, a customer's address or name, or an invoice's number."""

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from api.dashboard.mirror_tables import TABLES
from api.dashboard.pages import show_page
from api.dashboard.search_store import Hit, SearchStore
from api.http.access import Access, allow
from api.http.context import current_context
from sync.teams.mirrored_types import MirroredTypes

blueprint = Blueprint("search", __name__)

_LIMIT = 20


@blueprint.get("/teams/<team_id>/search")
@allow(Access.READ_TEAM)
def show(team_id: str) -> str | Response:
    """Leads to the object's own page if there is only one."""
    text = request.args.get("q", "").replace("\0", "")[:500]
    hits = _search(team_id, text) if text.strip() else []
    if len(hits) == 1:
        address = url_for("dashboard.explore.show_object", team_id=team_id, kind=hits[0].kind, object_id=hits[0].id)
        return redirect(address)
    words = {name: table.one for name, table in TABLES.items()}
    return show_page("search.html", team_id, searched=text.strip(), hits=hits, words=words, limit=_LIMIT)


def _search(team_id: str, text: str) -> list[Hit]:
    with current_context().pool.connection() as connection:
        store = SearchStore(connection, team_id, MirroredTypes(connection, team_id).names())
        return store.search(text, _LIMIT) if store.has_mirror() else []
