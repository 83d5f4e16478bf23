"""The SQL of the event ledger: the events that Stripe told us of, and their results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg

from sync.database.borrowing import same_connection
from sync.round_trip import Call, RoundTrips, Rows
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("ledger.sql")).bind()

# Longer than a batch's fetches take. Behind a pooler, a dead worker's events wait this long. Otherwise `take_from_dead`
# sees that its connection is closed.
CLAIM_S = 30

# For the transactions that apply events.
SETTINGS = Call(_QUERIES.numbered("settings"), {})
WAIT_FOR_DISK = Call(_QUERIES.numbered("wait_for_disk"), {})
# The statements of a batch that are the same for all teams.
PREPARED = [_QUERIES.numbered(name) for name in ("settings", "settle", "count_applied", "touch_connection")]

EventState = Literal["applied", "skipped", "refused"]


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """`created` is in whole seconds of Stripe's clock. `body` is the event's JSON as Stripe sent it.

    `delivered`: Stripe delivered it to our endpoint. Otherwise we read it from /v1/events.
    """

    id: str
    type: str
    created: int
    body: str
    delivered: bool
    attempts: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An event that ended `waited_s` seconds after we recorded it."""

    type: str
    waited_s: float


class Ledger:
    """One team's events, on one connection. The caller begins and ends transactions."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self.connection = connection
        self.team_id = team_id

    def record(self, event_id: str, event_type: str, created: int, body: str, *, delivered: bool) -> bool:
        """Returns False if the event was known already."""
        row = self._run("record", id=event_id, type=event_type, created=created, body=body, delivered=delivered)
        return row.fetchone() is not None

    def claim(self, limit: int) -> list[LedgerEvent]:
        """Due events, oldest first. Nobody else gets them for CLAIM_S while this connection is open."""
        with same_connection(self.connection) as connection:
            rows = connection.execute(_QUERIES["claim"], self._claim_values(connection, limit)).fetchall()
        return _oldest_first(rows)

    def claim_and_read(self, limit: int, then: Call) -> tuple[list[LedgerEvent], Rows]:
        """Claims in a transaction of its own, and runs `then` after it. Returns the rows of both.

        It does not wait for the disk: a claim that a crash undoes leaves its events due.
        """
        with same_connection(self.connection) as connection:
            claim = Call(_QUERIES.numbered("claim"), self._claim_values(connection, limit))
            _, claimed, rows = RoundTrips(connection).run_all([SETTINGS, claim, then])
        return _oldest_first(claimed), rows

    def _claim_values(self, connection: psycopg.Connection, limit: int) -> dict[str, Any]:
        own_pid = connection.info.backend_pid
        return {"team_id": self.team_id, "limit": limit, "claim_s": CLAIM_S, "own_pid": own_pid}

    def settle(self, ids: Sequence[str], state: EventState, error: str | None = None) -> list[Ended]:
        rows = self._run("settle", ids=list(ids), state=state, error=error).fetchall()
        return [Ended(*row) for row in rows]

    def postpone(self, ids: Sequence[str], error: str) -> list[Ended]:
        """Marks them as failed for now. They keep the error and are retried later."""
        rows = self._run("postpone", ids=list(ids), error=error).fetchall()
        return [Ended(*row) for row in rows]

    def put_back(self, ids: Sequence[str], *, wait_s: int) -> None:
        """Undoes the claim. They come due again after `wait_s`."""
        if ids:
            self._run("put_back", ids=list(ids), wait_s=wait_s)

    def count_applied(self, count: int) -> None:
        """Counts for the team's activity."""
        if count:
            self._run("count_applied", count=count)

    def pending(self, until: int) -> int:
        """Events up to that second of Stripe's clock whose first attempt has not ended.

        If there are none, no crash of Postgres brings one back: what their batches wrote is on the disk then.
        """
        row = self._run("pending", until=until).fetchone()
        count = row[0] if row else 0
        if not count:
            self._run("make_durable")
        return count

    def try_again(self, until: int, *, limit: int) -> int:
        """Makes the newest failed events up to that second pending. Returns how many."""
        return self._run("try_again", until=until, limit=limit).rowcount

    def mentioned(self, ids: Sequence[str], *, since: int) -> set[str]:
        """Those of the objects that have recent events from that second of Stripe's clock or later."""
        rows = self._run("mentioned", ids=list(ids), since=since).fetchall()
        return {object_id for (object_id,) in rows}

    def touch_connection(self, created: int, delivered_version: str | None, *, delivered: bool) -> None:
        """Stores when the last event happened, whether Stripe delivered it just now, and its API version."""
        self._run("touch_connection", created=created, delivered_version=delivered_version, delivered=delivered)

    def replay(
        self, *, type: str | None = None, id: str | None = None, since: int | None = None, failed: bool = False
    ) -> int:
        """Makes events due again, including applied ones. Returns how many."""
        return self._run("replay", type=type, id=id, since=since, failed=failed).rowcount

    def call(self, name: str, **params: Any) -> Call:
        """The statement of the method with this name, for a transaction of few round trips."""
        return Call(_QUERIES.numbered(name), {"team_id": self.team_id, **params})

    def _run(self, name: str, **params: Any) -> psycopg.Cursor[Any]:
        return self.connection.execute(_QUERIES[name], {"team_id": self.team_id, **params})


def _oldest_first(rows: Rows) -> list[LedgerEvent]:
    return sorted((LedgerEvent(*row) for row in rows), key=lambda event: event.created)


@dataclass(frozen=True, slots=True)
class Delivered:
    """An event as Stripe delivered it to a team's endpoint. `created` is in whole seconds."""

    team_id: str
    id: str
    type: str
    created: int
    body: str


def record_delivered(connection: psycopg.Connection, events: Sequence[Delivered]) -> set[tuple[str, str]]:
    """Durable once it returns. Returns the team and id of each event that was new.

    One bad event makes Postgres refuse all of them: psycopg.DataError.
    """
    columns = {
        "team_ids": [event.team_id for event in events],
        "ids": [event.id for event in events],
        "types": [event.type for event in events],
        "createds": [event.created for event in events],
        "bodies": [event.body for event in events],
    }
    return set(connection.execute(_QUERIES["record_delivered"], columns).fetchall())


def teams_waiting(connection: psycopg.Connection, *, due_for_s: float) -> list[str]:
    """Connected teams with unapplied events that came due at least that long ago."""
    rows = connection.execute(_QUERIES["teams_waiting"], {"due_for_s": due_for_s}).fetchall()
    return [team_id for (team_id,) in rows]


def take_from_dead(connection: psycopg.Connection) -> int:
    """Makes events due again if their worker died while applying them. Returns how many."""
    return connection.execute(_QUERIES["take_from_dead"]).rowcount


def prune(connection: psycopg.Connection, limit: int) -> int:
    """Deletes up to `limit` of the oldest events, which Stripe has forgotten too. Returns how many."""
    return connection.execute(_QUERIES["prune"], {"limit": limit}).rowcount


def backlog(connection: psycopg.Connection) -> tuple[int, float]:
    """How many events of all teams are unapplied, and how many seconds the oldest has waited."""
    row = connection.execute(_QUERIES["backlog"]).fetchone()
    return (row[0], row[1] or 0.0) if row else (0, 0.0)
