"""How times look in our JSON: ISO 8601, UTC, whole seconds, `Z`."""

from datetime import UTC, datetime


def iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
