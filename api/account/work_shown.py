"""The workers on the parts of a running backfill, and when a stalled part resumes, for GET status.

working   the holder renewed its lease just now
paused    the holder is silent but connected: a stopped process, a slow Postgres, or a host that has just died
stopped   the holder is dead
waiting   nobody holds it: its job waits for a free worker
"""

import math
from datetime import UTC, datetime
from typing import Any

from api.http.times import iso
from sync.backfill.part_records import FINISH, LEASE_S, POOLED_LEASE_S
from sync.database.session import SILENT_S

# The longest time from a holder's death to its replacement: SILENT_S, the scheduler's next look, a free worker.
TAKEN_OVER_S = 10


def work_shown(parts: dict[str, dict[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """By unfinished part: an object type, or `finish` once only that is left."""
    found = {part: lease for part, lease in (parts or {}).items() if not lease["done"]}
    return {part: _shown(lease) for part, lease in found.items() if part != FINISH or len(found) == 1}


def is_working(work: dict[str, Any] | None) -> bool:
    return work is not None and work["state"] == "working"


def _shown(lease: dict[str, Any]) -> dict[str, Any]:
    silent_s, state = max(0.0, lease["silentS"]), _state(lease)
    lasts_s = POOLED_LEASE_S if lease["pooled"] else LEASE_S
    limit_s = {"paused": lasts_s + TAKEN_OVER_S - SILENT_S, "stopped": TAKEN_OVER_S}.get(state)
    return {
        "state": state,
        "holder": lease["holder"] if lease["held"] else None,
        "renewedAt": iso(datetime.fromtimestamp(lease["renewed"], UTC)),
        "silentSeconds": round(silent_s, 1),
        "resumesWithinSeconds": max(1, math.ceil(limit_s - silent_s)) if limit_s else None,
    }


def _state(lease: dict[str, Any]) -> str:
    if not lease["held"]:
        return "waiting"
    if lease["ended"]:
        return "stopped"
    return "paused" if lease["silentS"] > SILENT_S else "working"
