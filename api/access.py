"""Who may call what: every route declares it (api/endpoints.py), and one check before each request enforces it."""

import re
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TypeVar, cast

import structlog
from flask import Flask, Response, current_app, g, request

from api.context import current_context
from api.people import Caller, People, Role
from api.sessions import COOKIE, resume_session, set_cookie
from sync.errors import Forbidden, NotFound, Unauthorized

_View = TypeVar("_View", bound=Callable[..., object])
_TEAM_ID = re.compile(r"team_[a-z0-9_]{1,64}")


class Access(Enum):
    ANYONE = "no credentials"
    SIGNED_IN = "a session"
    READ_TEAM = "the session of a member of the team"
    CHANGE_TEAM = "the session of an owner or admin of the team"
    OPERATE = "the session of an owner of any team"


def allow(access: Access) -> Callable[[_View], _View]:
    """Declares who may call a view. A view without it answers nobody."""

    def declare(view: _View) -> _View:
        view.access = access  # type: ignore[attr-defined]
        return view

    return declare


def allow_foreign(app: Flask, endpoints: str, access: Access) -> None:
    """Declares it for the views whose endpoint begins so and that we did not write."""
    for endpoint, view in app.view_functions.items():
        if endpoint.startswith(endpoints):
            app.view_functions[endpoint] = allow(access)(partial(view))


def install(app: Flask) -> None:
    app.before_request(_check)
    app.after_request(_renew_cookie)


def access_of(app: Flask, endpoint: str) -> Access | None:
    return getattr(app.view_functions[endpoint], "access", None)


def caller() -> Caller:
    """Whoever passed the check of this request."""
    return cast(Caller, g.caller)


def require_owner() -> None:
    """For the part of a request that admins may not do."""
    if caller().role is not Role.OWNER:
        raise Forbidden("only an owner of the team may do this")


def _check() -> None:
    if request.endpoint is None:  # no such address, or not with this method: answered after this
        return
    access = access_of(current_app, request.endpoint)
    if access is None:
        raise Forbidden("nobody may call this")
    if access is Access.ANYONE:
        return
    _refuse_api_key()
    g.caller = _authenticate()
    _authorize(access, g.caller)


def _refuse_api_key() -> None:
    given = request.authorization
    if given and given.type == "bearer" and (given.token or "").startswith("bs_"):
        raise Forbidden("an API key does not reach this endpoint: sign in and use the session")


def _authenticate() -> Caller:
    with current_context().pool.connection() as connection:
        found = resume_session(People(connection), _team_id())
    if found is None:
        raise Unauthorized("sign in first: POST /api/auth/sign-in")
    return found


def _authorize(access: Access, who: Caller) -> None:
    if access is Access.OPERATE:
        _require_operator(who)
    if access in (Access.READ_TEAM, Access.CHANGE_TEAM):
        if who.role is None:
            raise NotFound("there is no such team")
        structlog.contextvars.bind_contextvars(team=_team_id())
    if access is Access.CHANGE_TEAM and who.role is Role.VIEWER:
        raise Forbidden("a viewer may read only: ask an owner or admin of the team")


def _require_operator(who: Caller) -> None:
    with current_context().pool.connection() as connection:
        if not People(connection).owns_a_team(who.id):
            raise Forbidden("only the owner of a team may see the workers")


def _team_id() -> str | None:
    """The team of the URL; what cannot be an id is nobody's team, and would be an error in Postgres if it had a NUL."""
    team_id = str((request.view_args or {}).get("team_id", ""))
    return team_id if _TEAM_ID.fullmatch(team_id) else None


def _renew_cookie(response: Response) -> Response:
    """The browser's copy of the session slides along with ours."""
    found: Caller | None = g.get("caller")
    if found is not None and found.is_stale and response.status_code < 400:
        set_cookie(response, request.cookies[COOKIE])
    return response
