"""Looks at and writes one team's mirror the way tests speak of it: rows, pages of objects, windows."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import class_row

from sync.backfill.part_records import FINISH, PartStore
from sync.backfill.records import BackfillStore
from sync.backfill.windows import Window
from sync.mirror.store import MirrorStore, PageToWrite, WindowKey, WrittenPage
from sync.object_types import BY_STRIPE_OBJECT, OBJECT_TYPES, UNDATED, ObjectType, head_struct
from sync.stripe.answers import Answer
from tests.factories import Json, encoded, listed

CUSTOMER = OBJECT_TYPES["customer"]
FAR_AHEAD = 4_000_000_000


@dataclass(frozen=True)
class Row:
    raw: Json
    as_of: int
    as_of_until: int
    deleted_at: datetime | None
    xmin: str


def row(store: MirrorStore, object_id: str, object_type: ObjectType = CUSTOMER) -> Row | None:
    table = sql.Identifier(store.schema, object_type.table)
    statement = sql.SQL("SELECT raw, as_of, as_of_until, deleted_at, xmin::text FROM {} WHERE id = %s").format(table)
    with store.connection.cursor(row_factory=class_row(Row)) as cursor:
        return cursor.execute(statement, (object_id,)).fetchone()


def versions(connection: psycopg.Connection, schema: str) -> dict[tuple[str, str], str]:
    """Which transaction wrote each row of the tables that the team has."""
    found = {}
    tables = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace", (schema,)
    ).fetchall()
    for object_type in OBJECT_TYPES.values():
        if (object_type.table,) not in tables:
            continue
        table = sql.Identifier(schema, object_type.table)
        for object_id, xmin in connection.execute(sql.SQL("SELECT id, xmin::text FROM {}").format(table)):
            found[object_type.name, object_id] = xmin
    return found


def seen(store: MirrorStore, object_type: ObjectType = CUSTOMER) -> set[str]:
    """Raises AssertionError when an id is there twice: it would have been counted twice."""
    statement = sql.SQL("SELECT unnest(ids) FROM {} WHERE type = %s").format(sql.Identifier(store.schema, "seen_pages"))
    ids = [object_id for (object_id,) in store.connection.execute(statement, (object_type.name,))]
    assert len(ids) == len(set(ids))
    return set(ids)


def rejects(store: MirrorStore) -> dict[str, str]:
    """Reasons by id."""
    statement = sql.SQL("SELECT id, reason FROM {}").format(sql.Identifier(store.schema, "rejects"))
    return dict(store.connection.execute(statement).fetchall())


def open_window(
    store: MirrorStore,
    object_type: ObjectType = CUSTOMER,
    *,
    gte: int = 0,
    lt: int = FAR_AHEAD,
    floor: int | None = None,
    fence: int = 1,
) -> WindowKey:
    """The next window of the running backfill, which is started where none is."""
    backfills = BackfillStore(store.connection)
    backfill_id = backfills.start(store.team_id, list(OBJECT_TYPES), None, request_id=None).id
    number = 1 + len(windows(store, object_type))
    window = Window(number, 0, gte=gte, lt=lt, floor=gte)
    backfills.insert_window(backfill_id, object_type.name, window, fence)
    if floor is not None:
        set_window(store, number, object_type, floor=floor)
    return WindowKey(backfill_id, object_type.name, number, fence)


def acquire_finish(backfills: BackfillStore, backfill_id: str) -> int:
    """With all types done, whatever is in their windows."""
    backfills.connection.execute(
        "UPDATE billstack.leases SET done = true WHERE backfill_id = %s AND part <> 'finish'", (backfill_id,)
    )
    fence = PartStore(backfills.connection).acquire(backfill_id, FINISH)
    assert fence
    return fence


def end_backfill(backfills: BackfillStore, backfill_id: str, state: str = "ready") -> None:
    fence = acquire_finish(backfills, backfill_id)
    backfills.end(backfill_id, fence, state=state, error=None, warnings=[])


def windows(store: MirrorStore, object_type: ObjectType = CUSTOMER) -> list[dict[str, Any]]:
    """The rows of the running or last backfill."""
    with store.connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute(
            """
            SELECT windows.* FROM billstack.windows JOIN billstack.backfills ON backfills.id = windows.backfill_id
            WHERE team_id = %s AND type = %s ORDER BY number
            """,
            (store.team_id, object_type.name),
        ).fetchall()


def set_window(store: MirrorStore, number: int, object_type: ObjectType = CUSTOMER, **columns: Any) -> None:
    for name, value in columns.items():
        store.connection.execute(
            sql.SQL(
                """
                UPDATE billstack.windows SET {} = %s
                FROM billstack.backfills
                WHERE backfills.id = backfill_id AND team_id = %s AND type = %s AND number = %s
                """
            ).format(sql.Identifier(name)),
            (value, store.team_id, object_type.name, number),
        )


def created_of(about: Json) -> int:
    object_type = BY_STRIPE_OBJECT[about["object"]]
    second: int = about[object_type.created_field] if object_type.is_by_time else UNDATED
    return second


def page_of(
    objects: Iterable[Json], *, as_of: int, as_of_until: int | None = None, has_more: bool = True, **fields: Any
) -> PageToWrite:
    """A list answer that was read between these seconds."""
    every = list(objects)
    edges = (
        {"newest": created_of(every[0]), "oldest": created_of(every[-1]), "cursor": every[-1]["id"]} if every else {}
    )
    return PageToWrite(
        body=encoded(listed(*every, has_more=has_more)),
        as_of=as_of,
        as_of_until=as_of if as_of_until is None else as_of_until,
        has_more=has_more,
        **{**edges, **fields},
    )


def head(about: Json) -> Any:
    """What Python reads of a listed object."""
    return msgspec.convert(about, head_struct(BY_STRIPE_OBJECT[about["object"]]))


def mirror(store: MirrorStore, key: WindowKey, page: PageToWrite, object_type: ObjectType = CUSTOMER) -> WrittenPage:
    """Writes the window's next page as one transaction does."""
    with store.connection.transaction():
        assert store.lock_window(object_type, key)
        written = store.mirror_page(object_type, key, following(store, key, page))
        assert written
        return written


def following(store: MirrorStore, key: WindowKey, page: PageToWrite) -> PageToWrite:
    """The page as one that was requested with the window's cursor."""
    window = windows(store, OBJECT_TYPES[key.type])[key.number - 1]
    return replace(page, starting_after=window["cursor"])


def answer(about: Json | None, *, as_of: int, as_of_until: int | None = None) -> Answer:
    """A fetched object; None: Stripe says that it is gone."""
    body = b"" if about is None else encoded(about)
    return Answer(body, as_of, as_of if as_of_until is None else as_of_until)
