"""How times look in our JSON: ISO 8601, UTC, whole seconds, `Z`."""

from datetime import UTC, datetime

from sync.stored_values import EARLIEST, LATEST


def iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z" if moment else None


def since_1970(second: float | None) -> datetime | None:
    """Seconds from Postgres' JSON as a datetime. Beyond Python's years it is the nearest one."""
    if second is None:
        return None
    try:
        return datetime.fromtimestamp(second, UTC)
    except (ValueError, OverflowError, OSError):
        return LATEST if second > 0 else EARLIEST


def duration_s(started: datetime | None, finished: datetime | None) -> float | None:
    """Milliseconds: with whole seconds, short runs would show only a few different speeds. None while it runs."""
    return round((finished - started).total_seconds(), 3) if started and finished else None
