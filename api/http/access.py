"""Every route declares who may call it (api/http/endpoints.py). One check before each request enforces that."""

import re
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TypeVar, cast

import structlog
from flask import Flask, Response, current_app, g, request
from werkzeug.datastructures import Authorization

from api.http.context import current_context
from api.http.seats import IS_REFUSED, TEAM, too_many
from api.operate.rq_view import is_preflight
from api.people import Caller, People, Role
from api.people.sessions import resume_session, slide_cookie
from api.projects.key_access import authenticate_key, show_rate_limit
from api.projects.key_store import PREFIX, PresentedKey, Scope
from api.projects.store import ProjectStore
from sync.errors import Forbidden, NotFound, Unauthorized

_View = TypeVar("_View", bound=Callable[..., object])
# The blueprint of Stripe's own addresses. Only there a team's Stripe key may count.
GATEWAY = "mirror"
_OF_STRIPE = ("sk_", "rk_")
_ID = re.compile(r"[a-z]+_[a-z0-9_]{1,64}")


class Access(Enum):
    ANYONE = "no credentials"
    SIGNED_IN = "a session"
    READ_TEAM = "the session of a member of the team"
    CHANGE_TEAM = "the session of an owner or admin of the team"
    OWN_TEAM = "the session of an owner of the team"
    READ_AS_OWNER = "the session of an owner of the team, to read what other members may not"
    READ_PROJECT = "the session of a member of the team, or an API key of the project or of the whole team"
    CHANGE_PROJECT = "the session of an owner or admin of the team, or an API key of the project or of the whole team"
    READ_MIRROR = "the session of a member of the team, or an API key of the whole team"
    GATEWAY = "an API key of the whole team, whose scopes decide what is answered from where"
    OPERATE = "the session of an operator of the server"
    NOBODY = "nobody"


# API keys reach these, with the scope that the view names. Everywhere else a key does not count as a credential.
OF_PROJECTS = (Access.READ_PROJECT, Access.CHANGE_PROJECT)
OF_KEYS = (*OF_PROJECTS, Access.READ_MIRROR, Access.GATEWAY)
_CHANGES = (Access.CHANGE_TEAM, Access.CHANGE_PROJECT)
_OF_OWNERS = (Access.OWN_TEAM, Access.READ_AS_OWNER)


def allow(access: Access, scope: Scope | None = None) -> Callable[[_View], _View]:
    """Declares who may call a view. A view without a declaration answers nobody."""
    names_scope = access in OF_KEYS and access is not Access.GATEWAY
    assert (scope is not None) == names_scope, "a view that accepts keys names the scope it needs"

    def declare(view: _View) -> _View:
        view.access = access  # type: ignore[attr-defined]
        view.scope = scope  # type: ignore[attr-defined]
        return view

    return declare


def allow_foreign(app: Flask, endpoints: str, access: Access) -> None:
    """Declares access for third-party views, by the prefix of their endpoint names."""
    for endpoint, view in app.view_functions.items():
        if endpoint.startswith(endpoints):
            app.view_functions[endpoint] = allow(access)(partial(view))


def install(app: Flask) -> None:
    app.before_request(_check)
    app.after_request(_renew_cookie)
    app.after_request(show_rate_limit)


def access_of(app: Flask, endpoint: str) -> Access | None:
    return getattr(app.view_functions[endpoint], "access", None)


def scope_of(app: Flask, endpoint: str) -> Scope | None:
    """The scope that an API key needs for this endpoint; None if keys do not reach it."""
    return getattr(app.view_functions[endpoint], "scope", None)


def caller() -> Caller:
    """The caller who passed this request's check."""
    return cast(Caller, g.caller)


def current_caller() -> Caller | None:
    """The signed-in caller of an endpoint that needs no session; None without one."""
    with current_context().pool.connection() as connection:
        return resume_session(People(connection), None)


def is_confined() -> bool:
    """Whether the request came with an API key that is bound to one project."""
    key: PresentedKey | None = g.get("api_key")
    return key is not None and key.project_id is not None


def require_owner() -> None:
    """Guards the part of a request that admins may not do."""
    if caller().role is not Role.OWNER:
        raise Forbidden("only an owner of the team may do this")


def require_scope(scope: Scope) -> None:
    """Guards an endpoint that needs a second scope of an API key."""
    key: PresentedKey | None = g.get("api_key")
    if key is not None:
        _require_scope_of(key, scope)


