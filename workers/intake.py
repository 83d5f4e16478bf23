"""Takes in one delivery of an event: checks it, makes it durable, and sees to it that somebody applies it."""

import re

import msgspec
import psycopg
import redis
import structlog

from sync.connections import Connections
from sync.errors import BadRequest, NotFound
from sync.events import record_event
from sync.ledger import Ledger
from sync.webhook_signature import verify
from workers.context import Context
from workers.queues import wake_events

_TEAM_ID = re.compile(r"team_[a-z0-9_]{1,64}")

log = structlog.get_logger()


def take_event(
    context: Context, team_id: str, body: bytes, signature: str | None, *, now: float, request_id: str | None
) -> bool:
    """False when the event was known already. `now` is in epoch seconds, `body` exactly as it came.

    Raises NotFound for an unknown team, BadRequest for what Stripe did not sign or what is no event, psycopg.Error when it
    could not be recorded. When this returns, the event outlives a crash of everything.
    """
    with context.pool.connection() as connection:
        secrets = Connections(connection, context.box).webhook_secrets(team_id) if _TEAM_ID.fullmatch(team_id) else None
        if secrets is None:
            raise NotFound("there is no such team, or it was never connected to Stripe")
        verify(body, signature, secrets, now=now)
        is_new = _record(connection, team_id, body)
    if is_new:
        _wake(context, team_id, request_id)
    return is_new


def _record(connection: psycopg.Connection, team_id: str, body: bytes) -> bool:
    try:
        return record_event(Ledger(connection, team_id), body, delivered=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, psycopg.DataError) as exc:
        raise BadRequest("the body is no event of Stripe's", code="malformed_event") from exc


def _wake(context: Context, team_id: str, request_id: str | None) -> None:
    try:
        wake_events(context, team_id, request_id=request_id)
    except redis.RedisError as exc:
        # It is recorded: the scheduler finds it as soon as Redis is back.
        log.warning("events.not_woken", team=team_id, reason=str(exc))
