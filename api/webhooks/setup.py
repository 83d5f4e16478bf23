"""Sets up a team's webhook at Stripe with one call, and deletes it when the team disconnects."""

from dataclasses import replace

import structlog

from api.webhooks.shown import webhook_address
from sync.error_text import loggable_reason
from sync.errors import Conflict, StripeError
from sync.event_types import listened_types
from sync.ids import new_id
from sync.stripe.retries import FAIL_FAST_ATTEMPTS
from sync.stripe.sdk import API_VERSION
from sync.stripe.webhook_endpoint import SetUp, remove, set_up
from sync.teams.connections import Connection, Connections
from sync.teams.mirrored_types import MirroredTypes
from workers.context import Context
from workers.stripe_account import open_caller

log = structlog.get_logger()


def webhook_url(context: Context, team_id: str) -> str:
    return webhook_address(context.settings.public_url, team_id)


def api_version(context: Context, team_id: str) -> str:
    """The version of Stripe's API that a webhook endpoint of this team should have."""
    with context.pool.connection() as connection:
        connected = Connections(connection, context.box).get(team_id)
    return connected.api_version if connected else API_VERSION


def set_up_webhook(context: Context, team_id: str) -> SetUp:
    """Raises Conflict `not_connected`, StripeError."""
    with context.pool.connection() as connection:
        connected = Connections(connection, context.box).connected(team_id)
        is_refused = Connections(connection, context.box).is_refused(team_id)
        events = listened_types(MirroredTypes(connection, team_id).names())
    done = set_up(
        open_caller(context, connected, attempts=FAIL_FAST_ATTEMPTS),
        team_id=team_id,
        url=webhook_url(context, team_id),
        events=events,
        known_id=connected.endpoint_id,
        attempt=new_id("attempt"),
        is_refused=is_refused,
    )
    if done.secret:
        with context.pool.connection() as connection, connection.transaction():
            connections = Connections(connection, context.box)
            connections.lock(team_id)  # a disconnect waits for this, or has already happened
            is_kept = connections.set_endpoint(connected, done.endpoint_id, done.secret)
        if not is_kept:
            take_down_webhook(context, replace(connected, endpoint_id=done.endpoint_id))
            raise Conflict("this team was disconnected from Stripe meanwhile", code="not_connected")
    log.info("webhook.set_up", team=team_id, action=done.action, endpoint=done.endpoint_id)
    return done


def follow_types(context: Context, team_id: str) -> None:
    """Updates our webhook endpoint after the team's types or API version have changed.

    If Stripe refuses, events are read from its list instead, every few minutes.
    """
    with context.pool.connection() as connection:
        connected = Connections(connection, context.box).get(team_id)
    if connected is None or connected.secret_key is None or connected.endpoint_id is None:
        return
    try:
        set_up_webhook(context, team_id)
    except (Conflict, StripeError) as exc:
        log.warning("webhook.not_changed", team=team_id, reason=loggable_reason(exc))


def take_down_webhook(context: Context, connected: Connection) -> None:
    """Deletes only an endpoint that we created. If Stripe refuses, the keys are forgotten all the same."""
    if connected.endpoint_id is None or connected.secret_key is None:
        return
    try:
        remove(open_caller(context, connected, attempts=FAIL_FAST_ATTEMPTS), connected.endpoint_id)
    except StripeError as exc:
        log.warning(
            "webhook.not_removed", team=connected.team_id, endpoint=connected.endpoint_id, reason=loggable_reason(exc)
        )
