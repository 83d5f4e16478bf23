"""Times as the contract writes them."""

from datetime import UTC, datetime


def iso(moment: datetime) -> str:
    """`2026-03-30T12:00:00Z`: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
