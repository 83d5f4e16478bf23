"""Reads a team's mirror for the web; the statements are in store.sql."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec
import psycopg

from api.account.mirror_shown import right_as_of
from api.gateway.selection import QUERIES, Paging, Selection, bound, ordered_page_blocks, page_blocks, statement_of
from sync.database.schema import schema_name
from sync.errors import Conflict
from sync.object_types import DEFAULT_TYPES, REREAD_TYPES, ObjectType
from sync.round_trip import Call, RoundTrips, Rows
from sync.sql import Numbered
from sync.stripe.sdk import API_VERSION


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Ids and JSON (UTF-8) of objects, newest first; `has_more` in the direction of the paging.

    `is_known`: the mirror knows all that the selection holds. `is_in_order`: objects of one second are in Stripe's order.
    """

    ids: list[str]
    bodies: list[bytes]
    has_more: bool
    is_known: bool = True
    is_in_order: bool = True

    def raws(self) -> list[msgspec.Raw]:
        """The objects, for an answer that msgspec encodes around them."""
        return [msgspec.Raw(body) for body in self.bodies]


_STANDING = QUERIES.bind(team="", table="").joined(("standing",), prepared_from=1, is_raw=True)
# A project with at most so many people has few rows: all of them are read and sorted. For a larger one, the page is read in
# its order until it is full.
_SMALL_PROJECT = 100
# Some 60,000 rows, without what Postgres keeps aside of large ones. Searching all of them takes a core some 0.1 s.
_MOST_BYTES_READ = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Standing:
    """What a team's mirror can vouch for.

    `mirrored` are the types that the team mirrors. `right_as_of` says, by type, up to which second of Stripe's clock the
    mirror is right; a type that was never read completely is not in it. `api_version` is the one of its objects.
    """

    is_connected: bool = False
    mirrored: frozenset[str] = frozenset()
    right_as_of: Mapping[str, int] = field(default_factory=dict)
    api_version: str = API_VERSION


@dataclass(slots=True)
class Beside:
    """A statement that is read with the mirror. `rows` is None until it was."""

    call: Call
    rows: Rows | None = None


