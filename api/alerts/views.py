"""The endpoints of a team's alerts."""

from collections.abc import Mapping
from typing import Any

from flask import Response
from marshmallow import fields, validate

from api.alerts.shown import read_alerts
from api.http.access import Access, caller
from api.http.context import current_context
from api.http.endpoints import Blueprint
from api.http.fields import Body, Email, Text
from api.people import Role
from sync.alerts.store import AlertStore
from sync.alerts.words import KINDS
from sync.errors import BadRequest, Conflict, TooManyRequests
from workers.alerts.addresses import LONGEST_URL, BadAddress, check_url
from workers.alerts.sending import send
from workers.context import Context

blueprint = Blueprint(
    "alerts",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/alerts",
    description="Tells a team by webhook and e-mail what is wrong with its mirror: once, and once when it is over.",
)

_MOST_EMAILS = 20
# A test asks an address that a person chose, at once.
_TESTS_AN_HOUR = 10
_RETRY_AFTER_S = 600


class AlertsBody(Body):
    webhookUrl = Text(
        longest=LONGEST_URL, load_default=None, allow_none=True, metadata={"description": "https://…; null for none"}
    )
    emails = fields.List(
        Email(),
        load_default=list,
        validate=validate.Length(max=_MOST_EMAILS, error=f"must be at most {_MOST_EMAILS} addresses"),
        metadata={"description": "addresses of the team's members"},
    )


class AlertShown(Body):
    kind = fields.String(required=True, metadata={"enum": [kind for kind in KINDS if kind != "test"]})
    title = fields.String(required=True)
    message = fields.String(required=True)
    isOn = fields.Boolean(required=True, metadata={"description": "false: it is over"})
    since = fields.DateTime(required=True)
    overAt = fields.DateTime(required=True, allow_none=True)
    details = fields.Dict(required=True)


class NoticeShown(Body):
    id = fields.String(required=True)
    kind = fields.String(required=True)
    title = fields.String(required=True)
    isOn = fields.Boolean(required=True)
    channel = fields.String(required=True, metadata={"enum": ["webhook", "email"]})
    state = fields.String(required=True, metadata={"enum": ["waiting", "sent", "failed"]})
    attempts = fields.Integer(required=True)
    createdAt = fields.DateTime(required=True)
    endedAt = fields.DateTime(required=True, allow_none=True)
    nextAttemptAt = fields.DateTime(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)


class AlertsAnswer(Body):
    enabled = fields.Boolean(required=True)
    webhookUrl = fields.String(
        required=True, allow_none=True, metadata={"description": "whole for owners; only its host for others"}
    )
    emails = fields.List(fields.String(), required=True)
    canSendEmail = fields.Boolean(required=True, metadata={"description": "whether this server has a mail server"})
    alerts = fields.List(fields.Nested(AlertShown), required=True)
    notices = fields.List(fields.Nested(NoticeShown), required=True, metadata={"description": "the newest 20"})


class SecretAnswer(AlertsAnswer):
    webhookSecret = fields.String(
        required=True, allow_none=True, metadata={"description": "signs the webhook; shown this once, if it is new"}
    )


class TestedAnswer(Body):
    success = fields.Boolean(required=True)
    message = fields.String(required=True)
    results = fields.Dict(
        fields.String(),
        fields.String(allow_none=True),
        required=True,
        metadata={"description": "by channel: null if it was sent, or why not"},
    )


@blueprint.endpoint("GET", "", Access.READ_TEAM, answers={200: AlertsAnswer})
def show(team_id: str) -> dict[str, Any]:
    """Show where alerts go, what is wrong, and what was told"""
    return _shown(current_context(), team_id)


@blueprint.endpoint("PUT", "", Access.OWN_TEAM, body=AlertsBody, answers={200: SecretAnswer})
def put(team_id: str, *, body: Mapping[str, Any]) -> dict[str, Any]:
    """Turn alerts on, or change where they go

    Replaces both channels. The answer shows the secret of a new webhook, this once. An alert that is on already is told
    within a minute of turning alerts on.
    """
    context = current_context()
    url, emails = body["webhookUrl"], body["emails"]
    _check(context, url, emails)
    with context.pool.connection() as connection, connection.transaction():
        store = AlertStore(connection, context.box)
        before = store.receivers(team_id)
        added = store.put(team_id, webhook_url=url, emails=emails)
        strangers = [email for email in emails if email.lower() not in added]
        if strangers:
            raise BadRequest(
                f"emails must be addresses of the team's members: {strangers[0]} is none",
                details={"fields": {"emails": ["must be addresses of the team's members"]}},
            )
        after = store.receivers(team_id)
    secret = after.webhook_secret if after else None
    is_new = before is None or before.webhook_secret != secret
    return _shown(context, team_id) | {"webhookSecret": secret if is_new else None}


@blueprint.endpoint("DELETE", "", Access.OWN_TEAM, answers={204: "Turned off"})
def turn_off(team_id: str) -> Response:
    """Turn alerts off, and forget where they went"""
    context = current_context()
    with context.pool.connection() as connection:
        AlertStore(connection, context.box).delete(team_id)
    return Response(status=204)


@blueprint.endpoint("POST", "/secret", Access.OWN_TEAM, answers={200: SecretAnswer})
def new_secret(team_id: str) -> dict[str, Any]:
    """Give the webhook a new secret

    The old one signs nothing more.
    """
    context = current_context()
    with context.pool.connection() as connection, connection.transaction():
        store = AlertStore(connection, context.box)
        known = store.receivers(team_id)
        if known is None or known.webhook_url is None:
            raise Conflict("the team has no webhook for alerts: name one first", code="no_webhook")
        store.put(team_id, webhook_url=known.webhook_url, emails=known.emails, new_secret=True)
        after = store.receivers(team_id)
    return _shown(context, team_id) | {"webhookSecret": after.webhook_secret if after else None}


@blueprint.endpoint("POST", "/test", Access.OWN_TEAM, answers={200: TestedAnswer})
def test(team_id: str) -> dict[str, Any]:
    """Send a test through each channel, and say how it went"""
    context = current_context()
    with context.pool.connection() as connection:
        store = AlertStore(connection, context.box)
        if store.count_tests(team_id) >= _TESTS_AN_HOUR:
            raise TooManyRequests("too many tests in the last hour: wait a while", retry_after_s=_RETRY_AFTER_S)
        notices = store.add_test(team_id)
    if not notices:
        raise Conflict("alerts are off: name a webhook or e-mail addresses first", code="alerts_off")
    results = {notice.channel: send(context, notice) for notice in notices}
    failed = [reason for reason in results.values() if reason]
    message = failed[0] if failed else "The test was sent"
    return {"success": not failed, "message": message, "results": results}


def _check(context: Context, url: str | None, emails: list[str]) -> None:
    if url is None and not emails:
        raise BadRequest("name a webhookUrl or emails: DELETE turns alerts off")
    if emails and context.settings.smtp_url is None:
        raise Conflict("this server sends no e-mail: an operator must set BILLSTACK_SMTP_URL", code="no_mail_server")
    if url is not None:
        try:
            check_url(url, allow_private=context.settings.allow_private_alerts)
        except BadAddress as exc:
            raise BadRequest(f"webhookUrl {exc}", details={"fields": {"webhookUrl": [str(exc)]}}) from None


def _shown(context: Context, team_id: str) -> dict[str, Any]:
    return read_alerts(context, team_id, is_owner=caller().role is Role.OWNER)
