"""The dashboard: pages for those who would rather look than curl. What they change goes through the JSON API."""

from flask import Blueprint, Flask

from api.dashboard import doors, explore, formats, problems, stripe_page

PAGES = (doors, stripe_page, explore)


def install(app: Flask) -> None:
    blueprint = Blueprint("dashboard", __name__)
    for part in PAGES:
        blueprint.register_blueprint(part.blueprint)
    app.register_blueprint(blueprint)
    formats.install(app)
    problems.install(app)