class MirrorReader:
    """One team's mirror. Raises Conflict `not_connected` for a team that has none, or `not_mirrored`.

    A page or an object comes with the standing of the same moment, in one round trip. The first brings `beside`, too.
    `types` are those for which the standing may be asked; None for all.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        team_id: str,
        beside: "Beside | None" = None,
        types: Collection[str] | None = None,
    ) -> None:
        self._connection = connection
        self._team_id = team_id
        self._types = None if types is None else sorted(types)
        self._beside = beside

    def page(self, object_type: ObjectType, selection: Selection, paging: Paging) -> tuple[Standing, FoundPage | None]:
        """None: the cursor's object does not exist, or the selection does not hold it.

        If objects share a second, a second round trip reads the page in Stripe's order.
        """
        selection = self._of_small_project(object_type, selection)
        standing, page, found = self._page(object_type, selection, paging)
        if page is None or (found <= 1 and page.is_in_order):
            return standing, page
        counted = -1
        try:
            while page is not None and counted < found:  # again if the second has grown in between
                counted = found
                standing, page, found = self._page(object_type, selection, paging, counted)
        except Conflict:
            pass  # an older program has connected the team, so it has no shared_seconds until the scheduler upgrades it
        return standing, page

    def _page(
        self, object_type: ObjectType, selection: Selection, paging: Paging, at_cursor: int | None = None
    ) -> tuple[Standing, FoundPage | None, int]:
        """Also returns how many objects the cursor's second has. Given that number, the page is in Stripe's order."""
        values = {
            **selection.params,
            "limit": paging.limit + 1,
            "rows_at_least": paging.limit + 1 + (at_cursor or 0),
            "cursor": paging.cursor,
            "type_name": object_type.name,
            "hidden": object_type.hidden_fields,
            "created_from": selection.created_from,
            "created_to": selection.created_to,
        }
        blocks = page_blocks(selection, paging) if at_cursor is None else ordered_page_blocks(selection, paging)
        statements = [blocks, *((f"known_{param}",) for param in selection.through)]
        if paging.cursor is not None:
            statements.append(("cursor", *selection.blocks))
        standing, rows, *others = self._read(object_type, statements, values)
        if not all(others[: len(selection.through)]):
            return standing, FoundPage([], [], has_more=False, is_known=False), 0
        if not all(others):
            return standing, None, 0
        kept = rows[: paging.limit]  # one more has no JSON
        is_in_order = _no_second_twice(rows) if at_cursor is None else _are_told_apart(kept)
        if paging.before is not None:
            kept.reverse()
        bodies = [each[1] for each in kept]
        page = FoundPage([each[0].decode() for each in kept], bodies, len(rows) > paging.limit, is_in_order=is_in_order)
        return standing, page, others[-1][0][0] if paging.cursor is not None else 0

    def matching(
        self, object_type: ObjectType, selection: Selection, most: int, *, is_indexed: bool
    ) -> tuple[Standing, list[bytes] | None]:
        """JSON of objects, newest first. None: more than `most`, or the table is too large where no index finds them."""
        first, *others = page_blocks(selection, Paging(most))
        blocks = (first, *([] if is_indexed else ["where_table_is_small"]), *others)
        values = {
            **selection.params,
            "limit": most + 1,
            "hidden": object_type.hidden_fields,
            "created_from": selection.created_from,
            "created_to": selection.created_to,
            "most_bytes": _MOST_BYTES_READ,
        }
        standing, rows, [[is_small]] = self._read(object_type, [blocks, ("is_small",)], values)
        if len(rows) > most or not (is_indexed or is_small):
            return standing, None
        return standing, [body for _, body, _ in rows]

    def _of_small_project(self, object_type: ObjectType, selection: Selection) -> Selection:
        if "where_project" not in selection.blocks:
            return selection
        is_small = bound(schema_name(self._team_id), object_type.table, 0)["is_small_project"]
        row = self._connection.execute(
            is_small, {**selection.params, "people": _SMALL_PROJECT}, prepare=False
        ).fetchone()
        if not (row and row[0]):
            return selection
        blocks = ("where_small_project" if block == "where_project" else block for block in selection.blocks)
        return replace(selection, blocks=tuple(blocks))

    def found(
        self, object_type: ObjectType, ids: Sequence[str], *, whole: bool = False
    ) -> tuple[Standing, dict[str, tuple[bytes, bool]]]:
        """JSON and whether Stripe deleted it, by id; without what the mirror never had.

        `whole`: with the lists that Stripe shows only on request.
        """
        standing, rows = self._read(object_type, [_named(ids)], _values_of(object_type, ids, whole=whole))
        return standing, _by_id(rows)

    def objects(
        self, object_type: ObjectType, ids: Sequence[str], *, whole: bool = False
    ) -> dict[str, tuple[bytes, bool]]:
        """As `found`, for what another answer embeds."""
        named = self._statement(object_type, _named(ids))
        (rows,) = self._run(object_type, [named], _values_of(object_type, ids, whole=whole))
        return _by_id(rows)

    def standing(self) -> Standing:
        (rows,) = RoundTrips(self._connection).read([_STANDING], {"team_id": self._team_id, "types": self._types})
        return _standing(rows)

    def _read(
        self, object_type: ObjectType, statements: Sequence[tuple[str, ...]], values: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        """The standing, and the rows of each statement, which is a tuple of blocks."""
        made = [self._statement(object_type, blocks, values.get("limit", 0)) for blocks in statements]
        values = {"team_id": self._team_id, "types": self._types, **values}
        beside, self._beside = self._beside, None
        if beside is None:
            rows, *others = self._run(object_type, [_STANDING, *made], values)
        else:
            read = [beside.call.statement, _STANDING, *made]
            beside.rows, rows, *others = self._run(object_type, read, {**values, **beside.call.values})
        return _standing(rows), *others

    def _statement(self, object_type: ObjectType, blocks: tuple[str, ...], limit: int = 0) -> Numbered:
        return statement_of(schema_name(self._team_id), object_type.table, blocks, limit if blocks[0] == "page" else 0)

    def _run(
        self, object_type: ObjectType, statements: Sequence[Numbered], values: Mapping[str, Any]
    ) -> list[list[tuple[Any, ...]]]:
        try:
            return RoundTrips(self._connection).read(statements, values)
        except psycopg.errors.UndefinedTable as exc:
            if not object_type.is_default:
                name = object_type.name
                raise Conflict(
                    f"this team does not mirror {name}: name it in a backfill's objects", code="not_mirrored"
                ) from exc
            raise Conflict("this team has no mirror: connect it to Stripe first", code="not_connected") from exc


def _standing(rows: Rows) -> Standing:
    return _standing_of(rows[0][0]) if rows else Standing()


@lru_cache(1000)
def _standing_of(found: bytes) -> Standing:
    """It is the same for many answers, until the mirror is compared or events are read again."""
    row = msgspec.json.decode(found)
    known = {
        name: right_as_of(proof, None if name in REREAD_TYPES else row["sweptUntil"], row["unreadUntil"])
        for name, proof in (row["proofs"] or {}).items()
    }
    return Standing(
        row["isConnected"],
        frozenset({*DEFAULT_TYPES, *row["added"]}),
        {name: second for name, second in known.items() if second is not None},
        row["apiVersion"] or API_VERSION,
    )


def _named(ids: Sequence[str]) -> tuple[str]:
    """The statement that looks them up. For several, Postgres plans by how many they are."""
    return ("object",) if len(ids) == 1 else ("objects",)


def _values_of(object_type: ObjectType, ids: Sequence[str], *, whole: bool) -> dict[str, Any]:
    return {"id": next(iter(ids), None), "ids": list(ids), "hidden": [] if whole else object_type.hidden_fields}


def _by_id(rows: Rows) -> dict[str, tuple[bytes, bool]]:
    return {object_id.decode(): (body, is_deleted == b"t") for object_id, body, is_deleted in rows}


def _no_second_twice(rows: Rows) -> bool:
    return all(one[2] != other[2] for one, other in pairwise(rows))


def _are_told_apart(rows: Rows) -> bool:
    """Whether those of one second have places, each its own."""
    none = b"0"
    return all(one[2] != other[2] or none != one[3] != other[3] != none for one, other in pairwise(rows))
