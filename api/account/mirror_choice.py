"""Shows and changes which object types a team mirrors."""

from collections.abc import Mapping
from typing import Any

from api.webhooks.setup import follow_types
from sync.backfill.records import BackfillStore
from sync.errors import Conflict, NotFound
from sync.object_types import OBJECT_TYPES
from sync.teams.connections import Connections
from sync.teams.mirrored_types import MirroredTypes
from workers.context import Context


def object_types_shown(context: Context, team_id: str, status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All types, with the moment up to which the mirror of each is known to be right."""
    mirror = status["mirror"]
    with context.pool.connection() as connection:
        mirrored = MirroredTypes(connection, team_id).names()
    return [
        {
            "name": each.name,
            "stripeObject": each.stripe_object,
            "table": each.table,
            "path": each.path,
            "group": each.group,
            "title": each.title,
            "default": each.is_default,
            "mirrored": each.name in mirrored,
            "syncedAt": mirror.get(each.name, {}).get("rightAsOf"),
        }
        for each in OBJECT_TYPES.values()
    ]


def stop_mirroring(context: Context, team_id: str, name: str, *, purge: bool) -> None:
    """Raises NotFound, Conflict `default_type`, or Conflict `backfill_in_progress`: a backfill may be filling the table."""
    if name not in OBJECT_TYPES:
        raise NotFound("there is no object type of that name")
    object_type = OBJECT_TYPES[name]
    if object_type.is_default:
        raise Conflict(f"every team mirrors {object_type.title.lower()}", code="default_type")
    with context.pool.connection() as connection, connection.transaction():
        Connections(connection, context.box).lock(team_id)
        if running := BackfillStore(connection).running(team_id):
            raise Conflict(
                "a backfill of this team is running: wait for it, or cancel it first",
                code="backfill_in_progress",
                details={"backfillId": running},
            )
        if not MirroredTypes(connection, team_id).stop(object_type, purge=purge):
            raise NotFound(f"the team does not mirror {object_type.title.lower()}")
    follow_types(context, team_id)
