"""Answers GET status with one read of Postgres, one of Redis and none of Stripe."""

from typing import Any

from api.account.mirror_shown import last_full_sync, mirror_shown
from api.account.notices import notice
from api.account.retries_shown import retries_shown
from api.account.work_shown import is_working, work_shown
from api.http.times import duration_s, iso, since_1970
from api.webhooks.shown import webhook_address, webhook_shown, webhook_warnings
from sync.teams.connections import Connections
from workers.context import Context
from workers.redis.progress import Shown, ShownType, read_live

_SYNC_STATUS = {"running": "syncing", "ready": "ready", "error": "error", None: "pending"}
_MOST_COUNTED = 1000  # failed events; the statement `status` stops counting there


def read_status(context: Context, team_id: str) -> dict[str, Any]:
    """In the contract's shape, also for a team that was never connected."""
    with context.pool.connection() as connection:
        row = Connections(connection, context.box).status(team_id)
    if row is None:
        return _never_connected()
    shown = read_live(context.redis, row["id"]) if row["state"] == "running" else Shown()
    mirror = mirror_shown(row)
    webhook = webhook_shown(row, webhook_address(context.settings.public_url, team_id))
    problems = _problems(row, shown)
    return {
        "connected": row["connected"],
        "isActive": row["connected"] and row["key_valid"],
        "syncStatus": _SYNC_STATUS[row["state"]],
        "schemaExists": row["schema_exists"],
        "keyValid": row["connected"] and row["key_valid"],
        "accountName": row["account_name"],
        "accountId": row["account_id"],
        "livemode": row["livemode"],
        "apiVersion": row["api_version"],
        "lastSyncedAt": iso(row["last_synced_at"]),
        "lastFullSyncAt": last_full_sync(mirror),
        "lastEventAt": iso(row["last_event_at"]),
        "warnings": [problem["sentence"] for problem in problems],
        "problems": problems,
        "result": {
            name: _type_shown(row["types"][name], shown.types.get(name))
            for name in row["objects"] or []
            if row["types"]
        },
        "mirror": mirror,
        "webhook": webhook,
        "backfill": _backfill_shown(row, shown),
        "lastRun": _last_run_shown(row["last_run"]),
        "lastReconcile": _reconcile_shown(row),
    }


def _problems(row: dict[str, Any], shown: Shown) -> list[dict[str, str]]:
    """What is wrong, and what it is about: where a page leads somebody who wants to fix it."""
    sentences = {
        "server": [*_postgres_warnings(row), *shown.trouble],
        "key": _key_warnings(row),
        "sync": row["warnings"] or [],
        "webhook": webhook_warnings(row),
        "events": _event_warnings(row),
        "comparison": _not_stored(row),
    }
    return [{"about": about, "sentence": sentence} for about, found in sentences.items() for sentence in found]


def _postgres_warnings(row: dict[str, Any]) -> list[str]:
    if not row["is_read_only"]:
        return []
    return [
        "Postgres is read-only, and the mirror stands still. All goes on by itself once Postgres takes changes again."
    ]


def _key_warnings(row: dict[str, Any]) -> list[str]:
    if not row["connected"]:
        return ["The team is disconnected, so the mirror is not updated: connect it again to continue."]
    if row["key_valid"]:
        return []
    return [
        "Stripe refuses the stored key, so the mirror is not updated: connect again with a valid key for the account."
    ]


def _event_warnings(row: dict[str, Any]) -> list[str]:
    """Problems with receiving or applying events."""
    warnings = [row["sweep_error"]] if row["sweep_error"] else []
    if row["events_unread"]:
        warnings.append(
            "Stripe keeps events for 30 days, and BillStack read none for longer than that. Changes from before may be"
            " missing until the daily comparison with Stripe repairs them. A full backfill does it at once."
        )
    if count := row["failed_events"]:
        told = "1 event" if count == 1 else f"{'at least ' * (count == _MOST_COUNTED)}{count} events"
        warnings.append(
            f"{told} could not be applied yet, so their objects may be out of date. BillStack retries them by itself."
            f" The oldest one: {row['failed_event_error']}"
        )
    if row["delivered_version"] not in (None, row["api_version"]):
        warnings.append(
            f"Stripe delivers events in API version {row['delivered_version']}, so each one costs an extra request: pin"
            f" the webhook endpoint to {row['api_version']}, or let BillStack set it up."
        )
    return warnings


