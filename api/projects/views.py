"""A team's projects, one for each of its SaaS products."""

from typing import Any

from flask import Response
from marshmallow import fields

from api.http.access import Access
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Text
from api.http.times import iso
from api.projects.store import Project, ProjectStore
from sync.errors import NotFound

blueprint = Blueprint(
    "projects",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/projects",
    description="A team's projects, one for each product that it sells.",
)

_READ, _CHANGE = Access.READ_TEAM, Access.CHANGE_TEAM


class NamedProject(Body):
    name = Text(longest=100, required=True)


class ProjectShown(Body):
    id = fields.String(required=True)
    name = fields.String(required=True)
    createdAt = fields.DateTime(required=True)
    updatedAt = fields.DateTime(required=True)


class ProjectAnswer(Body):
    project = fields.Nested(ProjectShown, required=True)


class ProjectsAnswer(Body):
    projects = fields.List(fields.Nested(ProjectShown), required=True)


@blueprint.endpoint("POST", "", _CHANGE, body=NamedProject, answers={201: ProjectAnswer})
def create_project(team_id: str, *, body: dict[str, str]) -> tuple[dict[str, Any], int]:
    """Create a project"""
    with current_context().pool.connection() as connection:
        return {"project": _shown(ProjectStore(connection, team_id).create_project(body["name"]))}, 201


@blueprint.endpoint("GET", "", _READ, answers={200: ProjectsAnswer})
def list_projects(team_id: str) -> dict[str, Any]:
    """The team's projects, oldest first"""
    with current_context().pool.connection() as connection:
        return {"projects": [_shown(project) for project in ProjectStore(connection, team_id).list_projects()]}


@blueprint.endpoint("GET", "/<project_id>", _READ, answers={200: ProjectAnswer})
def show_project(team_id: str, project_id: str) -> dict[str, Any]:
    """One project"""
    with current_context().pool.connection() as connection:
        return {"project": _shown(ProjectStore(connection, team_id).find_project(project_id))}


@blueprint.endpoint("PATCH", "/<project_id>", _CHANGE, body=NamedProject, answers={200: ProjectAnswer})
def rename_project(team_id: str, project_id: str, *, body: dict[str, str]) -> dict[str, Any]:
    """Rename a project"""
    with current_context().pool.connection() as connection:
        return {"project": _shown(ProjectStore(connection, team_id).rename_project(project_id, body["name"]))}


@blueprint.endpoint("DELETE", "/<project_id>", _CHANGE, answers={204: "Deleted"})
def delete_project(team_id: str, project_id: str) -> Response:
    """Delete a project

    Its API keys are revoked and its customers unlinked. Nothing is deleted at Stripe.
    """
    with current_context().pool.connection() as connection:
        _shown(ProjectStore(connection, team_id).delete_project(project_id))
    return Response(status=204)


def _shown(project: Project | None) -> dict[str, Any]:
    if project is None:
        raise NotFound("there is no such project")
    return {
        "id": project.id,
        "name": project.name,
        "createdAt": iso(project.created_at),
        "updatedAt": iso(project.updated_at),
    }
