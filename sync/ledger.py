"""The SQL of the event ledger: what Stripe told us of, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("ledger.sql")).bind()

EventState = Literal["applied", "skipped", "refused"]


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """`created` is in whole seconds of Stripe's clock; `body` is the event's JSON as Stripe sent it."""

    id: str
    type: str
    created: int
    body: str
    attempts: int


class Ledger:
    """One team's events, on one connection; transactions are the caller's."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self.connection = connection
        self.team_id = team_id

    def record(self, event_id: str, event_type: str, created: int, body: str) -> bool:
        """False when the event is known already."""
        row = self._run("record", id=event_id, type=event_type, created=created, body=body).fetchone()
        return row is not None

    def claim(self, limit: int) -> list[LedgerEvent]:
        """Events that are due, oldest first; nobody else gets them for a minute."""
        with self.connection.cursor(row_factory=class_row(LedgerEvent)) as cursor:
            events = cursor.execute(_QUERIES["claim"], {"team_id": self.team_id, "limit": limit}).fetchall()
        return sorted(events, key=lambda event: event.created)

    def settle(self, ids: Sequence[str], state: EventState, error: str | None = None) -> None:
        self._run("settle", ids=list(ids), state=state, error=error)

    def postpone(self, ids: Sequence[str], error: str) -> None:
        """Failed for now: kept with its error and tried again later."""
        self._run("postpone", ids=list(ids), error=error)

    def unsettled(self, until: int) -> int:
        """Events up to that second of Stripe's clock that are still to be applied."""
        row = self._run("unsettled", until=until).fetchone()
        return row[0] if row else 0

    def waiting(self) -> int:
        """Events that could be applied now."""
        row = self._run("waiting").fetchone()
        return row[0] if row else 0

    def touch_connection(self, created: int) -> None:
        """The status shows when the last event happened."""
        self._run("touch_connection", created=created)

    def _run(self, name: str, **params: Any) -> psycopg.Cursor[Any]:
        return self.connection.execute(_QUERIES[name], {"team_id": self.team_id, **params})
