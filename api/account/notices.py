"""One sentence about a running backfill, for a person who sees nothing move."""

from collections.abc import Mapping, Sequence
from typing import Any

from sync.backfill.part_records import FINISH
from sync.object_types import OBJECT_TYPES

# One page of a busy account may take this long. After that, people begin to wonder.
STILL_S = 10
# A failed attempt that is retried at once is no news.
_WORTH_TELLING_S = 2

Work = Mapping[str, Mapping[str, Any]]


def notice(
    work: Work, retries: Mapping[str, Mapping[str, Any]], *, still_s: float | None, workers: int | None
) -> str | None:
    """`work` and `retries` are by part, as in the status.

    `still_s` is the time since any count moved, or None if nothing is counted.
    """
    still = f"No progress for {still_s:.0f} s: " if still_s is not None and still_s >= STILL_S else ""
    is_at_work = any(each["state"] == "working" for each in work.values())
    said = _about_silence(work, workers, is_at_work=is_at_work) or _about_retries(retries)
    if still:
        return still + (said or "waiting for Stripe.")
    return said[0].upper() + said[1:] if said else None


def _about_silence(work: Work, workers: int | None, *, is_at_work: bool) -> str | None:
    if workers == 0 and not is_at_work:
        return "no worker is running. Start the worker process: the sync continues where it stopped."
    if stopped := _in_state(work, "stopped"):
        who = "a worker" if len(stopped) == 1 else f"{len(stopped)} workers"
        return f"{who} stopped. Work on {_named(stopped)} resumes {_until(work, stopped)}."
    if paused := _in_state(work, "paused"):
        silent_s = max(work[part]["silentSeconds"] for part in paused)
        return (
            f"the worker on {_named(paused)} has been silent for {silent_s:.0f} s. It resumes {_until(work, paused)}."
        )
    if not is_at_work and (waiting := _in_state(work, "waiting")):
        waited_s = min(work[part]["silentSeconds"] for part in waiting)
        return f"waiting for a free worker for {waited_s:.0f} s." if waited_s >= _WORTH_TELLING_S else None
    return None


def _until(work: Work, parts: Sequence[str]) -> str:
    """For the part that takes longest. A forecast that has passed is not repeated."""
    within_s = [work[part]["resumesWithinSeconds"] for part in parts]
    is_late = any(within is None or within <= 1 for within in within_s)
    return "as soon as a worker is free" if is_late else f"within {max(within_s)} s"


def _about_retries(retries: Mapping[str, Mapping[str, Any]]) -> str | None:
    worst = max(retries.values(), key=lambda each: each["attempt"], default=None)
    if worst is None or (worst["attempt"] < 2 and worst["nextTryInSeconds"] < _WORTH_TELLING_S):
        return None
    said = f"Stripe answered {worst['status']}" if worst["status"] else "Stripe gave no answer"
    request = f", request {worst['requestId']}" if worst["requestId"] else ""
    soon = f"in {worst['nextTryInSeconds']:.0f} s" if worst["nextTryInSeconds"] >= 1 else "now"
    tries = f"attempt {worst['attempt']} of {worst['attempts']} failed, the next starts {soon}"
    return f"{said} to {worst['path']}{request}: {tries}."


def _in_state(work: Work, state: str) -> list[str]:
    return [part for part, each in work.items() if each["state"] == state]


def _named(parts: Sequence[str]) -> str:
    names = ["the last checks" if part == FINISH else OBJECT_TYPES[part].title.lower() for part in parts]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
