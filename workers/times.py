"""How times look in our JSON: ISO 8601, UTC, whole seconds, `Z`."""

from datetime import UTC, datetime


def iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def since_1970(second: float | None) -> datetime | None:
    """What Postgres puts into JSON as seconds."""
    return None if second is None else datetime.fromtimestamp(second, UTC)


def duration_s(started: datetime | None, finished: datetime | None) -> float | None:
    """To the millisecond: whole seconds would give short runs the same few speeds. None while it is not over."""
    return round((finished - started).total_seconds(), 3) if started and finished else None
