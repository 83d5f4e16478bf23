"""What all pages of a signed-in person share: the person, their teams, and their rights in this team."""

from typing import Any

from flask import Response, after_this_request, current_app, render_template, request, url_for

from api.dashboard.mirror_tables import in_navigation
from api.http.access import caller
from api.http.context import current_context
from api.people import Membership, People, Role
from api.people.cookies import read_cookie, set_cookie
from sync.teams.mirrored_types import MirroredTypes

_LAST_TEAM = "billstack_team"
_FIRST_PAGE = "dashboard.overview.show"
# An object belongs to one team, but every team has these lists.
_LISTS = {
    "dashboard.projects.show_one": "dashboard.projects.show_all",
    "dashboard.explore.show_object": "dashboard.explore.show_table",
    "dashboard.events.show_one": "dashboard.events.show_log",
}


def show_page(template: str, team_id: str | None = None, **values: Any) -> str:
    """Without a `team_id` the page belongs to no team. The navigation then offers the team viewed last."""
    teams = list_teams()
    team = next((each for each in teams if each.id == team_id), None) or last_team(teams)
    if team is not None and team.id == team_id:
        _remember(team_id)
    return render_template(
        f"dashboard/{template}",
        user=caller(),
        teams=teams,
        same_page=_same_page,
        team=team,
        tables=in_navigation(_mirrored(team.id)) if team else [],
        may_change=team is not None and team.role != Role.VIEWER,
        is_owner=team is not None and team.role == Role.OWNER,
        is_operator=caller().is_operator,
        **values,
    )


def _mirrored(team_id: str) -> list[str]:
    with current_context().pool.connection() as connection:
        return MirroredTypes(connection, team_id).names()


def _same_page(team_id: str) -> str:
    """The same kind of page in another team. For an object's page, it is the list of that kind."""
    given = request.view_args or {}
    endpoint = _LISTS.get(str(request.endpoint), str(request.endpoint))
    if "team_id" not in given:
        endpoint = _FIRST_PAGE
    kept = {name: value for name, value in given.items() if current_app.url_map.is_endpoint_expecting(endpoint, name)}
    return url_for(endpoint, **kept | {"team_id": team_id})


def _remember(team_id: str) -> None:
    """Remembers the team that this browser viewed last, for pages without a team and for the next sign-in."""
    if read_cookie(_LAST_TEAM) == team_id:
        return

    @after_this_request
    def set_it(response: Response) -> Response:
        set_cookie(response, _LAST_TEAM, team_id)
        return response


def last_team(teams: list[Membership]) -> Membership | None:
    """The team that this browser viewed last, or the first that the person joined."""
    wanted = read_cookie(_LAST_TEAM)
    return next((each for each in teams if each.id == wanted), teams[0] if teams else None)


def list_teams() -> list[Membership]:
    with current_context().pool.connection() as connection:
        return People(connection).list_teams(caller().id)
