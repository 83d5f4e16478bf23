"""The mirror card: what the mirror holds now and how far it can be trusted, apart from any backfill."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MirrorCard:
    """`word` and `kind` make the badge; `sentence` explains it. `right_as_of` is the oldest of all types."""

    total: int
    right_as_of: str | None
    word: str
    kind: str
    sentence: str


@dataclass(frozen=True, slots=True)
class TypeState:
    word: str
    kind: str


def mirror_card(status: Status) -> MirrorCard:
    mirror = status["mirror"]
    moments = [each["rightAsOf"] for each in mirror.values()]
    known = min(moments) if moments and all(moments) else None
    total = sum(each["objects"] for each in mirror.values())
    return MirrorCard(total, known, *_state(status))


def type_state(of_type: Mapping[str, Any], *, is_active: bool) -> TypeState:
    """Green means complete and kept up to date."""
    if of_type["complete"]:
        return TypeState("Complete", "good" if is_active else "")
    return TypeState("Incomplete", "warn") if of_type["objects"] else TypeState("Empty", "")


def _state(status: Status) -> tuple[str, str, str]:
    """The badge's word and kind, and the sentence."""
    mirror, run = status["mirror"].values(), status["lastRun"] or {}
    if not status["connected"]:
        return "Disconnected", "warn", "BillStack no longer reads from Stripe. The mirror stays as it is."
    if not status["keyValid"]:
        return (
            "Standing still",
            "bad",
            "Stripe refuses the stored key. The mirror is not updated until you replace it.",
        )
    if all(each["complete"] for each in mirror):
        return "Complete", "good", "Every object that Stripe had by then is here."
    if run.get("status") == "syncing":
        return "Filling", "busy", "The first sync is running. Until it ends, objects may be missing."
    if not any(each["objects"] for each in mirror):
        return "Empty", "", "Nothing is mirrored yet."
    return "Incomplete", "warn", _why_incomplete(run)


def _why_incomplete(run: Mapping[str, Any]) -> str:
    """What was read is in the mirror. Whether anything else is missing is unknown."""
    how = {"canceled": "was canceled", "error": "failed in part"}.get(run.get("status", ""), "left some types out")
    return f"The last sync {how}, and no sync has read everything yet. Objects may be missing or out of date."
