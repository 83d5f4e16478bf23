"""The people in a project, each linked to a Stripe customer."""

from typing import Any

from flask import Response
from marshmallow import fields

from api.http.access import Access, is_confined
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Count, Email, Metadata, Text
from api.http.times import iso
from api.projects.key_store import Scope
from sync.customers.candidates import PROJECT_KEY, Person
from sync.customers.links import CustomerLinks
from sync.customers.store import ProjectCustomer, ProjectCustomerStore
from sync.errors import BadRequest, NotFound
from sync.stripe.retries import FAIL_FAST_ATTEMPTS
from sync.teams.connections import Connections
from workers.stripe_account import open_caller

blueprint = Blueprint(
    "customers",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/projects/<project_id>/customers",
    description="The people in a project, each linked to a Stripe customer.",
)

_READ, _READ_SCOPE = Access.READ_PROJECT, Scope.READ_CUSTOMERS
_CHANGE, _CHANGE_SCOPE = Access.CHANGE_PROJECT, Scope.CHANGE_CUSTOMERS


class NewCustomer(Body):
    email = Email(required=True)
    name = Text(longest=256)
    metadata = Metadata()
    stripeCustomerId = Text(longest=255, metadata={"description": "needed if several Stripe customers have this email"})


class ChangedCustomer(Body):
    name = Text(longest=256, allow_none=True, metadata={"description": "null unsets it"})
    metadata = Metadata(may_unset=True)


class Customers(Body):
    limit = Count(least=1, most=100, load_default=50)
    offset = Count(least=0, most=1_000_000, load_default=0)
    email = Text(shortest=0, longest=254, load_default="")


class CustomerShown(Body):
    id = fields.String(required=True)
    email = fields.String(required=True)
    name = fields.String(required=True, allow_none=True)
    stripeCustomerId = fields.String(required=True)
    metadata = fields.Dict(fields.String(), fields.String(), required=True)
    projectId = fields.String(required=True)
    createdAt = fields.DateTime(required=True)
    updatedAt = fields.DateTime(required=True)


class CustomerAnswer(Body):
    customer = fields.Nested(CustomerShown, required=True)


class LinkedAnswer(CustomerAnswer):
    linked = fields.Boolean(required=True)


class CustomersAnswer(Body):
    customers = fields.List(fields.Nested(CustomerShown), required=True)


@blueprint.endpoint("POST", "", _CHANGE, scope=_CHANGE_SCOPE, body=NewCustomer, answers={201: LinkedAnswer})
def link_customer(team_id: str, project_id: str, *, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Link a person to the Stripe customer with their e-mail address, or create one

    E-mail addresses compare without case. A name or metadata that the Stripe customer lacks is filled in; nothing is
    overwritten. `metadata.project_id` names the project that linked the customer first. A failed request is safe to
    repeat. `linked` is false if this request, or an earlier try of it, created the Stripe customer. If only another
    project of the team has the customer, a member or an API key of the whole team must link them: a key of this project
    gets 403.
    """
    metadata = body.get("metadata", {})
    if metadata.get(PROJECT_KEY, project_id) != project_id:
        raise _reserved()
    person = Person(body["email"], body.get("name"), metadata, body.get("stripeCustomerId"))
    done = _links(team_id).link(project_id, person, across_projects=not is_confined())
    return {"customer": _shown(done.customer), "linked": done.was_there}, 201


@blueprint.endpoint("GET", "", _READ, scope=_READ_SCOPE, query=Customers, answers={200: CustomersAnswer})
def list_customers(team_id: str, project_id: str, *, query: dict[str, Any]) -> dict[str, Any]:
    """The project's customers, newest first"""
    with current_context().pool.connection() as connection:
        store = ProjectCustomerStore(connection, team_id)
        found = store.list_people(project_id, **query) if store.has_mirror() else []
    return {"customers": [_shown(person) for person in found]}


@blueprint.endpoint("GET", "/<customer_id>", _READ, scope=_READ_SCOPE, answers={200: CustomerAnswer})
def show_customer(team_id: str, project_id: str, customer_id: str) -> dict[str, Any]:
    """Get one customer, as they are at Stripe now"""
    return {"customer": _shown(_find(team_id, project_id, customer_id))}


@blueprint.endpoint(
    "PATCH", "/<customer_id>", _CHANGE, scope=_CHANGE_SCOPE, body=ChangedCustomer, answers={200: CustomerAnswer}
)
def change_customer(team_id: str, project_id: str, customer_id: str, *, body: dict[str, Any]) -> dict[str, Any]:
    """Change the name or metadata, at Stripe too

    Metadata is merged into the existing metadata. `null` removes a name.
    """
    metadata = body.get("metadata", {})
    if PROJECT_KEY in metadata:
        known = _find(team_id, project_id, customer_id)
        if metadata[PROJECT_KEY] != known.metadata.get(PROJECT_KEY):
            raise _reserved()
    changes: dict[str, Any] = {"name": body["name"] or ""} if "name" in body else {}
    if metadata:
        changes["metadata"] = {name: text or "" for name, text in metadata.items()}
    return {"customer": _shown(_links(team_id).change(project_id, customer_id, changes))}


@blueprint.endpoint("DELETE", "/<customer_id>", _CHANGE, scope=_CHANGE_SCOPE, answers={204: "Unlinked"})
def unlink_customer(team_id: str, project_id: str, customer_id: str) -> Response:
    """Unlink a customer

    Stripe's customer stays.
    """
    with current_context().pool.connection() as connection:
        if not ProjectCustomerStore(connection, team_id).delete(project_id, customer_id):
            raise _no_such_customer()
    return Response(status=204)


def _links(team_id: str) -> CustomerLinks:
    context = current_context()
    with context.pool.connection() as connection:
        connected = Connections(connection, context.box).connected(team_id)
    caller = open_caller(context, connected, attempts=FAIL_FAST_ATTEMPTS)
    return CustomerLinks(context.pool.connection, team_id, caller)


def _find(team_id: str, project_id: str, customer_id: str) -> ProjectCustomer:
    with current_context().pool.connection() as connection:
        store = ProjectCustomerStore(connection, team_id)
        person = store.find(project_id, customer_id) if store.has_mirror() else None
    if person is None:
        raise _no_such_customer()
    return person


def _no_such_customer() -> NotFound:
    return NotFound("there is no such customer in this project")


def _reserved() -> BadRequest:
    return BadRequest("BillStack sets metadata.project_id itself: leave it out", code="reserved_key")


def _shown(person: ProjectCustomer) -> dict[str, Any]:
    return {
        "id": person.id,
        "email": person.email,
        "name": person.name,
        "stripeCustomerId": person.stripe_customer_id,
        "metadata": person.metadata,
        "projectId": person.project_id,
        "createdAt": iso(person.created_at),
        "updatedAt": iso(person.updated_at),
    }
