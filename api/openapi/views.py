"""The OpenAPI document at /api/openapi.json, and a page that shows it at /api/docs.

The page is our own plain HTML: common viewers load megabytes of scripts from another host.
"""

from typing import Any

import flask
from flask_smorest import Api  # type: ignore[import-untyped]
from marshmallow import fields

from api.http.access import Access, allow
from api.http.fields import Body
from api.openapi.page import operations, prose, titled
from api.people.sessions import COOKIE


class ErrorAnswer(Body):
    error = fields.String(required=True, metadata={"description": "One sentence a person can act on"})
    code = fields.String(required=True)
    details = fields.Dict()


class _Api(Api):  # type: ignore[misc]  # flask-smorest has no type hints
    ERROR_SCHEMA = ErrorAnswer

    def _register_error_handlers(self) -> None:
        """api/http/errors.py registers them."""


def install(app: flask.Flask) -> Any:
    """The flask-smorest Api that registers documented blueprints."""
    app.config.update(API_TITLE="BillStack", API_VERSION="1", OPENAPI_VERSION="3.0.3")
    api = _Api(app)
    api.spec.components.security_scheme("session", {"type": "apiKey", "in": "cookie", "name": COOKIE})
    api.spec.components.security_scheme("apiKey", {"type": "http", "scheme": "bearer", "bearerFormat": "bs_…"})

    @allow(Access.ANYONE)
    def openapi() -> dict[str, Any]:
        return titled(api.spec.to_dict())

    @allow(Access.ANYONE)
    def docs() -> str:
        spec = titled(api.spec.to_dict())
        return flask.render_template("docs.html", spec=spec, operations=operations(spec))

    app.add_template_filter(prose)
    app.add_url_rule("/api/openapi.json", view_func=openapi)
    app.add_url_rule("/api/docs", view_func=docs)
    return api
