"""What the page says of the mirror: what it holds now, and how far that can be relied on, apart from any run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MirrorCard:
    """`word` and `kind` are the badge's, `sentence` says what they mean. `right_as_of`: of all types the oldest."""

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
    """Green is what is complete and kept so."""
    if of_type["complete"]:
        return TypeState("Complete", "good" if is_active else "")
    return TypeState("Incomplete", "warn") if of_type["objects"] else TypeState("Empty", "")


def _state(status: Status) -> tuple[str, str, str]:
    """The badge's word and kind, and the sentence."""
    mirror, run = status["mirror"].values(), status["lastRun"] or {}
    if not status["connected"]:
        return "Disconnected", "warn", "Nothing is read from Stripe any more. The mirror stays as it was."
    if not status["keyValid"]:
        return (
            "Standing still",
            "bad",
            "Stripe refuses the stored key. The mirror stays as it was until you replace it.",
        )
    if all(each["complete"] for each in mirror):
        return "Complete", "good", "Every object that Stripe had by then is here."
    if run.get("status") == "syncing":
        return "Filling", "busy", "The first sync is under way. Until it ends, more may be missing."
    if not any(each["objects"] for each in mirror):
        return "Empty", "", "Nothing is mirrored yet."
    return "Incomplete", "warn", _why_incomplete(run)


def _why_incomplete(run: Mapping[str, Any]) -> str:
    """What was read is there; what was not read is not known to be missing either."""
    how = {"canceled": "was canceled", "error": "failed in part"}.get(run.get("status", ""), "left some types out")
    return f"The last sync {how}, and no sync has read everything yet. More may be missing, and what is here may be out of date."
