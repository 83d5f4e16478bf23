"""Shows and changes which object types a team mirrors."""

import math
from collections.abc import Mapping
from typing import Any

from api.webhooks.setup import follow_types
from sync.backfill.records import BackfillStore
from sync.errors import Conflict, NotFound
from sync.object_types import OBJECT_TYPES, ObjectType
from sync.teams.connections import Connections
from sync.teams.mirrored_types import MirroredTypes
from workers.context import Context
from workers.stripe_account import rates_of


def object_types_shown(context: Context, team_id: str, status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All types, with the moment up to which the mirror of each is known to be right, and what reading it costs."""
    mirror = status["mirror"]
    with context.pool.connection() as connection:
        mirrored = MirroredTypes(connection, team_id).names()
    rate = _requests_a_second(context, livemode=bool(status["livemode"]))
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
            "cost": _cost(each, mirror, rate) if each.parent else None,
        }
        for each in OBJECT_TYPES.values()
    ]


def _cost(object_type: ObjectType, mirror: Mapping[str, Any], rate: float) -> dict[str, Any]:
    """A type that is listed under the objects of another one takes a request for each of those."""
    assert object_type.parent
    parent = OBJECT_TYPES[object_type.parent.type]
    count: int = mirror.get(parent.name, {}).get("objects") or 0
    seconds = math.ceil(count / rate)
    words = f"{count:,} {parent.title.lower() if count != 1 else parent.words}: {_duration(seconds)}"
    return {"requests": count, "seconds": seconds, "words": words}


def _duration(seconds: int) -> str:
    minutes = math.ceil(seconds / 60)
    if minutes <= 1:
        return "less than a minute" if seconds < 60 else "about a minute"
    hours = round(minutes / 60)
    return f"about {minutes} minutes" if minutes < 120 else f"about {hours} hours"


def _requests_a_second(context: Context, *, livemode: bool) -> float:
    """Of one list: the endpoint's limit, or the account's if that is lower."""
    rates = rates_of(context)
    return min(rates.endpoint_rps, rates.account(livemode))


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
