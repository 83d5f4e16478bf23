"""The mirror as Stripe would show it: Stripe's addresses, lists, objects and errors, from Postgres.

A program that uses one of Stripe's libraries reads here unchanged but for its key and the API's address.
"""

from typing import Any

import msgspec
from flask import Response, request

from api.gateway import params as mirror_params
from api.gateway.errors import NoSuchObject, RefusedParameter
from api.gateway.store import LostCursor, MirrorReader
from api.http.access import Access
from api.http.addresses import possible_ids
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.request_log import request_id
from api.http.times import iso
from api.projects.key_store import Scope
from sync.object_types import OBJECT_TYPES, ObjectType
from sync.stripe.sdk import API_VERSION

blueprint = Blueprint(
    "mirror",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/mirror",
    description="The mirror in Stripe's own format: point one of Stripe's libraries here, with an API key of the whole"
    " team. Objects of one second are ordered by id; Stripe's order within a second is its own. Embedded lists are whole"
    " where Stripe cuts them at ten, inline prices are listed too, and nothing is expanded. X-BillStack-Synced-At says"
    " until when the mirror is known to be right.",
)

# Stripe goes on answering for a deleted customer; the others it no longer knows.
_RETRIEVABLE_WHEN_DELETED = ("customer",)


def _list(object_type: ObjectType, team_id: str) -> Response:
    values = mirror_params.nested(request.args.items(multi=True))
    selection = mirror_params.select(object_type.name, values)
    paging = mirror_params.paging(values)
    with current_context().pool.connection() as connection:
        reader = MirrorReader(connection, team_id)
        try:
            found = reader.page(object_type, selection, paging)
        except LostCursor:
            param = "starting_after" if paging.after is not None else "ending_before"
            message = f"No such {object_type.stripe_object}: '{paging.cursor}'"
            raise RefusedParameter(message, param, code="resource_missing") from None
        synced_at = iso(reader.synced_at(object_type))
    listed = {"object": "list", "data": found.raws(), "has_more": found.has_more, "url": object_type.path}
    return _answer(msgspec.json.encode(listed), synced_at)


def _retrieve(object_type: ObjectType, team_id: str, ids: list[str]) -> Response:
    """`ids` are what the address may mean, the likeliest first."""
    for name in request.args:
        raise RefusedParameter(f"Received unknown parameter: {name}", name, code="parameter_unknown")
    with current_context().pool.connection() as connection:
        reader = MirrorReader(connection, team_id)
        objects = ((each, reader.object(object_type, each)) for each in ids)
        object_id, found = next((pair for pair in objects if pair[1]), (ids[0], None))
        synced_at = iso(reader.synced_at(object_type))
    body, is_deleted = found or ("", True)
    if found is not None and is_deleted and object_type.name in _RETRIEVABLE_WHEN_DELETED:
        tombstone = {"id": object_id, "object": object_type.stripe_object, "deleted": True}
        return _answer(msgspec.json.encode(tombstone), synced_at)
    if is_deleted:
        raise NoSuchObject(object_type.stripe_object, object_id)
    return _answer(body, synced_at)


def _answer(body: str | bytes, synced_at: str | None) -> Response:
    response = Response(body, mimetype="application/json")
    response.headers["Stripe-Version"] = API_VERSION
    response.headers["Request-Id"] = request_id()
    if synced_at is not None:
        response.headers["X-BillStack-Synced-At"] = synced_at
    return response


def _add_routes(object_type: ObjectType) -> None:
    words, names = object_type.words, ", ".join(sorted(mirror_params.FILTERS[object_type.name]))

    def list_objects(team_id: str) -> Response:
        return _list(object_type, team_id)

    def retrieve_object(team_id: str, object_id: str) -> Response:
        return _retrieve(object_type, team_id, possible_ids(object_id))

    list_objects.__name__, retrieve_object.__name__ = object_type.list_endpoint, object_type.retrieve_endpoint
    list_objects.__doc__ = f"""A page of {object_type.title.lower()}, as Stripe lists them

    Takes limit, starting_after, ending_before, created, {names}.
    """
    retrieve_object.__doc__ = f"One {words}, as Stripe shows it"
    declared: dict[str, Any] = {"access": Access.READ_MIRROR, "scope": Scope(object_type.scope)}
    blueprint.endpoint("GET", object_type.path, answers={200: "Stripe's list"}, **declared)(list_objects)
    address = f"{object_type.path}/<object_id>"
    blueprint.endpoint("GET", address, answers={200: "Stripe's object"}, **declared)(retrieve_object)


for _object_type in OBJECT_TYPES.values():
    _add_routes(_object_type)
