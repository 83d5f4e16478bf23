"""Records who changed what. After each change by a person it writes one audit log entry and one log line.

Every route that changes state is recorded, under its view's name unless `ACTIONS` has a better one. Changes that
programs make with API keys are not recorded here; they have their log lines.
"""

from typing import Any

import psycopg
import structlog
from flask import Flask, Response, g, request

from api.http.context import current_context
from api.http.request_log import request_id
from api.http.seats import TEAM
from api.people.audit_store import AuditLog, Entry
from api.people.store import Caller, User

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# What a person reads in the audit log. None: not worth an entry.
ACTIONS: dict[str, str | None] = {
    "alerts.new_secret": "alerts.secret_renewed",
    "alerts.put": "alerts.changed",
    "alerts.test": "alerts.tested",
    "alerts.turn_off": "alerts.turned_off",
    "api_keys.create_key": "key.created",
    "api_keys.revoke_key": "key.revoked",
    "auth.sign_in": "session.began",
    "auth.sign_out": None,
    "auth.sign_out_everywhere": "session.ended_everywhere",
    "credentials.change_password": "password.changed",
    "credentials.end_one_session": "session.ended",
    "credentials.set_new_password": "password.reset",
    "customers.change_customer": "customer.changed",
    "customers.link_customer": "customer.linked",
    "customers.unlink_customer": "customer.unlinked",
    "database_access.open_access": "access.opened",
    "database_access.remove_access": "access.removed",
    "event_log.replay": "event.replayed",
    "invitations.accept": "member.joined",
    "invitations.invite": "member.invited",
    "invitations.withdraw": "invitation.withdrawn",
    "members.change_member": "member.role_changed",
    "members.remove_member": "member.removed",
    "object_types.stop": "sync.type_stopped",
    "own_key.keep_out": "key.stripe_kept_out",
    "own_key.let_in": "key.stripe_let_in",
    "projects.create_project": "project.created",
    "projects.delete_project": "project.deleted",
    "projects.rename_project": "project.renamed",
    "set_up.set_up": "server.set_up",
    "stripe.cancel": "sync.canceled",
    "stripe.connect_stripe": "connection.connected",
    "stripe.disconnect_stripe": "connection.disconnected",
    "stripe.start": "sync.started",
    "stripe_events.reconcile": "sync.compared",
    "stripe_events.set_up": "connection.webhook_set_up",
    "teams.create_team": "team.created",
}
# The parts of an answer that may be recorded: nothing secret, nothing large.
_TOLD = ("name", "email", "role", "scopes", "projectId", "expiresAt")

log = structlog.get_logger()


def install(app: Flask) -> None:
    app.after_request(_record)


def acts(user: User | Caller, team_id: str | None = None) -> None:
    """Names the user and team of this change, for requests whose session or address does not."""
    g.audit_actor, g.audit_team = user, team_id


def note(target: str | None = None, **details: Any) -> None:
    """Adds to this request's entry."""
    g.audit_target, g.audit_details = target, details


def _record(response: Response) -> Response:
    actor: User | Caller | None = g.get("audit_actor") or g.get("caller")
    if request.method in _SAFE_METHODS or request.endpoint is None or response.status_code >= 400 or actor is None:
        return response
    action = ACTIONS.get(request.endpoint, request.endpoint)
    if action is not None:
        _write(_entry(action, actor, response))
    return response


def _entry(action: str, actor: User | Caller, response: Response) -> Entry:
    target, details = _told(response)
    given = dict(request.view_args or {})
    team_id = given.pop("team_id", None) or g.get("audit_team")
    query = {name: value for name, value in request.args.items() if name == "purge"}
    return Entry(
        action=action,
        actor=actor.email,
        actor_id=actor.id,
        team_id=team_id,
        target=g.get("audit_target") or target or next(map(str, reversed(given.values())), None),
        details=details | query | g.get("audit_details", {}),
        address=request.remote_addr,
        request_id=request_id(),
    )


def _told(response: Response) -> tuple[str | None, dict[str, Any]]:
    """The id of the changed object and its recordable details. Answers have the form `{"key": {"id": …}}`."""
    answer = response.get_json(silent=True) if response.is_json else None
    if not isinstance(answer, dict):
        return None, {}
    shown = next((each for each in answer.values() if isinstance(each, dict) and isinstance(each.get("id"), str)), {})
    target = shown.get("id") or answer.get("backfillId") or answer.get("reconcileId")
    return target, {name: shown[name] for name in _TOLD if shown.get(name) is not None}


def _write(entry: Entry) -> None:
    """A change stands even if it cannot be recorded. The log line has it anyway."""
    facts = {"action": entry.action, "user": entry.actor_id, "target": entry.target, "address": entry.address}
    TEAM.set(None)  # no seat needed: if the team's seats were all taken, a finished change would be answered with 500
    try:
        with current_context().pool.connection() as connection:
            AuditLog(connection).record(entry)
    except psycopg.Error as exc:
        log.error("audit.not_recorded", **facts, of_team=entry.team_id, reason=str(exc))
        return
    log.info("audit.recorded", **facts, of_team=entry.team_id)
