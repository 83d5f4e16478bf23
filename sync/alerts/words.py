"""The kinds of alerts, and their words for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Events that wait for longer are behind.
BEHIND_S = 600
TEST = "test"

Page = Literal["stripe", "events", "repairs"]


@dataclass(frozen=True, slots=True)
class Kind:
    """`began` and `over` are sentences. `page` is where a person looks next."""

    title: str
    began: str
    over: str
    page: Page


KINDS: Mapping[str, Kind] = {
    "key_refused": Kind(
        "Key refused",
        "Stripe refuses the team's key, so changes no longer reach the mirror. Enter a new key.",
        "Stripe accepts the team's key again.",
        "stripe",
    ),
    "backfill_failed": Kind(
        "Sync failed",
        "The last sync failed for at least one object type. See its error, and sync again.",
        "A sync ended without errors.",
        "stripe",
    ),
    "drift_found": Kind(
        "Drift found",
        "A comparison found objects that differed from Stripe, and repaired them. See which.",
        "The mirror was equal to Stripe again.",
        "repairs",
    ),
    "events_behind": Kind(
        "Events behind",
        f"Events have waited for more than {BEHIND_S // 60} minutes. See which, and why.",
        "Events arrive in time again.",
        "events",
    ),
    "schema_outdated": Kind(
        "Schema outdated",
        "The tables of the mirror are of an older version than the program. An operator must run init-db.",
        "The tables of the mirror are of the program's version again.",
        "stripe",
    ),
    TEST: Kind("Test", "This is a test. Alerts of this team arrive here.", "", "stripe"),
}


def sentence(kind: str, details: Mapping[str, Any], *, is_on: bool) -> str:
    """With the error that came with it, if there was one."""
    words = KINDS[kind]
    if not is_on:
        return words.over
    error = details.get("error")
    return f"{words.began} The error was: {error}" if error else words.began
