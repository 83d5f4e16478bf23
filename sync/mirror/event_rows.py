"""What an event's object does to its row: the values of the statements in store.sql, and what their verdict means."""

from typing import Any, Literal

from sync.bounds import CLOCK_LEEWAY_S
from sync.json_text import AsJsonb
from sync.round_trip import Rows

EventVerdict = Literal["applied", "older", "doubtful"]
# By judge_event's word, the statement that writes the row. After any other word, it stays as it is.
_WRITING = {"insert": "insert_event", "update": "update_event", "advance": "advance_event"}


def event_values(object_id: str, raw: bytes, created: int) -> dict[str, Any]:
    """For judge_event, apply_deletion and the statements that write a row."""
    return {"id": object_id, "raw": AsJsonb(raw), "created": created, "leeway_s": CLOCK_LEEWAY_S}


def judged(rows: Rows, created: int, checked_until: int | None) -> tuple[EventVerdict, str | None]:
    """The verdict, from the rows of judge_event, and the name of the statement that must write it."""
    word = rows[0][0] if rows else "insert"
    # A page that read an equal state later leaves the row as it is. The event may be from before that.
    if word == "doubtful" or (word == "update" and created <= (checked_until or 0)):
        return "doubtful", None
    return ("older", None) if word == "older" else ("applied", _WRITING[word])
