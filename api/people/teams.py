"""Further teams: any signed-in user may create one, and owns it."""

from typing import Any

from marshmallow import fields

from api.http.access import Access, caller
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Text
from api.people import People, Role
from api.people.audit import acts
from sync.errors import Conflict

blueprint = Blueprint("teams", __name__, url_prefix="/api/billstack", description="Teams: one Stripe account each.")

# Each team may mirror an account. The command line can create more.
MOST_OWNED = 20


class NewTeam(Body):
    name = Text(longest=100, required=True)


class TeamMade(Body):
    id = fields.String(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True)


class NewTeamAnswer(Body):
    team = fields.Nested(TeamMade, required=True)


@blueprint.endpoint(
    "POST",
    "/teams",
    Access.SIGNED_IN,
    body=NewTeam,
    answers={201: NewTeamAnswer, 409: "The user owns too many already"},
)
def create_team(body: dict[str, str]) -> tuple[dict[str, Any], int]:
    """Create a team that you own"""
    with current_context().pool.connection() as connection, connection.transaction():
        people = People(connection)
        people.lock_people()
        if people.count_owned(caller().id) >= MOST_OWNED:
            raise Conflict(f"you own {MOST_OWNED} teams already: leave one first", code="too_many_teams")
        team_id = people.create_team(body["name"])
        people.add_member(team_id, caller().id, Role.OWNER)
    acts(caller(), team_id)
    return {"team": {"id": team_id, "name": body["name"], "role": Role.OWNER}}, 201
