"""The SQL of one team's mirror, one method per statement in store.sql. Each store is bound to a team's schema.

A row was true between two moments of Stripe's clock, as_of and as_of_until. News is written if it is wholly newer than
the row, and ignored if it is wholly older. Otherwise it is doubtful, and the object is fetched
(sync/mirror/refresh.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import psycopg
from psycopg import errors

from sync.database.borrowing import same_connection
from sync.database.schema import schema_name
from sync.errors import LeaseLost
from sync.json_text import AsJsonb
from sync.mirror.event_rows import EventVerdict, event_values, judged
from sync.mirror.page_parts import by_id
from sync.mirror.parents import ParentStore
from sync.mirror.shared_seconds import SharedSeconds
from sync.object_types import UNDATED, ObjectType
from sync.round_trip import Call, RoundTrips
from sync.sql import BoundQueries, Queries
from sync.stripe.answers import Answer

_QUERIES = Queries(Path(__file__).with_name("store.sql"))
# The statement of MirrorStore.lock_type, which is the same for all teams.
LOCK_TYPE = _QUERIES.bind().numbered("lock_type")

# Reasons why Postgres may refuse an object: a NUL in a text, a key too long for an index, a number of a thousand
# digits.
REFUSALS = (psycopg.DataError, errors.ProgramLimitExceeded)
# Errors that say nothing about an object: a lost connection, a full, read-only or unavailable Postgres, a lock held by
# somebody else.
LOSSES = (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction)

FetchVerdict = Literal["written", "equal", "changed"]


@dataclass(frozen=True, slots=True)
class WindowKey:
    """A page's window, and the fence of its writer's lease."""

    backfill_id: str
    type: str
    number: int
    fence: int


@dataclass(frozen=True, slots=True)
class PageToWrite:
    """The parts of a page that its statement takes: Stripe's original JSON, and the window's position after it.

    `completed` are the bodies of Source.complete by id: the items of a cut list, or the whole object; an empty one
    leaves its object out. `newest` and `oldest` are `created` of the first and last object; with `cursor` they are None
    if the page is empty. `starting_after` is the window's cursor before it, with which the page was requested. `shared`:
    in which order Stripe lists the objects that share their second.
    """

    body: bytes
    as_of: int
    as_of_until: int
    has_more: bool
    starting_after: str | None = None
    cursor: str | None = None
    newest: int | None = None
    oldest: int | None = None
    completed: Mapping[str, bytes] = field(default_factory=dict)
    named_prices: Sequence[str] = ()
    pages: int = 1  # 0 for a part of a page that is written object by object
    shared: SharedSeconds | None = None
    place: int = UNDATED  # where the objects lie in their window if they are not listed by time


@dataclass(frozen=True, slots=True)
class WrittenPage:
    """How many objects this backfill met for the first time, and which ones must be fetched."""

    counted: int
    overlapping: list[str]


class MirrorStore:
    """One team's tables, on one connection. The caller begins and ends transactions."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self.connection = connection
        self.team_id = team_id
        self.schema = schema_name(team_id)
        self._parents = ParentStore(connection, team_id)

    def lock_window(self, object_type: ObjectType, key: WindowKey) -> bool:
        """Returns False if the window has another fence or is done. Then the page must not be written."""
        return self._run(object_type, "lock_window", **self._window(object_type, key)).fetchone() is not None

    def mirror_page_alone(self, object_type: ObjectType, key: WindowKey, page: PageToWrite) -> WrittenPage | None:
        """Locks the window, mirrors the page and commits, in one round trip.

        None: the window no longer belongs to the caller, or is not at `starting_after`. Only the order of the page's
        objects is kept then: it is Stripe's, whoever reads it.
        """
        queries = _bound(self.schema, object_type.table)
        names = ["page_settings", "lock_window", *(["keep_order"] if page.shared else []), "mirror_page"]
        statements = [queries.numbered(name) for name in names]
        values = self._window(object_type, key) | self._page(object_type, page)
        values |= _order(page.shared) if page.shared else {}
        with same_connection(self.connection) as connection:
            row = RoundTrips(connection).run(statements, values)
        return WrittenPage(*row) if row else None

    def page_settings(self) -> None:
        """Settings for writing pages, for the rest of the transaction."""
        self._run(None, "page_settings")

    def mirror_page(self, object_type: ObjectType, key: WindowKey, page: PageToWrite) -> WrittenPage | None:
        """The same inside a transaction that has locked the window."""
        values = self._window(object_type, key) | self._page(object_type, page)
        row = self._run(object_type, "mirror_page", **values).fetchone()
        return WrittenPage(*row) if row else None

    def _window(self, object_type: ObjectType, key: WindowKey) -> dict[str, Any]:
        return {
            "team_id": self.team_id,
            "ordinal": object_type.ordinal,
            "backfill_id": key.backfill_id,
            "type": key.type,
            "number": key.number,
            "fence": key.fence,
        }

    def _page(self, object_type: ObjectType, page: PageToWrite) -> dict[str, Any]:
        return {
            "reuses_ids": object_type.reuses_ids,
            "paging_field": object_type.paging_field,
            "undated": None if object_type.is_by_time else page.place,
            "page": AsJsonb(page.body),
            "list": object_type.list_field,
            "completed": AsJsonb(by_id(page.completed)),
            "as_of": page.as_of,
            "as_of_until": page.as_of_until,
            "has_more": page.has_more,
            "starting_after": page.starting_after,
            "cursor": page.cursor,
            "newest": page.newest,
            "oldest": page.oldest,
            "named_prices": AsJsonb(msgspec.json.encode(page.named_prices)),
            "pages": page.pages,
        }

    def keep_order(self, object_type: ObjectType, shared: SharedSeconds) -> None:
        """Keeps the order in which Stripe lists objects of one second."""
        self._run(object_type, "keep_order", type=object_type.name, **_order(shared))

    def reject(self, object_type: ObjectType, object_id: str, reason: str) -> None:
        self._run(object_type, "reject", type=object_type.name, id=object_id, reason=reason)

    def version(self, object_type: ObjectType, object_id: str) -> str | None:
        """Changes with every write of the row. None while there is no row."""
        row = self._run(object_type, "version", id=object_id).fetchone()
        return row[0] if row else None

    def known_as_of(self, object_type: ObjectType, ids: Sequence[str]) -> dict[str, int]:
        """The second of Stripe's clock as of which each row is true. Absent rows are left out."""
        return dict(self._run(object_type, "known_as_of", ids=list(ids)).fetchall())

    def put_fetched(
        self, object_type: ObjectType, object_id: str, answer: Answer, *, version: str | None, advance: bool = False
    ) -> FetchVerdict:
        """`version` is the row's from before the fetch. "changed": fetch again.

        With `advance`, an equal row takes the fetch's time. Use it if the fetch settles an event.
        """
        row = self._run(
            object_type,
            "put_fetched",
            id=object_id,
            raw=AsJsonb(answer.body),
            as_of=answer.as_of,
            as_of_until=answer.as_of_until,
            version=version,
            advance=advance,
        ).fetchone()
        assert row is not None
        verdict: FetchVerdict = row[0]
        return verdict

    def put_deleted(self, object_type: ObjectType, object_id: str, answer: Answer, *, version: str | None) -> bool:
        """Turns the row that existed when the fetch began into a tombstone.

        Returns False if the row has changed or does not exist.
        """
        moments = {"as_of": answer.as_of, "as_of_until": answer.as_of_until}
        row = self._run(object_type, "put_deleted", id=object_id, version=version, **moments).fetchone()
        is_deleted = row is not None
        if is_deleted:
            self._parents.bury_children(object_type, object_id, as_of=answer.as_of)
        return is_deleted

    def lock_type(self, object_type: ObjectType) -> None:
        """Waits for this type's pages in flight, and holds back new ones until the transaction ends."""
        self._run(object_type, "lock_type", team_id=self.team_id, type=object_type.name)

    def checked_until(self, object_type: ObjectType) -> int | None:
        """The moment on Stripe's clock up to which pages have read this type."""
        row = self._run(object_type, "checked_until", types=[object_type.name], team_id=self.team_id).fetchone()
        return row[1] if row else None

    def apply_event(
        self, object_type: ObjectType, object_id: str, raw: bytes, *, created: int, checked_until: int | None
    ) -> EventVerdict:
        """An event's object, true at second `created`. "doubtful": nothing was written; fetch the object."""
        values = event_values(object_id, raw, created)
        try:
            with self.connection.transaction():
                found = self._run(object_type, "judge_event", **values).fetchall()
                verdict, writing = judged(found, created, checked_until)
                if writing:
                    self._run(object_type, writing, **values)
                return verdict
        except errors.UniqueViolation:
            return "doubtful"  # somebody else inserted it just now

    def apply_deletion(self, object_type: ObjectType, object_id: str, raw: bytes, *, created: int) -> EventVerdict:
        """Tombstones are final, also for what is listed under the object. "older" only if the row was alive later.

        "doubtful" if an id may be used again and the row was alive in that second.
        """
        values = event_values(object_id, raw, created)
        row = self._run(object_type, "apply_deletion", reuses_ids=object_type.reuses_ids, **values).fetchone()
        assert row is not None
        verdict: EventVerdict = row[0]
        if verdict == "applied":
            self._parents.bury_children(object_type, object_id, as_of=created)
        return verdict

    def suspects(self, object_type: ObjectType, *, gte: int, lt: int, after: str, limit: int) -> list[str]:
        """Ids of live rows in that range of `created` that this backfill's lists did not contain, in id order."""
        rows = self._run(
            object_type, "suspects", type=object_type.name, gte=gte, lt=lt, after=after, limit=limit
        ).fetchall()
        return [object_id for (object_id,) in rows]

    def missing_prices(self) -> list[str]:
        return [price_id for (price_id,) in self._run(None, "missing_prices").fetchall()]

    def rejects(self, types: Sequence[str]) -> list[tuple[str, str, str, int]]:
        """(type, id, reason, number of that type), the newest first."""
        return self._run(None, "rejects", types=list(types)).fetchall()

    def grown(self, object_types: Sequence[ObjectType]) -> list[ObjectType]:
        """The types whose tables have outgrown Postgres' statistics: `analyze` them."""
        tables = [f"{self.schema}.{object_type.table}" for object_type in object_types]
        names = {name for (name,) in self._run(None, "grown", tables=tables).fetchall()}
        return [object_type for object_type in object_types if object_type.table in names]

    def analyze(self, object_type: ObjectType) -> None:
        """Updates the planner's statistics of the table."""
        self._run(object_type, "analyze")

    def forget_seen(self) -> None:
        """Deletes the ids that the last backfill met, before a new one begins."""
        self._run(None, "forget_seen")

    def forget_rejects(self, types: Sequence[str]) -> None:
        self._run(None, "forget_rejects", types=list(types))

    def keep_checked(self) -> None:
        """Keeps `checked_until` of windows that are about to be deleted."""
        self._run(None, "keep_checked", team_id=self.team_id)

    def call(self, object_type: ObjectType, name: str, **params: Any) -> Call:
        """The statement of the method with this name, for a transaction of few round trips."""
        return Call(_bound(self.schema, object_type.table).numbered(name), params)

    def _run(self, object_type: ObjectType | None, name: str, **params: Any) -> psycopg.Cursor[Any]:
        queries = _bound(self.schema, object_type.table if object_type else "customers")
        return self.connection.execute(queries[name], params)


def _order(shared: SharedSeconds) -> dict[str, Any]:
    seconds, ranks = zip(*shared.values(), strict=True)
    return {"ids": [*shared], "seconds": [*map(str, seconds)], "ranks": [*map(str, ranks)]}


@cache
def _bound(schema: str, table: str) -> BoundQueries:
    return _QUERIES.bind(team=schema, table=table)


def window_lost(key: WindowKey) -> LeaseLost:
    return LeaseLost(
        f"window {key.number} of {key.type} belongs to another worker, is done, or is not where its last page left it"
    )


def is_lost(exc: Exception) -> bool:
    """Whether Postgres failed, rather than its input. The page will be tried again, and no object is to blame."""
    return isinstance(exc, LOSSES) and not isinstance(exc, REFUSALS)


def reason_of(exc: psycopg.Error) -> str:
    """Postgres' first line and its detail, but not its context or the statement: those contain the object."""
    if isinstance(exc, errors.UntranslatableCharacter):
        return "one of its texts has a NUL or half of a Unicode surrogate pair, which Postgres cannot store"
    return " ".join(filter(None, (exc.diag.message_primary or type(exc).__name__, exc.diag.message_detail)))[:500]
