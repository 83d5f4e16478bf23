"""The dashboard: pages for people who prefer looking to curl. Its forms call the JSON API."""

from flask import Blueprint, Flask

from api.dashboard import (
    alerts_page,
    entry_pages,
    event_pages,
    explore,
    export,
    formats,
    operations,
    overview,
    people_pages,
    problems,
    psql_page,
    search,
    stripe_page,
    team_pages,
)

PAGES = (
    entry_pages.blueprint,
    overview.blueprint,
    stripe_page.blueprint,
    event_pages.events,
    event_pages.repairs,
    explore.blueprint,
    export.blueprint,
    search.blueprint,
    psql_page.blueprint,
    alerts_page.blueprint,
    team_pages.projects,
    team_pages.keys,
    people_pages.members,
    people_pages.account,
    people_pages.audit,
    people_pages.server_audit,
    operations.blueprint,
)


def install(app: Flask) -> None:
    blueprint = Blueprint("dashboard", __name__)
    for part in PAGES:
        blueprint.register_blueprint(part)
    app.register_blueprint(blueprint)
    formats.install(app)
    problems.install(app)
