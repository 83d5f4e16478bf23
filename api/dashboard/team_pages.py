"""A team's projects and their customers, and its API keys."""

from flask import Blueprint, request

from api.account.own_key import find_own_key
from api.account.status import read_status
from api.dashboard.pages import show_page
from api.http.access import Access, allow
from api.http.context import current_context
from api.projects.key_store import SCOPE_WORDS, KeyStore, Scope
from api.projects.store import ProjectStore
from sync.customers.store import ProjectCustomer, ProjectCustomerStore
from sync.errors import NotFound

projects = Blueprint("projects", __name__)
keys = Blueprint("keys", __name__)

_PAGE = 50
_LAST_PAGE = 20_000


@projects.get("/teams/<team_id>/projects")
@allow(Access.READ_TEAM)
def show_all(team_id: str) -> str:
    with current_context().pool.connection() as connection:
        found = ProjectStore(connection, team_id).list_projects()
    return show_page("projects.html", team_id, projects=found)


@projects.get("/teams/<team_id>/projects/<project_id>")
@allow(Access.READ_TEAM)
def show_one(team_id: str, project_id: str) -> str:
    email = request.args.get("email", "").strip().replace("\0", "")
    page = _page_number(request.args.get("page", "1"))
    with current_context().pool.connection() as connection:
        project = ProjectStore(connection, team_id).find_project(project_id)
        if project is None:
            raise NotFound("there is no such project")
        people = _people(ProjectCustomerStore(connection, team_id), project_id, email, page)
    return show_page(
        "project.html",
        team_id,
        project=project,
        people=people[:_PAGE],
        has_more=len(people) > _PAGE,
        page=page,
        email=email,
        is_connected=read_status(current_context(), team_id)["connected"],
    )


@keys.get("/teams/<team_id>/api-keys")
@allow(Access.READ_TEAM)
def show_keys(team_id: str) -> str:
    with current_context().pool.connection() as connection:
        found = KeyStore(connection).list_keys(team_id)
        of_team = ProjectStore(connection, team_id).list_projects()
    return show_page(
        "api_keys.html",
        team_id,
        keys=found,
        projects=of_team,
        names={project.id: project.name for project in of_team},
        scopes=list(Scope),
        scope_words=SCOPE_WORDS,
        own_key=find_own_key(team_id),
        is_connected=read_status(current_context(), team_id)["connected"],
    )


def _people(store: ProjectCustomerStore, project_id: str, email: str, page: int) -> list[ProjectCustomer]:
    """One more than a page shows, to tell whether another page follows."""
    if not store.has_mirror():
        return []
    return store.list_people(project_id, email=email, limit=_PAGE + 1, offset=(page - 1) * _PAGE)


def _page_number(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) < 6
    return min(max(int(text), 1), _LAST_PAGE) if is_number else 1
