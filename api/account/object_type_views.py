"""Which of Stripe's object types a team mirrors."""

from typing import Any

from flask import Response

from api.account import object_type_schemas, schemas
from api.account.mirror_choice import object_types_shown, stop_mirroring
from api.account.status import read_status
from api.http.access import Access, require_owner
from api.http.context import current_context
from api.http.endpoints import Blueprint

blueprint = Blueprint(
    "object_types",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/stripe",
    description="The object types that a team mirrors. A backfill that names a type starts mirroring it.",
)


@blueprint.endpoint("GET", "/object-types", Access.READ_TEAM, answers={200: object_type_schemas.ObjectTypesAnswer})
def list_object_types(team_id: str) -> dict[str, Any]:
    """List all object types that can be mirrored"""
    context = current_context()
    return {"objectTypes": object_types_shown(context, team_id, read_status(context, team_id))}


@blueprint.endpoint(
    "DELETE", "/object-types/<name>", Access.CHANGE_TEAM, query=schemas.Disconnect, answers={204: "Stopped"}
)
def stop(team_id: str, name: str, *, query: dict[str, bool]) -> Response:
    """Stop mirroring an object type

    Its rows stay, unless `purge` drops them, which only an owner may. 409 for a type that every team mirrors, and while
    a backfill runs.
    """
    if query["purge"]:
        require_owner()
    stop_mirroring(current_context(), team_id, name, purge=query["purge"])
    return Response(status=204)
