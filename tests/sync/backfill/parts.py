"""What tests of backfills' records and parts share: starting, ageing leases, what is due, ending a type."""

from datetime import UTC, datetime

from sync.backfill.part_records import PartStore
from sync.backfill.records import BackfillStore
from sync.object_types import DEFAULT_TYPES
from tests.sync.conftest import Team

EVERY = list(DEFAULT_TYPES)
AFTER = datetime(2025, 1, 1, tzinfo=UTC)


def start(backfills: BackfillStore, team: Team, objects: list[str] | None = None, after: datetime | None = None) -> str:
    return backfills.start(team.id, objects or EVERY, after, request_id=None).id


def age(backfills: BackfillStore, backfill_id: str, seconds: int = 31) -> None:
    """As if nobody had touched its leases for so long."""
    backfills.connection.execute(
        "UPDATE billstack.leases SET renewed_at = renewed_at - %s * interval '1 second' WHERE backfill_id = %s",
        (seconds, backfill_id),
    )


def due(backfills: BackfillStore, backfill_id: str) -> list[str]:
    return sorted(part.part for part in PartStore(backfills.connection).due_parts(backfill_id))


def end_type(backfills: BackfillStore, backfill_id: str, name: str, *, status: str = "ready") -> None:
    """A type that is ready has been read to its end."""
    fence = PartStore(backfills.connection).acquire(backfill_id, name)
    assert fence
    if status == "ready":
        backfills.close_windows(backfill_id, name, gte=0)
    backfills.end_type(backfill_id, name, fence, status=status, error=None if status == "ready" else "No.")
    assert PartStore(backfills.connection).give_back(backfill_id, name, fence, done=True)
