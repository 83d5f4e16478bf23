"""Upgrades a database while other hosts, and programs of the previous version, use it.

The control schema comes first, then each team's schema that lacks something, each in its own transaction. Anything that
waits for a lock makes others wait behind it. So an upgrade waits half a second for a lock, gives up, and tries again.
"""

import hashlib
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg import errors, sql

from sync.database import dbt
from sync.database.rebuild import Rebuild, Shape, changed_tables, changed_views, drop_views, lacks, shapes
from sync.database.schema import (
    OLDEST_PROGRAM,
    SCHEMA_VERSION,
    control_part,
    control_version,
    create_team_schema,
    lock,
    make_tables,
    make_views,
    mark,
    refuse_newer,
    schema_name,
    tables_of,
    team_version,
    types_with_tables,
)
from sync.errors import SchemaError
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES, in_order
from sync.sql import Queries

# Before this version, the functions behind generated columns gave other values. Older tables of objects are rebuilt.
_VALUES_SINCE = 3
# How long a deploy may wait for a forgotten open transaction.
PATIENCE_S = 300.0
_PAUSES_S = (0.1, 0.3, 1.0)  # between attempts
_LONGEST_PAUSE_S = 3.0
_TELL_EVERY_S = 2.0
_IN_THE_WAY = (errors.LockNotAvailable, errors.DeadlockDetected)

T = TypeVar("T")
_QUERIES = Queries(Path(__file__).with_name("upgrade.sql")).bind()


