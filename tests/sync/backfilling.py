"""Runs the real backfill code against a simulated Stripe, part by part, in worker processes that can die at any point."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from scripts.comparison import Difference, compare, mirrored_objects
from sync.backfill.part import Ended, PartRun
from sync.backfill.part_records import Part, PartStore
from sync.backfill.records import Backfill, BackfillStore, TypeState
from sync.backfill.tools import BackfillTools
from sync.mirror.store import MirrorStore
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES
from sync.stripe.curl import HttpAnswer
from sync.stripe.retries import BACKGROUND_ATTEMPTS
from tests.sync.conftest import Team
from tests.sync.simulated_stripe import Budget, SimulatedStripe, mirrored_of, source_of

# More turns than any backfill of a test needs.
MOST_TURNS = 400


class Killed(Exception):
    """The process is dead: nothing that it would do happens any more."""


class Process:
    """Counts what a worker does, statements, commits and requests, and dies as a whole after so many of them."""

    def __init__(self, *, dies_after: int | None = None) -> None:
        self._left = dies_after
        self._lock = threading.Lock()
        self.is_dead = False

    def step(self) -> None:
        with self._lock:
            if self._left is not None:
                self._left -= 1
                self.is_dead = self.is_dead or self._left < 0
        if self.is_dead:
            raise Killed


class MortalConnection(psycopg.Connection[Any]):
    """A connection to the real Postgres that ends with its process: before a statement, before Postgres has answered, or
    right after a commit.
    """

    process: Process

    def execute(self, *args: Any, **options: Any) -> psycopg.Cursor[Any]:
        self._step()
        return super().execute(*args, **options)

    @contextmanager
    def transaction(self, *args: Any, **options: Any) -> Iterator[psycopg.Transaction]:
        with super().transaction(*args, **options) as transaction:
            yield transaction
        self._step()

    def fileno(self) -> int:
        """Asked for by sync/round_trip.py before it sends a page, and once more before it waits for the answer."""
        self._step()
        return super().fileno()

    def _step(self) -> None:
        try:
            self.process.step()
        except Killed:
            self.close()
            raise psycopg.OperationalError("the connection is lost") from None


class MortalTransport(SimulatedStripe):
    """The requests of one process to a Stripe that all share."""

    def __init__(self, simulated: SimulatedStripe, process: Process) -> None:
        super().__init__(simulated.account, simulated.clock)
        self._simulated = simulated
        self._process = process

    def send(self, *args: Any, **options: Any) -> HttpAnswer:
        self._process.step()
        found = self._simulated.send(*args, **options)
        self._process.step()
        return found


@dataclass
class Backfilling:
    """One team's backfills. The time that leases need to run out passes when `let_leases_run_out` says so."""

    team: Team
    stripe: SimulatedStripe
    page_size: int = 100
    attempts: int = BACKGROUND_ATTEMPTS
    budget: Budget = field(default_factory=Budget)
    shown: list[TypeState] = field(default_factory=list)

    @property
    def store(self) -> BackfillStore:
        return BackfillStore(self.team.connection)

    @property
    def parts(self) -> PartStore:
        return PartStore(self.team.connection)

    @property
    def mirror(self) -> MirrorStore:
        return MirrorStore(self.team.connection, self.team.id)

    def start(self, *types: str, created_after: datetime | None = None) -> str:
        return self.store.start(self.team.id, types or list(DEFAULT_TYPES), created_after, request_id=None).id

    def get(self, backfill_id: str) -> Backfill:
        found = self.store.get(backfill_id)
        assert found
        return found

    def tools(self, process: Process, should_yield: Callable[[], bool]) -> BackfillTools:
        def connect() -> MortalConnection:
            if process.is_dead:
                raise psycopg.OperationalError("a dead process connects to nothing")
            connection = MortalConnection.connect(self.team.database_url, autocommit=True)
            connection.process = process
            return connection

        source = source_of(
            MortalTransport(self.stripe, process), page_size=self.page_size, attempts=self.attempts, budget=self.budget
        )
        return BackfillTools(source, connect, should_yield)

    def work_on(
        self,
        backfill_id: str,
        part: str,
        *,
        process: Process | None = None,
        should_yield: Callable[[], bool] = lambda: False,
    ) -> Ended | None:
        """One turn on a part; None when the process died in it."""
        process = process or Process()
        tools = self.tools(process, should_yield)
        try:
            with tools.connect() as connection:
                return PartRun(
                    self.get(backfill_id), part, mirrored_of(self.stripe), tools, self.shown.append, connection
                ).run()
        except (psycopg.OperationalError, Killed):
            if not process.is_dead:
                raise
            return None

    def due(self, backfill_id: str) -> list[Part]:
        return self.parts.due_parts(backfill_id)

    def let_leases_run_out(self) -> None:
        """Also the claims on events: a minute passes."""
        self.team.connection.execute(
            """
            UPDATE billstack.leases SET renewed_at = renewed_at - interval '60 seconds'
            FROM billstack.backfills
            WHERE backfills.id = leases.backfill_id AND team_id = %s AND held
            """,
            (self.team.id,),
        )

        self.team.connection.execute(
            "UPDATE billstack.events SET next_attempt_at = now() - interval '1 second' WHERE team_id = %s",
            (self.team.id,),
        )

    def run(self, backfill_id: str, take_turn: Callable[[str, str], object] | None = None) -> str:
        """Lets every part have turns until the backfill ends; returns its state."""
        take_turn = take_turn or self.work_on
        for _ in range(MOST_TURNS):
            if (state := self.get(backfill_id).state) != "running":
                return state
            due = self.due(backfill_id)
            if not due:
                self.let_leases_run_out()
            for part in due:
                take_turn(backfill_id, part.part)
        raise AssertionError(f"not at its end after {MOST_TURNS} turns: {self.due(backfill_id)}")

    def synced(self, backfill_id: str) -> dict[str, int]:
        return {state.type: state.synced for state in self.store.types(backfill_id)}

    def differences(self, *types: str) -> list[Difference]:
        """How the mirror differs from Stripe, of the types in which it does."""
        with psycopg.connect(self.team.database_url) as connection:
            every = [
                compare(
                    name,
                    self.stripe.account.state.dump(name, full=True),
                    mirrored_objects(connection, self.team.id, OBJECT_TYPES[name]),
                )
                for name in types or DEFAULT_TYPES
            ]
        return [difference for difference in every if not difference.is_equal]


def turns_of(requests: int) -> Callable[[], bool]:
    """A turn that is over after about so many looks at it."""
    left = [requests]

    def is_over() -> bool:
        left[0] -= 1
        return left[0] < 0

    return is_over


def dice(seed: int | str) -> random.Random:
    return random.Random(seed)
