"""What a project's programs read of the mirror: the team's catalogue, and what belongs to the project's customers."""

from collections.abc import Callable
from typing import Any

import msgspec
from flask import Response
from marshmallow import fields

from api.gateway.selection import Paging, Selection
from api.gateway.store import MirrorReader
from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Choice, Count, Flag, Text
from api.http.times import iso, since_1970
from api.projects.key_store import Scope
from sync.errors import BadRequest
from sync.object_types import OBJECT_TYPES, ObjectType

blueprint = Blueprint(
    "mirror_projects",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/projects/<project_id>",
    description="The team's products and prices, and what the project's customers bought, as Stripe has them.",
)

_MAX_ID = 255
_CATALOGUE = "products:read"  # what belongs to no customer


class _Page(Body):
    limit = Count(least=1, most=100, load_default=20)
    cursor = Text(longest=_MAX_ID, metadata={"description": "nextCursor of the page before"})


class Products(_Page):
    active = Flag()


class Prices(Products):
    product = Text(longest=_MAX_ID)


class _OfCustomer(_Page):
    customer = Text(longest=_MAX_ID, metadata={"description": "pc_… of this project, or cus_…"})


class Subscriptions(_OfCustomer):
    status = Choice(
        (
            "active",
            "canceled",
            "incomplete",
            "incomplete_expired",
            "past_due",
            "paused",
            "trialing",
            "unpaid",
        )
    )


class Invoices(_OfCustomer):
    status = Choice(("draft", "open", "paid", "uncollectible", "void"))
    subscription = Text(longest=_MAX_ID)


class Charges(_OfCustomer):
    status = Choice(("failed", "pending", "succeeded"))


def _list(object_type: ObjectType, team_id: str, project_id: str, query: dict[str, Any]) -> Response:
    paging = Paging(query.pop("limit"), after=query.pop("cursor", None))
    selection = _selection(object_type, project_id, query)
    with current_context().pool.connection() as connection:
        standing, found = MirrorReader(connection, team_id).page(object_type, selection, paging)
    if found is None:
        raise BadRequest("cursor is no nextCursor of this list: begin again", code="invalid_cursor")
    synced_at = iso(since_1970(standing.right_as_of.get(object_type.name)))
    last = found.ids[-1] if found.has_more else None
    listed = {object_type.table: found.raws(), "hasMore": found.has_more, "nextCursor": last}
    response = Response(msgspec.json.encode(listed), mimetype="application/json")
    if synced_at is not None:
        response.headers["X-BillStack-Synced-At"] = synced_at
    return response


def _selection(object_type: ObjectType, project_id: str, query: dict[str, Any]) -> Selection:
    params: dict[str, Any] = {"project_id": project_id}
    blocks = [] if object_type.scope == _CATALOGUE else ["where_project"]
    for name, value in query.items():
        if name == "status":
            blocks.append("where_statuses")
            params["statuses"] = [value]
        elif name == "customer":
            blocks.append("where_person")
            params["person"] = value
        else:
            blocks.append(f"where_{name}")
            params[name] = value
    return Selection(tuple(blocks), params)


_QUERIES: dict[str, type[_Page]] = {
    "product": Products,
    "price": Prices,
    "subscription": Subscriptions,
    "invoice": Invoices,
    "charge": Charges,
}
_DESCRIPTIONS = {
    "product": "The team's products",
    "price": "The team's prices",
    "subscription": "The subscriptions of the project's customers",
    "invoice": "The invoices of the project's customers",
    "charge": "The charges of the project's customers",
}


def _answer_schema(object_type: ObjectType) -> type[Body]:
    shape = {
        object_type.table: fields.List(fields.Dict(), required=True, metadata={"description": "as Stripe has them"}),
        "hasMore": fields.Boolean(required=True),
        "nextCursor": fields.String(required=True, allow_none=True),
    }
    return type(f"{object_type.table.title()}Answer", (Body,), shape)


def _view(object_type: ObjectType) -> Callable[..., Response]:
    def list_objects(team_id: str, project_id: str, *, query: dict[str, Any]) -> Response:
        return _list(object_type, team_id, project_id, query)

    list_objects.__name__ = object_type.list_endpoint
    list_objects.__doc__ = f"{_DESCRIPTIONS[object_type.name]}, newest first"
    return list_objects


for _name, _query in _QUERIES.items():
    _type = OBJECT_TYPES[_name]
    blueprint.endpoint(
        "GET",
        f"/{_type.table}",
        Access.READ_PROJECT,
        scope=Scope(_type.scope),
        query=_query,
        answers={200: _answer_schema(_type)},
    )(_view(_type))
