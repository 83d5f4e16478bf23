"""The audit log over HTTP: owners read their team's, operators read all of it."""

from typing import Any

from marshmallow import fields

from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Count
from api.http.times import iso
from api.people.audit_store import NEWEST, AuditLog, Recorded

blueprint = Blueprint(
    "audit_views",
    __name__,
    url_prefix="/api/billstack",
    description="Who changed keys, members, the connection, access, syncs and operators in the last 400 days.",
)

_MOST = 200


class AuditQuery(Body):
    limit = Count(least=1, most=_MOST, load_default=50)
    before = Count(
        least=1,
        most=NEWEST,
        load_default=NEWEST,
        metadata={"description": "the oldest id that you have: the answer continues below it"},
    )


class EntryShown(Body):
    id = fields.Integer(required=True)
    at = fields.DateTime(required=True)
    teamId = fields.String(required=True, allow_none=True)
    actorId = fields.String(required=True, allow_none=True)
    actor = fields.String(
        required=True, metadata={"description": "the person's e-mail address at that time, or `command line`"}
    )
    action = fields.String(required=True)
    target = fields.String(required=True, allow_none=True)
    details = fields.Dict(required=True)
    address = fields.String(required=True, allow_none=True)


class AuditAnswer(Body):
    entries = fields.List(fields.Nested(EntryShown), required=True)
    hasMore = fields.Boolean(required=True)


@blueprint.endpoint(
    "GET", "/teams/<team_id>/audit-log", Access.READ_AS_OWNER, query=AuditQuery, answers={200: AuditAnswer}
)
def list_entries(team_id: str, *, query: dict[str, int]) -> dict[str, Any]:
    """Who did what in the team, the newest first"""
    with current_context().pool.connection() as connection:
        found = AuditLog(connection).list_of_team(team_id, limit=query["limit"] + 1, before=query["before"])
    return _answer(found, query["limit"])


@blueprint.endpoint("GET", "/audit-log", Access.OPERATE, query=AuditQuery, answers={200: AuditAnswer})
def list_all_entries(query: dict[str, int]) -> dict[str, Any]:
    """Who did what on the server and in every team, the newest first"""
    with current_context().pool.connection() as connection:
        found = AuditLog(connection).list_all(limit=query["limit"] + 1, before=query["before"])
    return _answer(found, query["limit"])


def _answer(found: list[Recorded], limit: int) -> dict[str, Any]:
    return {"entries": [_shown(each) for each in found[:limit]], "hasMore": len(found) > limit}


def _shown(entry: Recorded) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": iso(entry.at),
        "teamId": entry.team_id,
        "actorId": entry.actor_id,
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "details": entry.details,
        "address": entry.address,
    }
