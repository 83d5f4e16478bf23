"""Lets a team's own Stripe key in at the gateway, so that its programs change the host and nothing else."""

from typing import Any

from flask import Response
from marshmallow import fields

from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body
from api.http.times import iso
from sync.errors import Conflict, NotFound
from sync.teams.connections import Connections
from sync.teams.own_keys import Opened, OwnKeys

blueprint = Blueprint(
    "own_key",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/stripe/own-key",
    description="Whether the gateway also takes the team's own Stripe key, the full secret key of its connection.",
)


class OwnKeyAnswer(Body):
    isLetIn = fields.Boolean(required=True)
    letInAt = fields.DateTime(required=True, allow_none=True)
    lastUsedAt = fields.DateTime(required=True, allow_none=True, metadata={"description": "to the minute"})


@blueprint.endpoint("GET", "", Access.READ_TEAM, answers={200: OwnKeyAnswer})
def show_own_key(team_id: str) -> dict[str, Any]:
    """Show whether the gateway takes the team's own Stripe key"""
    return _shown(find_own_key(team_id))


@blueprint.endpoint("POST", "", Access.CHANGE_TEAM, answers={200: OwnKeyAnswer})
def let_in(team_id: str) -> dict[str, Any]:
    """Let the team's own Stripe key in at the gateway

    Whoever has the connection's full secret key then reads the mirror with it and changes things at Stripe, as they can at
    Stripe itself. BillStack knows the key by its SHA-256. Other keys of the account stay out. When the team connects with
    another full secret key, that one is let in instead. 409 `restricted_key` if the connection has a restricted key.
    """
    context = current_context()
    with context.pool.connection() as connection, connection.transaction():
        connections = Connections(connection, context.box)
        connections.lock(team_id)
        connected = connections.connected(team_id)
        assert connected.secret_key is not None
        if not connected.key_valid:
            raise Conflict("Stripe refuses the stored key: connect the team with a valid one first", code="key_refused")
        return _shown(OwnKeys(connection, context.box).open(team_id, connected.secret_key))


@blueprint.endpoint("DELETE", "", Access.CHANGE_TEAM, answers={204: "Kept out"})
def keep_out(team_id: str) -> Response:
    """Keep the team's own Stripe key out again, effective with its next request"""
    context = current_context()
    with context.pool.connection() as connection:
        if not OwnKeys(connection, context.box).close(team_id):
            raise NotFound("this Stripe key is not let in")
    return Response(status=204)


def find_own_key(team_id: str) -> Opened | None:
    context = current_context()
    with context.pool.connection() as connection:
        return OwnKeys(connection, context.box).get(team_id)


def _shown(opened: Opened | None) -> dict[str, Any]:
    return {
        "isLetIn": opened is not None,
        "letInAt": iso(opened.since) if opened else None,
        "lastUsedAt": iso(opened.used_at) if opened else None,
    }
