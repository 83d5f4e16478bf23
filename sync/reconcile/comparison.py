"""Finds where one type of a mirror differs from Stripe's lists."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import psycopg

from sync.database.schema import schema_name
from sync.json_text import AsJsonb
from sync.mirror.page_parts import by_id, page_of_one
from sync.mirror.store import REFUSALS
from sync.object_types import ObjectType
from sync.reconcile.records import Suspicion
from sync.sql import Queries
from sync.stripe.pages import Page

_QUERIES = Queries(Path(__file__).with_name("comparison.sql"))


class Comparison:
    """One type's rows compared with Stripe's lists. Only reads."""

    def __init__(self, connection: psycopg.Connection, team_id: str, object_type: ObjectType) -> None:
        self._connection = connection
        self._queries = _QUERIES.bind(team=schema_name(team_id), table=object_type.table)
        self._list = object_type.list_field

    def slice_end(self, start: int, *, rows: int) -> int | None:
        """The second that `rows` rows from `start` on reach. None if there are fewer."""
        row = self._run("slice_end", start=start, rows=rows).fetchone()
        return max(row[0], start + 1) if row else None

    def differing(self, page: Page, completed: dict[str, bytes]) -> dict[str, Suspicion]:
        """The reason by id. `completed` is as in PageToWrite."""
        try:
            return self._differing(page.answer.body, completed)
        except REFUSALS:
            # If Postgres cannot store one object, it cannot read the whole page.
            found: dict[str, Suspicion] = {}
            for head, raw in zip(page.heads, page.raw_objects(), strict=True):
                found |= self._differing_one(head.id, raw, completed)
            return found

    def _differing_one(self, object_id: str, raw: bytes, completed: dict[str, bytes]) -> dict[str, Suspicion]:
        try:
            return self._differing(*page_of_one(object_id, raw, completed))
        except REFUSALS:
            return {object_id: "stale"}  # the mirror has it otherwise or not at all

    def _differing(self, page: bytes, completed: dict[str, bytes]) -> dict[str, Suspicion]:
        rows = self._run(
            "differing", page=AsJsonb(page), list=self._list, completed=AsJsonb(by_id(completed))
        ).fetchall()
        return dict(rows)

    def unlisted(self, start: int, end: int, listed: Sequence[str]) -> list[str]:
        rows = self._run("unlisted", start=start, end=end, listed=list(listed)).fetchall()
        return [object_id for (object_id,) in rows]

    def undated(self) -> list[str]:
        """Live rows without a `created` that the column can hold. No slice contains them."""
        return [object_id for (object_id,) in self._run("undated").fetchall()]

    def unknown_prices(self, ids: Set[str]) -> list[str]:
        """Named by objects of any type."""
        rows = self._run("unknown_prices", ids=sorted(ids)).fetchall() if ids else []
        return [price_id for (price_id,) in rows]

    def is_live(self, object_id: str) -> bool:
        return self._run("is_live", id=object_id).fetchone() is not None

    def _run(self, name: str, **params: Any) -> psycopg.Cursor[Any]:
        return self._connection.execute(self._queries[name], params)
