"""What a notice says, for programs and for people."""

from datetime import UTC, datetime
from typing import Any

from sync.alerts.store import Notice
from sync.alerts.words import KINDS, TEST, sentence


class NotSent(Exception):
    """Why a notice could not be sent, as a sentence. `is_final`: trying again is no use."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final


def as_json(notice: Notice, *, public_url: str) -> dict[str, Any]:
    """The body of a webhook. `id` is the same each time a notice is tried."""
    return {
        "id": notice.id,
        "type": "alert.test" if notice.kind == TEST else "alert.began" if notice.is_on else "alert.over",
        "kind": notice.kind,
        "teamId": notice.team_id,
        "team": notice.team,
        "title": KINDS[notice.kind].title,
        "message": sentence(notice.kind, notice.details, is_on=notice.is_on),
        "since": _iso(notice.since),
        "overAt": _iso(notice.over_at),
        "details": notice.details,
        "url": address(notice, public_url),
    }


def subject(notice: Notice) -> str:
    """One line, whatever the team's name holds."""
    state = "" if notice.is_on else "over: "
    return " ".join(f"[BillStack] {notice.team}: {state}{KINDS[notice.kind].title}".split())


def text(notice: Notice, public_url: str) -> str:
    lines = [sentence(notice.kind, notice.details, is_on=notice.is_on), ""]
    lines += [f"Team: {notice.team}", f"Since: {_iso(notice.since)}"]
    lines += [f"Over: {_iso(notice.over_at)}"] if notice.over_at else []
    lines += [
        "",
        address(notice, public_url),
        "",
        f"To get no more of these: {public_url}/teams/{notice.team_id}/alerts",
    ]
    return "\n".join(lines) + "\n"


def address(notice: Notice, public_url: str) -> str:
    return f"{public_url}/teams/{notice.team_id}/{KINDS[notice.kind].page}"


def _iso(moment: datetime | None) -> str | None:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else None
