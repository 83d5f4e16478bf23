"""The audit log in Postgres; the statements are in audit_store.sql."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("audit_store.sql")).bind()
# The largest possible id: a list from here starts at the newest entry.
NEWEST = 2**63 - 1
COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry to record. `details` holds nothing secret."""

    action: str
    actor: str = COMMAND_LINE
    actor_id: str | None = None
    team_id: str | None = None
    target: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    address: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    id: int
    at: datetime
    team_id: str | None
    actor_id: str | None
    actor: str
    action: str
    target: str | None
    details: dict[str, Any]
    address: str | None


class AuditLog:
    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def record(self, entry: Entry) -> None:
        self._connection.execute(_QUERIES["record"], asdict(entry) | {"details": Jsonb(entry.details)})

    def list_of_team(self, team_id: str, *, limit: int, before: int = NEWEST) -> list[Recorded]:
        """The newest first."""
        return self._list("list_of_team", team_id=team_id, limit=limit, before=before)

    def list_all(self, *, limit: int, before: int = NEWEST) -> list[Recorded]:
        """The entries of all teams and of the server."""
        return self._list("list_all", limit=limit, before=before)

    def _list(self, query: str, /, **parameters: Any) -> list[Recorded]:
        with self._connection.cursor(row_factory=class_row(Recorded)) as cursor:
            return cursor.execute(_QUERIES[query], parameters).fetchall()