def _not_stored(row: dict[str, Any]) -> list[str]:
    """Objects that the last comparison could not repair."""
    return [
        f"{met['count']} {name} object{'s' if met['count'] > 1 else ''} could not be stored when the mirror was last"
        f" compared with Stripe, for example {met['ids'][-1]}: {met['reason']}"
        for name, found in (row["reconcile_found"] or {}).items()
        if (met := found.get("notStored")) and met["count"]
    ]


def _never_connected() -> dict[str, Any]:
    account = ("accountName", "accountId", "livemode", "apiVersion")
    absent = (*account, "lastSyncedAt", "lastFullSyncAt", "lastEventAt", "backfill", "lastRun", "lastReconcile")
    false = ("connected", "isActive", "schemaExists", "keyValid")
    return {
        **dict.fromkeys(false, False),
        "syncStatus": "pending",
        **dict.fromkeys(absent),
        "warnings": [],
        "problems": [],
        "result": {},
        "mirror": {},
        "webhook": None,
    }


def _type_shown(stored: dict[str, Any], shown: ShownType | None) -> dict[str, Any]:
    """Redis is never ahead of what is durable, but may be a moment ahead of our read of Postgres."""
    if shown is None or stored["status"] != "syncing":
        return stored
    return {
        **stored,
        "synced": max(stored["synced"], shown.synced),
        "progress": round(max(stored["progress"], shown.progress), 4),
    }


def _backfill_shown(row: dict[str, Any], shown: Shown) -> dict[str, Any] | None:
    """If nobody works, the speed is zero, whatever a dead worker reported last."""
    if row["id"] is None:
        return None
    work = work_shown(row["parts"])
    retries = retries_shown(shown.retries, work)
    still_s = _still_s(row)
    return {
        "id": row["id"],
        "objects": row["objects"],
        "createdAfter": iso(row["created_after"]),
        "startedAt": iso(row["requested_at"]),
        "finishedAt": iso(row["finished_at"]),
        "durationSeconds": duration_s(row["requested_at"], row["finished_at"]),
        "objectsPerSecond": round(sum(each.rate for name, each in shown.types.items() if is_working(work.get(name)))),
        "etaSeconds": _eta_s(row["types"] or {}, shown, work),
        "noProgressSeconds": still_s,
        "retries": retries,
        "notice": notice(work, retries, still_s=still_s, workers=shown.workers),
        "error": row["error"],
        "written": int(row["written"] or 0),
        "work": work,
        "workers": shown.workers,
    }


def _still_s(row: dict[str, Any]) -> int | None:
    """Seconds since anything moved. None once all lists are read: the work after that moves no count."""
    moved = [each["stillS"] for each in (row["parts"] or {}).values() if each["stillS"] is not None]
    is_reading = any(_is_open(each) for each in (row["types"] or {}).values())
    return int(max(0.0, min(moved))) if moved and is_reading else None


def _is_open(of_type: dict[str, Any]) -> bool:
    return of_type["status"] in ("pending", "syncing")


def _last_run_shown(run: dict[str, Any] | None) -> dict[str, Any] | None:
    """The last backfill as the history shows it, even if it was canceled."""
    if run is None:
        return None
    times = {key: since_1970(run[key]) for key in ("createdAfter", "startedAt", "finishedAt")}
    return run | {
        **{key: iso(moment) for key, moment in times.items()},
        "durationSeconds": duration_s(times["startedAt"], times["finishedAt"]),
        "written": run["written"] or 0,
        "result": {name: run["result"][name] for name in run["objects"] if run["result"]},
    }


def _reconcile_shown(row: dict[str, Any]) -> dict[str, Any] | None:
    if row["reconcile_id"] is None:
        return None
    return {
        "id": row["reconcile_id"],
        "status": row["reconcile_state"],
        "startedAt": iso(row["reconcile_requested_at"]),
        "finishedAt": iso(row["reconcile_finished_at"]),
        "result": row["reconcile_found"],
        "durationSeconds": duration_s(row["reconcile_requested_at"], row["reconcile_finished_at"]),
        "error": row["reconcile_error"],
    }


def _eta_s(types: dict[str, Any], shown: Shown, work: dict[str, dict[str, Any]]) -> int | None:
    """Until the slowest type has read its lists; types run side by side. None if one type's time is unknown."""
    open_types = [name for name, each in types.items() if _is_open(each)]
    etas = [
        shown.types[name].eta_s if name in shown.types and is_working(work.get(name)) else None for name in open_types
    ]
    known = [eta for eta in etas if eta is not None]
    return round(max(known)) if known and len(known) == len(etas) else None
