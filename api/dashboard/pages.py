"""What all pages of a signed-in person share: who they are, their teams, what they may do in this one."""

from typing import Any

from flask import render_template

from api.access import caller
from api.context import current_context
from api.people import Membership, People, Role


def show_page(template: str, team_id: str | None = None, **values: Any) -> str:
    """Without a `team_id` the page belongs to no team, and the navigation offers the first one's."""
    teams = list_teams()
    team = next((each for each in teams if each.id == team_id), teams[0] if teams else None)
    return render_template(
        f"dashboard/{template}",
        user=caller(),
        teams=teams,
        team=team,
        may_change=team is not None and team.role != Role.VIEWER,
        is_owner=team is not None and team.role == Role.OWNER,
        is_operator=caller().is_operator,
        **values,
    )


def list_teams() -> list[Membership]:
    with current_context().pool.connection() as connection:
        return People(connection).list_teams(caller().id)
