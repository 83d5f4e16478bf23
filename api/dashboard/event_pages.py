"""The event log's pages: the list, one event, and what comparisons repaired."""

import json
from typing import Any

from flask import Blueprint, request, url_for

from api.account.event_log import cursor_of, event_shown, find_event, read_events, repair_shown
from api.dashboard.pages import show_page
from api.http.access import Access, allow
from api.http.context import current_context
from sync.database.leftovers import REPAIRS_KEPT
from sync.events.log import STATES
from sync.object_types import OBJECT_TYPES
from sync.reconcile.repairs import MOST_RECORDED, NEWEST_REPAIR, list_repairs

events = Blueprint("events", __name__)
repairs = Blueprint("repairs", __name__)

_PAGE = 50
_REPAIRS = 20
_FILTERS = ("state", "type", "object")


@events.get("/teams/<team_id>/events")
@allow(Access.READ_TEAM)
def show_log(team_id: str) -> str:
    given = {name: request.args.get(name, "").strip().replace("\0", "") for name in (*_FILTERS, "before")}
    given = {name: text for name, text in given.items() if text}
    if given.get("state") not in STATES:
        given.pop("state", None)
    found = read_events(current_context(), team_id, given, limit=_PAGE)
    return show_page(
        "events.html",
        team_id,
        events=[_with_link(team_id, event_shown(each)) for each in found.events],
        states=STATES,
        given=given,
        is_filtered=bool(given.keys() & set(_FILTERS)),
        older=given | {"before": cursor_of(found.older)} if found.older else None,
    )


@events.get("/teams/<team_id>/events/<event_id>")
@allow(Access.READ_TEAM)
def show_one(team_id: str, event_id: str) -> str:
    event = find_event(current_context(), team_id, event_id)
    return show_page("event.html", team_id, event=_with_link(team_id, event_shown(event)), raw=_indented(event.body))


@repairs.get("/teams/<team_id>/repairs")
@allow(Access.READ_TEAM)
def show_repairs(team_id: str) -> str:
    with current_context().pool.connection() as connection:
        found = list_repairs(connection, team_id, limit=_REPAIRS + 1, before=_before())
    shown = found[:_REPAIRS]
    return show_page(
        "repairs.html",
        team_id,
        repairs=[repair_shown(each) for each in shown],
        types=OBJECT_TYPES,
        older=shown[-1].id if len(found) > _REPAIRS else None,
        days=REPAIRS_KEPT.days,
        most=MOST_RECORDED,
    )


def _with_link(team_id: str, event: dict[str, Any]) -> dict[str, Any]:
    """`link` leads to the object's page, if it is of a type that has one."""
    about = event["object"]
    object_type = OBJECT_TYPES.get(about["type"]) if about and about["type"] else None
    link = None
    if object_type:
        link = url_for("dashboard.explore.show_object", team_id=team_id, kind=object_type.table, object_id=about["id"])
    return event | {"link": link}


def _indented(body: str) -> str:
    """As it came if it is not readable JSON."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body


def _before() -> int:
    text = request.args.get("before", "")
    return min(int(text), NEWEST_REPAIR) if text.isascii() and text.isdigit() and len(text) < 20 else NEWEST_REPAIR
