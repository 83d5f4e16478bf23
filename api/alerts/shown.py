"""A team's alerts as the API and the page show them."""

from typing import Any
from urllib.parse import urlsplit

from api.http.times import iso
from sync.alerts.store import Alert, AlertStore, Receivers, Told
from sync.alerts.words import KINDS, sentence
from workers.context import Context

_NOTICES = 20


def read_alerts(context: Context, team_id: str, *, is_owner: bool) -> dict[str, Any]:
    """Only owners see the whole address of the webhook: it may have a token in it."""
    with context.pool.connection() as connection:
        store = AlertStore(connection, context.box)
        receivers = store.receivers(team_id)
        alerts, notices = store.alerts(team_id), store.notices(team_id, limit=_NOTICES)
    return {
        "enabled": receivers is not None,
        "webhookUrl": _url(receivers, is_owner=is_owner),
        "emails": receivers.emails if receivers else [],
        "canSendEmail": context.settings.smtp_url is not None,
        "alerts": [_alert(each) for each in alerts],
        "notices": [_notice(each) for each in notices],
    }


def _url(receivers: Receivers | None, *, is_owner: bool) -> str | None:
    url = receivers.webhook_url if receivers else None
    if url is None or is_owner:
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…"


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "kind": alert.kind,
        "title": KINDS[alert.kind].title,
        "message": sentence(alert.kind, alert.details, is_on=alert.is_on),
        "isOn": alert.is_on,
        "since": iso(alert.since),
        "overAt": iso(alert.over_at),
        "details": alert.details,
    }


def _notice(notice: Told) -> dict[str, Any]:
    return {
        "id": notice.id,
        "kind": notice.kind,
        "title": KINDS[notice.kind].title,
        "isOn": notice.is_on,
        "channel": notice.channel,
        "state": notice.state,
        "attempts": notice.attempts,
        "createdAt": iso(notice.created_at),
        "endedAt": iso(notice.ended_at),
        "nextAttemptAt": iso(notice.next_attempt_at) if notice.state == "waiting" else None,
        "error": notice.error,
    }
