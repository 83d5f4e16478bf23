"""Reads and replays a team's events, and reads what comparisons repaired, for the API and the pages."""

import re
from collections.abc import Mapping
from typing import Any

import redis
import structlog

from api.http.times import iso, since_1970
from sync.errors import BadRequest, NotFound
from sync.events.ledger import Ledger
from sync.events.log import NEWEST, EventLog, Logged, LogPage, Place, Wanted, object_of
from sync.object_types import BY_STRIPE_OBJECT
from sync.reconcile.repairs import Repair
from sync.teams.connections import Connections
from workers.context import Context
from workers.queues import wake_events

_UNAPPLIED = ("pending", "failed")
_CURSOR = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9_.:-]{1,255})", re.ASCII)

log = structlog.get_logger()


def read_events(context: Context, team_id: str, given: Mapping[str, str | None], *, limit: int) -> LogPage:
    """`given` has `state`, `type`, `object` and `before` as the API names them. Raises BadRequest for a bad cursor."""
    wanted = Wanted(state=given.get("state"), type=given.get("type"), mentions=given.get("object"))
    cursor = given.get("before")
    below = _place(cursor) if cursor else NEWEST
    with context.pool.connection() as connection:
        return EventLog(connection, team_id).page(wanted, limit=limit, below=below)


def find_event(context: Context, team_id: str, event_id: str) -> Logged:
    """Raises NotFound."""
    with context.pool.connection() as connection:
        found = EventLog(connection, team_id).get(event_id)
    if found is None:
        raise NotFound("there is no such event: events are kept for 30 days")
    return found


def replay_event(context: Context, team_id: str, event_id: str, *, request_id: str | None) -> None:
    """Applies a recorded event again. One that is older than its row has no effect.

    Raises NotFound, or Conflict `not_connected`.
    """
    with context.pool.connection() as connection:
        Connections(connection, context.box).connected(team_id)
        if not Ledger(connection, team_id).replay(id=event_id):
            raise NotFound("there is no such event: events are kept for 30 days")
    try:
        wake_events(context, team_id, request_id=request_id)
    except redis.RedisError as exc:
        # It is recorded, so the scheduler finds it as soon as Redis is back.
        log.warning("events.not_woken", team=team_id, reason=str(exc))


def cursor_of(place: Place | None) -> str | None:
    return f"{place.created}.{place.id}" if place else None


def _place(cursor: str) -> Place:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise BadRequest("before must be a nextCursor of this list")
    return Place(int(found[1]), found[2])


def event_shown(event: Logged) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "createdAt": iso(since_1970(event.created)),
        "state": event.state,
        "attempts": event.attempts,
        "error": event.error,
        "object": _object_shown(event.body),
        "delivered": event.delivered,
        "receivedAt": iso(event.received_at),
        "appliedAt": iso(event.applied_at),
        "nextAttemptAt": iso(event.next_attempt_at) if event.state in _UNAPPLIED else None,
    }


def _object_shown(body: str) -> dict[str, str | None] | None:
    """`type` is None for objects that BillStack does not know."""
    found = object_of(body)
    if found is None:
        return None
    object_type = BY_STRIPE_OBJECT.get(found[0])
    return {"stripeObject": found[0], "type": object_type.name if object_type else None, "id": found[1]}


def repair_shown(repair: Repair) -> dict[str, Any]:
    return {
        "id": repair.id,
        "reconcileId": repair.reconcile_id,
        "type": repair.type,
        "objectId": repair.object_id,
        "kind": repair.kind,
        "at": iso(repair.at),
        "differences": repair.fields,
        "moreDifferences": repair.more_fields,
    }
