"""Starts, cancels and lists backfills for the API. Workers do the work."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis
import structlog

from api.http.times import duration_s, iso
from api.webhooks.setup import follow_types
from sync.backfill.records import BackfillStore
from sync.database.schema import ensure_team_schema
from sync.object_types import OBJECT_TYPES
from sync.teams.connections import Connections
from workers.context import Context
from workers.queues import enqueue_due
from workers.redis.progress import read_live

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StartedBackfill:
    """`result` holds the chosen types and their counts so far."""

    id: str
    already_running: bool
    result: dict[str, dict[str, int]]


def start_backfill(
    context: Context, team_id: str, objects: list[str] | None, created_after: datetime | None, request_id: str | None
) -> StartedBackfill:
    """Without `objects`, the backfill covers all types that the team mirrors.

    Raises Conflict `not_connected`, or `backfill_in_progress` while a different backfill runs.
    """
    with context.pool.connection() as connection, connection.transaction():
        connections = Connections(connection, context.box)
        connections.lock(team_id)
        connections.connected(team_id)
        ensure_team_schema(connection, team_id)  # a backup may have left it out
        store = BackfillStore(connection)
        started = store.start(team_id, objects, created_after, request_id=request_id)
        states = store.types(started.id)
    try:
        enqueue_due(context, started.id)
    except redis.RedisError as exc:
        # The backfill is recorded, so the scheduler enqueues its parts as soon as Redis is back.
        log.warning("backfill.not_enqueued", backfill=started.id, reason=str(exc))
    if started.adds_types:
        follow_types(context, team_id)
    shown = read_live(context.redis, started.id).types if started.already_running else {}
    counts = {state.type: max(state.synced, shown[state.type].synced if state.type in shown else 0) for state in states}
    result = {name: {"synced": counts[name]} for name in OBJECT_TYPES if name in counts}
    return StartedBackfill(started.id, started.already_running, result)


def cancel_backfill(context: Context, team_id: str) -> str | None:
    """Returns the canceled backfill's id, or None if none ran. Mirrored data stays; nothing more is written."""
    with context.pool.connection() as connection:
        return BackfillStore(connection).cancel(team_id)


def backfill_history(context: Context, team_id: str, limit: int) -> list[dict[str, Any]]:
    """The newest first."""
    with context.pool.connection() as connection:
        rows = BackfillStore(connection).history(team_id, limit)
    return [_shown(row) for row in rows]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "status": "syncing" if row["state"] == "running" else row["state"],
        "objects": row["objects"],
        "createdAfter": iso(row["created_after"]),
        "startedAt": iso(row["requested_at"]),
        "finishedAt": iso(row["finished_at"]),
        "durationSeconds": duration_s(row["requested_at"], row["finished_at"]),
        "written": int(row["written"] or 0),
        "error": row["error"],
        "warnings": row["warnings"],
        "adopted": row["adopted"],
        "result": {name: row["types"][name] for name in row["objects"]},
    }
