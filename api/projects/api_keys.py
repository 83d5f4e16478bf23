"""The keys that a team's own programs call us with."""

from datetime import datetime
from typing import Any

import psycopg
from flask import Response
from marshmallow import fields

from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Choices, FutureTime, Text
from api.http.times import iso
from api.projects.key_store import ApiKey, KeyStore, Scope
from sync.errors import NotFound

blueprint = Blueprint(
    "api_keys",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/api-keys",
    description="Keys for a team's own programs: for one project, or for all of them and the mirror.",
)

_SCOPES = tuple(scope.value for scope in Scope)
# Stripe itself is reached only with a key that was created for it.
_UNASKED = [scope.value for scope in Scope if scope not in (Scope.READ_STRIPE, Scope.CHANGE_STRIPE)]


class NewKey(Body):
    name = Text(longest=100, required=True)
    projectId = Text(longest=100, metadata={"description": "without it, the key is for all projects and the mirror"})
    scopes = Choices(_SCOPES, load_default=_UNASKED)
    expiresAt = FutureTime(load_default=None, allow_none=False)


class KeyShown(Body):
    id = fields.String(required=True)
    name = fields.String(required=True)
    prefix = fields.String(required=True, metadata={"description": "how the key begins"})
    projectId = fields.String(required=True, allow_none=True)
    scopes = fields.List(fields.String(), required=True)
    expiresAt = fields.DateTime(required=True, allow_none=True)
    createdAt = fields.DateTime(required=True)
    lastUsedAt = fields.DateTime(required=True, allow_none=True, metadata={"description": "to the minute"})


class KeysAnswer(Body):
    keys = fields.List(fields.Nested(KeyShown), required=True)


class NewKeyAnswer(Body):
    key = fields.Nested(KeyShown, required=True)
    rawKey = fields.String(required=True, metadata={"description": "the key itself; no other answer shows it"})


@blueprint.endpoint("POST", "", Access.CHANGE_TEAM, body=NewKey, answers={201: NewKeyAnswer})
def create_key(team_id: str, *, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Create an API key

    Only this answer ever shows it.
    """
    expires_at: datetime | None = body["expiresAt"]
    with current_context().pool.connection() as connection:
        try:
            key, raw_key = KeyStore(connection).create_key(
                team_id,
                body["name"],
                project_id=body.get("projectId"),
                scopes=body["scopes"],
                expires_at=expires_at,
            )
        except psycopg.errors.ForeignKeyViolation as exc:
            raise NotFound("there is no such project") from exc
    return {"key": _shown(key), "rawKey": raw_key}, 201


@blueprint.endpoint("GET", "", Access.READ_TEAM, answers={200: KeysAnswer})
def list_keys(team_id: str) -> dict[str, Any]:
    """The team's API keys, newest first"""
    with current_context().pool.connection() as connection:
        return {"keys": [_shown(key) for key in KeyStore(connection).list_keys(team_id)]}


@blueprint.endpoint("DELETE", "/<key_id>", Access.CHANGE_TEAM, answers={204: "Revoked"})
def revoke_key(team_id: str, key_id: str) -> Response:
    """Revoke an API key, effective with its next request"""
    with current_context().pool.connection() as connection:
        if not KeyStore(connection).delete_key(team_id, key_id):
            raise NotFound("there is no such API key")
    return Response(status=204)


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "projectId": key.project_id,
        "scopes": key.scopes,
        "expiresAt": iso(key.expires_at),
        "createdAt": iso(key.created_at),
        "lastUsedAt": iso(key.last_used_at),
    }