def upgrade(
    connection: psycopg.Connection,
    tell: Callable[[str], None] = lambda line: None,
    *,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Upgrades the control schema and every team's schema to this program's version. `tell` receives progress lines.

    Safe at every deploy and from several hosts at once. Raises SchemaError if the database has a newer version, or if
    other transactions hold locks for all of `patience_s`.
    """
    run = _Upgrade(connection, tell, time.monotonic() + patience_s, sleep)
    run.insist(lambda: _upgrade_control(connection), "the control schema")
    wanted = run.insist(lambda: _wanted_shape(connection), "the catalog")
    run.upgrade_teams(wanted)
    _forget_lost_mirrors(connection, tell)


def outdated_teams(connection: psycopg.Connection, wanted: Shape) -> list[str]:
    with connection.transaction():
        versions: dict[str, int] = dict(connection.execute(_QUERIES["teams"]).fetchall())
        added = _added_types(connection)
        found = shapes(connection, [schema_name(team_id) for team_id in versions])
    return [
        team_id
        for team_id, version in versions.items()
        if version < SCHEMA_VERSION or lacks(found[schema_name(team_id)], _of_team(wanted, added[team_id]))
    ]


def _added_types(connection: psycopg.Connection) -> dict[str, set[str]]:
    """By team: the types with tables beyond those that every team has."""
    added: dict[str, set[str]] = defaultdict(set)
    for team_id, name in connection.execute(_QUERIES["added_types"]):
        added[team_id].add(name)
    return added


def _of_team(wanted: Shape, added: Collection[str]) -> Shape:
    not_there = (each for name, each in OBJECT_TYPES.items() if name not in (*DEFAULT_TYPES, *added))
    absent = {table for each in not_there for table in tables_of(each)}
    return {table: shape for table, shape in wanted.items() if table not in absent}


def upgrade_late_teams(connection: psycopg.Connection) -> int:
    """Upgrades teams that a program of the previous version connected after init-db. Returns how many there were.

    Raises SchemaError if another transaction is in the way.
    """
    if control_version(connection)[0] != SCHEMA_VERSION:
        return 0
    late = [team_id for team_id, version in connection.execute(_QUERIES["teams"]) if version < SCHEMA_VERSION]
    if late:
        upgrade(connection, patience_s=0)
    return len(late)


def upgrade_team(connection: psycopg.Connection, team_id: str, wanted: Shape) -> None:
    """Upgrades in one transaction. Raises LockNotAvailable or DeadlockDetected if the tables are in use."""
    name = schema_name(team_id)
    with connection.transaction():
        _be_quick(connection)
        connection.execute(_QUERIES["lock_team"], {"schema": name})
        version = team_version(connection, team_id)
        if version is None:
            return
        mark(connection, name)  # first, because this lock keeps others from dropping the schema
        found = shapes(connection, [name])[name]
        changed = changed_tables(found, wanted) if version >= _VALUES_SINCE else _object_tables(found)
        grants: list[sql.Composed] = []
        if changed:
            types = types_with_tables(connection, team_id)
            tables = Rebuild(
                connection, name, changed, wanted, lambda next_name: make_tables(connection, next_name, types)
            )
            grants = _rebuild(tables)
        elif changed_views(found, wanted):
            grants = drop_views(connection, name)
        create_team_schema(connection, team_id)
        for grant in grants:
            connection.execute(grant)


def _forget_lost_mirrors(connection: psycopg.Connection, tell: Callable[[str], None]) -> None:
    """Where a backup left out a team's tables, nothing may claim that they are complete. A backfill makes them again."""
    for (team_id,) in connection.execute(_QUERIES["teams_without_tables"]).fetchall():
        with connection.transaction():
            forgotten = [
                connection.execute(_QUERIES[statement], {"team_id": team_id}).rowcount
                for statement in ("forget_backfills", "forget_reconciles", "forget_proofs", "forget_numbers")
            ]
        if any(forgotten):
            tell(f"{team_id} has no tables any more: start a backfill, which makes and fills them")


def _object_tables(found: Shape) -> list[str]:
    return [object_type.table for object_type in OBJECT_TYPES.values() if object_type.table in found]


def _rebuild(tables: Rebuild) -> list[sql.Composed]:
    with tables.connection.transaction():  # fails if somebody has had them open for long
        tables.try_lock()
        raise psycopg.Rollback
    tables.fill()
    lock(tables.connection)
    tables.try_lock()
    dbt.refresh_views(tables.connection, tables.schema, without=dbt.ALL_TABLES)  # create_team_schema undoes it
    return tables.swap()


def _upgrade_control(connection: psycopg.Connection) -> None:
    text = control_part()
    definition = hashlib.sha256(text.encode()).hexdigest()
    with connection.transaction():
        _be_quick(connection)
        lock(connection)
        refuse_newer(connection)
        if control_version(connection)[0] == SCHEMA_VERSION and _control_definition(connection) == definition:
            return
        connection.execute(text)
        values = {"version": SCHEMA_VERSION, "oldest_program": OLDEST_PROGRAM, "definition": definition}
        connection.execute(_QUERIES["set_control_version"], values)


def _control_definition(connection: psycopg.Connection) -> str | None:
    row = connection.execute(_QUERIES["control_definition"]).fetchone()
    return row[0] if row else None


def _wanted_shape(connection: psycopg.Connection) -> Shape:
    """The shape that schema.sql gives a team's schema on this server, with all types that any team mirrors."""
    name = f"billstack_wanted_{connection.info.backend_pid}"
    wanted: Shape = {}
    with connection.transaction():
        _be_quick(connection)
        lock(connection)
        added = set().union(*_added_types(connection).values())
        make_tables(connection, name, in_order({*DEFAULT_TYPES, *added}))
        make_views(connection, name)
        wanted = shapes(connection, [name])[name]
        raise psycopg.Rollback
    return wanted


def _be_quick(connection: psycopg.Connection) -> None:
    connection.execute(_QUERIES["be_quick"])


@dataclass(slots=True)
class _Upgrade:
    """Retries until `give_up_at`, and says what it waits for."""

    connection: psycopg.Connection
    tell: Callable[[str], None]
    give_up_at: float
    sleep: Callable[[float], None]
    _told_at: float = field(default_factory=time.monotonic)

    def insist(self, work: Callable[[], T], on_what: str) -> T:
        for pause_s in _pauses():
            try:
                return work()
            except _IN_THE_WAY:
                self._wait(pause_s, f"{on_what} is locked by another transaction")
        raise AssertionError("the pauses never end")

    def upgrade_teams(self, wanted: Shape) -> None:
        left = outdated_teams(self.connection, wanted)
        total = len(left)
        if left:
            self.tell(f"{total} teams need an upgrade")
        for pause_s in _pauses():
            for team_id in list(left):
                if self._upgraded(team_id, wanted):
                    left.remove(team_id)
                    self._tell_now_and_then(f"{total - len(left)} of {total} teams are upgraded")
            if not left:
                return
            self._wait(pause_s, self._who_is_in_the_way(left))

    def _upgraded(self, team_id: str, wanted: Shape) -> bool:
        try:
            upgrade_team(self.connection, team_id, wanted)
        except _IN_THE_WAY:
            return False
        return True

    def _wait(self, pause_s: float, sentence: str) -> None:
        if time.monotonic() > self.give_up_at:
            raise SchemaError(f"{sentence}: end that, and run init-db again")
        self._tell_now_and_then(sentence)
        self.sleep(pause_s)

    def _tell_now_and_then(self, sentence: str) -> None:
        if time.monotonic() - self._told_at >= _TELL_EVERY_S:
            self._told_at = time.monotonic()
            self.tell(sentence)

    def _who_is_in_the_way(self, team_ids: list[str]) -> str:
        """Looks only at the first team. The others may wait for somebody else."""
        with self.connection.transaction():
            rows = self.connection.execute(_QUERIES["holders"], {"schema": schema_name(team_ids[0])}).fetchall()
        others = f" and {len(team_ids) - 1} more teams" if len(team_ids) > 1 else ""
        holders = ", ".join(f"{name} (pid {pid}, since {since:%H:%M:%S})" for name, pid, since in rows)
        return f"the tables of {team_ids[0]}{others} are locked by a transaction of {holders or 'another session'}"


def _pauses() -> Iterator[float]:
    yield from _PAUSES_S
    yield from itertools.repeat(_LONGEST_PAUSE_S)
