"""The sync's health in one glance: what is proven since when, what comes next, and what is wrong with what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

_STRIPE = "stripe_page.show"
# What fixes a problem: in words, and the page and its part where it is done.
_STEPS = {
    "server": ("See how the sync goes", _STRIPE, "sync"),
    "key": ("Enter a valid key", _STRIPE, "keys"),
    "sync": ("See the last sync", _STRIPE, "sync"),
    "webhook": ("Set up the webhook", _STRIPE, "webhook"),
    "events": ("See the event log", "events.show_log", "content"),
    "comparison": ("See the last comparison", _STRIPE, "reconcile"),
}
_COMPARED_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Problem:
    """`page` is an endpoint of the dashboard, `place` an id on it."""

    sentence: str
    step: str
    page: str
    place: str


def problems(status: Mapping[str, Any]) -> list[Problem]:
    found = [Problem(each["sentence"], *_STEPS[each["about"]]) for each in status["problems"]]
    if not status["connected"]:
        return [Problem(each.sentence, "Connect again", _STRIPE, "content") for each in found]
    if status["syncStatus"] == "error":
        sentences = [each["error"] for each in status["result"].values() if each["error"]]
        found += [Problem(f"The last sync failed: {sentence}", "Sync again", _STRIPE, "sync") for sentence in sentences]
    return found


def compared_at(mirror: Mapping[str, Any]) -> str | None:
    """When every type was compared with Stripe at least once since; None while one never was."""
    moments = [each["comparedAt"] for each in mirror.values()]
    return min(moments) if moments and all(moments) else None


def repaired(mirror: Mapping[str, Any]) -> int:
    """How many objects the last comparison had to repair."""
    return sum(each["differed"] or 0 for each in mirror.values())


def next_comparison(status: Mapping[str, Any], now: datetime) -> str:
    """In words. The scheduler starts one a day after the last full sync or comparison, whichever was later."""
    if not status["connected"]:
        return "none while disconnected"
    last = status["lastReconcile"]
    if last and last["status"] == "running":
        return "running now"
    if status["lastSyncedAt"] is None:
        return "a day after the first sync"
    if status["syncStatus"] == "syncing":
        return "a day after this sync"
    begun = [status["lastSyncedAt"], *([last["startedAt"]] if last else [])]
    due = max(datetime.fromisoformat(moment) for moment in begun) + _COMPARED_EVERY - now
    return in_words(due)


def in_words(left: timedelta) -> str:
    minutes = int(left.total_seconds() // 60)
    if minutes < 1:
        return "in a moment"
    hours = minutes // 60
    return f"in {hours} hour{'s' * (hours > 1)}" if hours else f"in {minutes} minute{'s' * (minutes > 1)}"