def _check() -> None:
    TEAM.set(None)  # the thread still holds the previous request's team
    if IS_REFUSED.get():
        raise too_many()
    if request.endpoint is None:  # unknown address or wrong method: Flask answers those after this hook
        return
    access = access_of(current_app, request.endpoint)
    if access is None:
        raise Forbidden("nobody may call this")
    if access is Access.ANYONE or is_preflight():
        return
    raw_key = presented_key(request.headers.get("Authorization"), of_gateway=request.blueprint == GATEWAY)
    if raw_key is None and access is Access.GATEWAY:
        raise Unauthorized(
            "send an API key of BillStack (bs_…) as Stripe's own: as bearer, or as the user name of Basic"
        )
    if raw_key is None:
        g.caller = _authenticate()
        _authorize(access, g.caller)
    elif access in OF_KEYS:
        _authorize_key(access, authenticate_key(raw_key))
    else:
        raise Forbidden("an API key does not reach this endpoint: sign in and use the session")
    TEAM.set(_team_id())
    if any("\0" in str(part) for part in (request.view_args or {}).values()):
        raise NotFound("there is nothing at this address")  # an impossible id, which Postgres would reject


def presented_key(authorization: str | None, *, of_gateway: bool = False) -> str | None:
    """A bearer token, or the user name of Basic as in Stripe's curl examples. At the gateway also a key of Stripe's.

    A key wins over a session. Other credentials, such as a proxy's, are ignored.
    """
    given = Authorization.from_header(authorization)
    raw_key = given.token if given and given.type == "bearer" else given.username if given else None
    return raw_key if raw_key and raw_key.startswith((PREFIX, *(_OF_STRIPE if of_gateway else ()))) else None


# Sessions -------------------------------------------------------------------------------------------------------------


def _authenticate() -> Caller:
    with current_context().pool.connection() as connection:
        found = resume_session(People(connection), _team_id())
    if found is None:
        raise Unauthorized("sign in first: POST /api/auth/sign-in")
    return found


def _authorize(access: Access, who: Caller) -> None:
    if access is Access.SIGNED_IN:
        return
    if access is Access.NOBODY:
        raise Forbidden("this page is read-only: nothing can be changed here")
    if access is Access.OPERATE:
        if not who.is_operator:
            raise Forbidden("only an operator of this server may see this: `flask --app api operator` makes one")
        return
    if who.role is None:
        raise NotFound("there is no such team")
    structlog.contextvars.bind_contextvars(team=_team_id())
    if access in OF_PROJECTS:
        _require_project()
    if access in _CHANGES and who.role is Role.VIEWER:
        raise Forbidden("viewers may only read: ask an owner or admin of the team")
    if access in _OF_OWNERS:
        require_owner()


# API keys -------------------------------------------------------------------------------------------------------------


def _authorize_key(access: Access, key: PresentedKey) -> None:
    g.api_key = key
    if "team_id" in (request.view_args or {}) and key.team_id != _id_in_path("team_id"):
        raise NotFound("there is no such team")
    structlog.contextvars.bind_contextvars(team=key.team_id, api_key=key.id)
    if access in (Access.READ_MIRROR, Access.GATEWAY) and key.project_id is not None:
        raise Forbidden("an API key that is bound to a project does not reach the mirror: create one without projectId")
    if access in OF_PROJECTS:
        if key.project_id not in (None, _id_in_path("project_id")):
            raise NotFound("there is no such project")
        _require_project()
    if access is Access.GATEWAY or (request.blueprint == GATEWAY and Scope.READ_STRIPE in key.scopes):
        return  # api/gateway/views.py decides
    _require_scope_of(key, scope_of(current_app, str(request.endpoint)))


def _require_scope_of(key: PresentedKey, needed: Scope | None) -> None:
    if needed not in key.scopes:
        raise Forbidden(f"this API key lacks the scope {needed}", code="missing_scope", details={"scope": needed})


# What the address names -----------------------------------------------------------------------------------------------


def _require_project() -> None:
    with current_context().pool.connection() as connection:
        project_id = _id_in_path("project_id")
        if project_id is None or ProjectStore(connection, str(_team_id())).find_project(project_id) is None:
            raise NotFound("there is no such project")


def _team_id() -> str | None:
    """The address names the team, or else the key does."""
    if "team_id" in (request.view_args or {}):
        return _id_in_path("team_id")
    key: PresentedKey | None = g.get("api_key")
    return key.team_id if key else None


def _id_in_path(name: str) -> str | None:
    """Treats an impossible id as unknown. An id with a NUL would be an error in Postgres."""
    found = str((request.view_args or {}).get(name, ""))
    return found if _ID.fullmatch(found) else None


def _renew_cookie(response: Response) -> Response:
    found: Caller | None = g.get("caller")
    if found is not None and found.is_stale and response.status_code < 400:
        slide_cookie(response)
    return response
