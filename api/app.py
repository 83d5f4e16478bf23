"""Builds the web application: settings, logging, then one blueprint per concern."""

import os
import sys

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from api import cli, dashboard
from api.account import database_access, event_log_views, event_views, live_status, object_type_views, own_key
from api.account import views as account_views
from api.alerts import views as alert_views
from api.gateway import lean_reads, project_views, reading
from api.gateway import views as gateway_views
from api.http import access, addresses, assets, compression, csrf, errors, headers, request_log
from api.http.context import EXTENSION
from api.http.seats import SharedPool
from api.numbers import views as numbers_views
from api.openapi import views as openapi_views
from api.operate import health, metrics, operators
from api.people import audit, audit_views, auth, credentials, invitations, members, set_up, teams
from api.projects import api_keys, customers
from api.projects import views as projects_views
from api.webhooks import lean_deliveries
from api.webhooks import views as webhook_views
from sync.errors import BillStackError
from workers.context import open_context, refuse_unfit_postgres
from workers.logging import configure_logging
from workers.redis.address import refuse_open_redis
from workers.settings import Settings

# A gunicorn worker's threads for requests. Most of them wait for Stripe, or for an fsync that many deliveries share.
# Live views have further threads (api/gunicorn.py).
THREADS = 32
# The largest legitimate body is a Stripe event, which stays far below this.
MAX_BODY_BYTES = 1024 * 1024

DOCUMENTED = (
    auth,
    set_up,
    credentials,
    teams,
    members,
    invitations,
    audit_views,
    projects_views,
    api_keys,
    own_key,
    database_access,
    customers,
    project_views,
    gateway_views,
    numbers_views,
    account_views,
    live_status,
    event_views,
    event_log_views,
    object_type_views,
    webhook_views,
    alert_views,
    health,
    metrics,
)


def create_app(settings: Settings | None = None) -> Flask:
    """Without `settings`, reads them from the environment. A bad setting ends the process with one line on stderr."""
    settings = settings or read_settings()
    configure_logging(settings.log_level, settings.sentry_dsn)
    app = Flask("api", static_folder=None)  # api/http/assets.py serves the static files
    lean_reads.install(app)
    lean_deliveries.install(app)
    if settings.trusted_proxies:
        # Reads only the part of X-Forwarded-For that our own proxies wrote, never what a client put before it.
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0, x_host=0, x_port=0, x_prefix=0
        )
    addresses.install(app)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's own provider has it
    # A thread holds a connection for milliseconds, and all live views of a process share one.
    app.extensions[EXTENSION] = open_context(settings, pool_size=settings.connections_of_web, pool_class=SharedPool)
    # Every request passes these in order. First it gets an id for its log lines, then its origin and its caller are
    # checked.
    for part in (compression, request_log, headers, errors, csrf, access, audit):
        part.install(app)
    api = openapi_views.install(app)
    for part in DOCUMENTED:
        api.register_blueprint(part.blueprint)
    reading.install(app)
    gateway_views.install(app)
    operators.install(app)
    assets.install(app)
    dashboard.install(app)
    cli.install(app)
    return app


def read_settings() -> Settings:
    try:
        settings = Settings.from_env(os.environ)
        refuse_open_redis(settings)
        refuse_unfit_postgres(settings.database_url, "DATABASE_URL")
        configure_logging(settings.log_level, settings.sentry_dsn)
    except BillStackError as exc:
        sys.exit(f"billstack: {exc.message}")
    return settings
