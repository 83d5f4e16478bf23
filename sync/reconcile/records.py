"""The records of comparisons, and their SQL: one method per statement of records.sql."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from sync.database.session import SILENT_S
from sync.errors import Conflict, LeaseLost
from sync.ids import new_id
from sync.sql import Queries

_QUERIES = Queries(Path(__file__).with_name("records.sql")).bind()

# A holder renews its lease with each page. After this long without, or when its connection is closed, it counts as
# dead.
LEASE_S = 120

# Stripe lists it, and the mirror lacks it or has it otherwise. The mirror has it, and Stripe does not list it. Or a
# listed object names a price that the mirror lacks; Stripe need not list those.
Suspicion = Literal["missing", "stale", "unlisted", "named"]


@dataclass(slots=True)
class Work:
    """A comparison and its position, for the holder of its lease.

    `type` is being compared and is done up to the second `compared_until` of `created`, or up to the parent
    `parents_until`; its `suspects` differed. Their value is the Suspicion, followed by a space and the parent if the
    type has one. The status shows `found`.
    """

    id: str
    team_id: str
    fence: int
    upper: int | None
    type: str | None
    compared_until: int
    parents_until: str
    suspects: dict[str, str] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Idle:
    id: str
    team_id: str
    request_id: str | None
    fence: int


class ReconcileStore:
    """Works on one connection in autocommit mode."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def start(self, team_id: str, *, request_id: str | None) -> tuple[str, bool]:
        """Returns the id of a new comparison, or of the running one, and whether it ran already.

        Raises Conflict `backfill_in_progress`: a backfill finds and repairs as much.
        """
        with self.connection.transaction():
            # A backfill's start locks this row too, so none can begin between our check and our insert.
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
        """None if another worker holds it, or if it is over."""
        row = self._run("acquire", id=reconcile_id, lease_s=LEASE_S, silent_s=SILENT_S).fetchone()
        if row is None:
            return None
        fence, team_id, upper, type_name, compared_until, parents_until, suspects, found = row
        return Work(reconcile_id, team_id, fence, upper, type_name, compared_until, parents_until, suspects, found)

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
            parents_until=work.parents_until,
            suspects=Jsonb(work.suspects),
            found=Jsonb(work.found),
            lease_s=LEASE_S,
        ).fetchone()
        if not row:
            raise _lost(work)

    def give_back(self, work: Work) -> None:
        """The turn is over, but the comparison is not."""
        self._run("give_back", id=work.id, fence=work.fence)

    def end(self, work: Work, state: Literal["done", "error", "canceled"], error: str | None = None) -> None:
        self._run("end", id=work.id, fence=work.fence, state=state, error=error)

    def get(self, reconcile_id: str) -> tuple[str, str | None, dict[str, Any]] | None:
        """state, error, found."""
        return self._run("get", id=reconcile_id).fetchone()

    def _run(self, name: str, **params: Any) -> psycopg.Cursor[Any]:
        return self.connection.execute(_QUERIES[name], params)


def _lost(work: Work) -> LeaseLost:
    return LeaseLost(f"comparison {work.id} now belongs to another worker, or is over")
