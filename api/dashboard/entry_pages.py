"""The pages before a team's own: first-run set-up, sign-in, and the redirect to the person's team."""

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from api.dashboard.pages import last_team, list_teams, show_page
from api.http.access import Access, allow
from api.http.context import current_context
from api.people import People
from api.people.links import SET_UP, Links
from api.people.sessions import resume_session

blueprint = Blueprint("entry_pages", __name__)


@blueprint.get("/")
@allow(Access.SIGNED_IN)
def home() -> Response | str:
    team = last_team(list_teams())
    if team is None:
        return show_page("no_team.html")
    return redirect(url_for("dashboard.overview.show", team_id=team.id))


@blueprint.get("/sign-in")
@allow(Access.ANYONE)
def sign_in() -> Response | str:
    with current_context().pool.connection() as connection:
        people = People(connection)
        if not people.has_users():
            return redirect(url_for("dashboard.entry_pages.set_up"))
        is_signed_in = resume_session(people, None) is not None
    target = _within(request.args.get("next", "/"))
    return redirect(target) if is_signed_in else render_template("dashboard/sign_in.html", target=target)


@blueprint.get("/set-up")
@allow(Access.ANYONE)
def set_up() -> Response | str:
    with current_context().pool.connection() as connection:
        if People(connection).has_users():
            return redirect(url_for("dashboard.entry_pages.sign_in"))
        token = request.args.get("token", "")
        is_good = Links(connection).is_good(SET_UP, token)
    return render_template("dashboard/set_up.html", token=token if is_good else "")


def _within(target: str) -> str:
    """Refuses other sites: browsers read `//host` and `/\\host` as another site's address."""
    is_ours = target.startswith("/") and not target.startswith("//") and not any(each in target for each in "\\\r\n\t")
    return target if is_ours else "/"
