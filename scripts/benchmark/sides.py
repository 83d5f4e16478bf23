"""The operations that a mirror must support to be compared, and access to its tables."""

import time
from dataclasses import dataclass
from typing import Protocol

import psycopg
from psycopg import sql

from scripts.benchmark.rig import Rig, Team
from scripts.benchmark.state import BenchError
from sync.database.schema import schema_name
from sync.object_types import ObjectType

# Live rows. In BillStack's tables a deleted object is a tombstone; the peer's tables mark it.
LIVE = sql.SQL("coalesce(to_jsonb(mirrored) ->> 'deleted_at', to_jsonb(mirrored) ->> 'deleted', 'false') = 'false'")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run to its end. `problem` is the error that ended it, or None."""

    problem: str | None
    wall_s: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mirror's tables are. Both sides use the same names, and have an `id` and a price's `unit_amount`."""

    database_url: str
    schema: str

    def live_ids(self, object_type: ObjectType) -> set[str]:
        table = sql.Identifier(self.schema, object_type.table)
        statement = sql.SQL("SELECT id FROM {} AS mirrored WHERE {}").format(table, LIVE)
        with psycopg.connect(self.database_url) as connection:
            return {id for (id,) in connection.execute(statement)}

    def unit_amount(self, price_id: str) -> int | None:
        statement = sql.SQL("SELECT unit_amount FROM {} WHERE id = {}").format(
            sql.Identifier(self.schema, "prices"), sql.Literal(price_id)
        )
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(statement).fetchone()
        return row[0] if row else None


class Side(Protocol):
    """A program that mirrors an account of the sandbox. `prepare` is called once, `mirror` any number of times.

    `as_shipped` undoes our changes to the program, without which it does not get through.
    """

    name: str

    def prepare(self, account: str, *, as_shipped: bool = False) -> None: ...
    def mirror(self, account: str) -> Attempt: ...
    def place(self, account: str) -> Place: ...


class BillStack:
    """One team per account, in the running stack."""

    name = "BillStack"

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._teams: dict[str, Team] = {}

    def prepare(self, account: str, *, as_shipped: bool = False) -> None:
        self._teams[account] = self._rig.connect(account)

    def mirror(self, account: str) -> Attempt:
        started = time.monotonic()
        problem = None
        try:
            self._rig.run_to_end(self._teams[account])
        except BenchError as error:
            problem = str(error)
        return Attempt(problem, time.monotonic() - started)

    def place(self, account: str) -> Place:
        return Place(self._rig.database_url, schema_name(self._teams[account].id))
