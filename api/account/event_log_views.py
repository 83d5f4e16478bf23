"""The event log over HTTP: what Stripe told, what became of it, and what comparisons repaired."""

from typing import Any

from marshmallow import fields

from api.account.event_log import cursor_of, event_shown, find_event, read_events, repair_shown, replay_event
from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Choice, Count, Text
from api.http.request_log import request_id
from sync.events.log import STATES
from sync.reconcile.repairs import NEWEST_REPAIR, list_repairs

blueprint = Blueprint(
    "event_log",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/stripe",
    description="What Stripe told in the last 30 days, what became of it, and what comparisons repaired.",
)

_MOST = 100


class EventsQuery(Body):
    state = Choice(STATES)
    type = Text(longest=255, metadata={"description": "like invoice.paid; invoice.* for all that begin so"})
    object = Text(longest=255, metadata={"description": "an object's id: events about it, or that mention it"})
    limit = Count(least=1, most=_MOST, load_default=50)
    before = Text(longest=300, metadata={"description": "nextCursor of the answer before"})


class ObjectShown(Body):
    stripeObject = fields.String(required=True)
    type = fields.String(required=True, allow_none=True)
    id = fields.String(required=True)


class EventShown(Body):
    id = fields.String(required=True)
    type = fields.String(required=True)
    createdAt = fields.DateTime(required=True)
    state = fields.String(required=True, metadata={"enum": list(STATES)})
    attempts = fields.Integer(required=True)
    error = fields.String(
        required=True, allow_none=True, metadata={"description": "why it failed, was refused or skipped"}
    )
    object = fields.Nested(ObjectShown, required=True, allow_none=True)
    delivered = fields.Boolean(
        required=True, metadata={"description": "by Stripe to the webhook; else BillStack read it from Stripe's list"}
    )
    receivedAt = fields.DateTime(required=True)
    appliedAt = fields.DateTime(required=True, allow_none=True)
    nextAttemptAt = fields.DateTime(required=True, allow_none=True)


class EventsAnswer(Body):
    events = fields.List(fields.Nested(EventShown), required=True)
    nextCursor = fields.String(
        required=True, allow_none=True, metadata={"description": "also after an empty page, while older events remain"}
    )


class EventWithBody(EventShown):
    body = fields.String(required=True, metadata={"description": "the event's JSON as Stripe sent it"})


class EventAnswer(Body):
    event = fields.Nested(EventWithBody, required=True)


class ReplayedAnswer(Body):
    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    eventId = fields.String(required=True)


class RepairsQuery(Body):
    limit = Count(least=1, most=_MOST, load_default=50)
    before = Count(
        least=1,
        most=NEWEST_REPAIR,
        load_default=NEWEST_REPAIR,
        metadata={"description": "the oldest id that you have: the answer continues below it"},
    )


class FieldShown(Body):
    path = fields.String(required=True)
    old = fields.String(
        required=True, allow_none=True, metadata={"description": "as JSON, cut if long; null where it was absent"}
    )
    new = fields.String(required=True, allow_none=True)


class RepairShown(Body):
    id = fields.Integer(required=True)
    reconcileId = fields.String(required=True)
    type = fields.String(required=True)
    objectId = fields.String(required=True)
    kind = fields.String(
        required=True,
        metadata={
            "description": "missing: the mirror lacked it; stale: it differed; notDeleted: Stripe had deleted it"
        },
    )
    at = fields.DateTime(required=True)
    differences = fields.List(fields.Nested(FieldShown), required=True)
    moreDifferences = fields.Integer(
        required=True, metadata={"description": "fields that differed besides those in `differences`"}
    )


class RepairsAnswer(Body):
    repairs = fields.List(fields.Nested(RepairShown), required=True)
    hasMore = fields.Boolean(required=True)


@blueprint.endpoint("GET", "/events", Access.READ_TEAM, query=EventsQuery, answers={200: EventsAnswer})
def list_events(team_id: str, *, query: dict[str, Any]) -> dict[str, Any]:
    """List the team's events, the newest first

    A page looks at a bounded number of events. So it may hold few or none and still have a `nextCursor`.
    """
    found = read_events(current_context(), team_id, query, limit=query["limit"])
    return {"events": [event_shown(each) for each in found.events], "nextCursor": cursor_of(found.older)}


@blueprint.endpoint("GET", "/events/<event_id>", Access.READ_TEAM, answers={200: EventAnswer})
def show_event(team_id: str, event_id: str) -> dict[str, Any]:
    """One event with its body"""
    event = find_event(current_context(), team_id, event_id)
    return {"event": event_shown(event) | {"body": event.body}}


@blueprint.endpoint("POST", "/events/<event_id>/replay", Access.CHANGE_TEAM, answers={202: ReplayedAnswer})
def replay(team_id: str, event_id: str) -> tuple[dict[str, Any], int]:
    """Apply an event again

    An event that is older than its row has no effect.
    """
    replay_event(current_context(), team_id, event_id, request_id=request_id())
    return {"success": True, "message": "The event is applied again", "eventId": event_id}, 202


@blueprint.endpoint("GET", "/repairs", Access.READ_TEAM, query=RepairsQuery, answers={200: RepairsAnswer})
def show_repairs(team_id: str, *, query: dict[str, int]) -> dict[str, Any]:
    """What comparisons with Stripe repaired in the last 30 days, the newest first

    Of one comparison, the first 500 repairs are kept, each with up to 50 fields.
    """
    limit = query["limit"]
    with current_context().pool.connection() as connection:
        found = list_repairs(connection, team_id, limit=limit + 1, before=query["before"])
    return {"repairs": [repair_shown(each) for each in found[:limit]], "hasMore": len(found) > limit}
