"""The record of comparisons of a mirror with Stripe, and their SQL: one method per statement of records.sql."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from sync.database.session import SILENT_S, watch
from sync.errors import Conflict, LeaseLost
from sync.ids import new_id
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("records.sql")).bind()

# A holder renews with each page; one that did not for so long is taken for dead, and one whose connection is closed is.
LEASE_S = 120

# Stripe lists it and the mirror lacks it or has it otherwise; the mirror has it and Stripe does not list it; a listed
# object names this price, which Stripe need not list and the mirror lacks.
Suspicion = Literal["missing", "stale", "unlisted", "named"]


@dataclass(slots=True)
class Work:
    """A comparison and how far it is, by the holder of its lease.

    `type` is the one at work, compared up to the second `compared_until` of `created`; `suspects` of it differed. `found`
    is what the status shows.
    """

    id: str
    team_id: str
    fence: int
    upper: int | None
    type: str | None
    compared_until: int
    suspects: dict[str, Suspicion] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Idle:
    id: str
    team_id: str
    request_id: str | None
    fence: int


class ReconcileStore:
    """On one connection, in autocommit mode."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def start(self, team_id: str, *, request_id: str | None) -> tuple[str, bool]:
        """The id of a new one, or of the one that runs, and whether it ran already.

        Raises Conflict `backfill_in_progress`: a backfill finds and repairs as much.
        """
        with self.connection.transaction():
            # As a backfill's start does: nobody begins one between our look and our insert.
            self.connection.execute("SELECT 1 FROM billstack.connections WHERE team_id = %s FOR UPDATE", (team_id,))
            running = self.running_backfill(team_id)
            if running:
                raise Conflict(
                    "a backfill of this team is running: wait for it, or cancel it first",
                    code="backfill_in_progress",
                    details={"backfillId": running},
                )
            known = self._run("running", team_id=team_id).fetchone()
            if known:
                return known[0], True
            reconcile_id = new_id("rc")
            self._run("insert", id=reconcile_id, team_id=team_id, request_id=request_id)
            return reconcile_id, False

    def running_backfill(self, team_id: str) -> str | None:
        row = self._run("running_backfill", team_id=team_id).fetchone()
        return row[0] if row else None

    def due_teams(self) -> list[str]:
        return [team_id for (team_id,) in self._run("due_teams").fetchall()]

    def idle(self) -> list[Idle]:
        return [Idle(*row) for row in self._run("idle", silent_s=SILENT_S).fetchall()]

    def acquire(self, reconcile_id: str) -> Work | None:
        """None: somebody else works on it, or it is over."""
        watch(self.connection)
        row = self._run("acquire", id=reconcile_id, lease_s=LEASE_S, silent_s=SILENT_S).fetchone()
        if row is None:
            return None
        fence, team_id, upper, type_name, compared_until, suspects, found = row
        return Work(reconcile_id, team_id, fence, upper, type_name, compared_until, suspects, found)

    def renew(self, work: Work) -> None:
        """Raises LeaseLost."""
        if not self._run("renew", id=work.id, fence=work.fence, lease_s=LEASE_S).fetchone():
            raise _lost(work)

    def save(self, work: Work) -> None:
        """Raises LeaseLost."""
        row = self._run(
            "save",
            id=work.id,
            fence=work.fence,
            upper=work.upper,
            type=work.type,
            compared_until=work.compared_until,
            suspects=Jsonb(work.suspects),
            found=Jsonb(work.found),
            lease_s=LEASE_S,
        ).fetchone()
        if not row:
            raise _lost(work)

    def give_back(self, work: Work) -> None:
        """The turn is over, the work is not."""
        self._run("give_back", id=work.id, fence=work.fence)

    def end(self, work: Work, state: Literal["done", "error", "canceled"], error: str | None = None) -> None:
        self._run("end", id=work.id, fence=work.fence, state=state, error=error)

    def get(self, reconcile_id: str) -> tuple[str, str | None, dict[str, Any]] | None:
        """state, error, found."""
        return self._run("get", id=reconcile_id).fetchone()

    def _run(self, name: str, **params: Any) -> psycopg.Cursor[Any]:
        return self.connection.execute(_QUERIES[name], params)


def _lost(work: Work) -> LeaseLost:
    return LeaseLost(f"comparison {work.id} is another worker's now, or over")
