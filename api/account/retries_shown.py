"""The requests to Stripe that are being retried, for GET status."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from api.account.work_shown import is_working
from api.http.times import iso
from workers.redis.progress import ShownRetry

# Longer than any attempt takes. An older entry was left by a process that has ended.
_STALE_S = 90.0


def retries_shown(retries: Mapping[str, ShownRetry], work: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By part: the request that failed most often. Only parts that a worker holds."""
    now = time.time()
    return {
        part: _shown(each, now)
        for part, each in retries.items()
        if is_working(work.get(part)) and now - each.next_at < _STALE_S
    }


def _shown(shown: ShownRetry, now: float) -> dict[str, Any]:
    retry = shown.retry
    return {
        "path": retry.path,
        "status": retry.status,
        "message": retry.message,
        "requestId": retry.request_id,
        "attempt": retry.attempt,
        "attempts": retry.attempts,
        "nextTryAt": iso(datetime.fromtimestamp(shown.next_at, UTC)),
        "nextTryInSeconds": round(max(0.0, shown.next_at - now), 1),
    }
