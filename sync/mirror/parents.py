"""The SQL of types that Stripe lists under the objects of another type, such as a customer's payment methods.

One method per statement in parents.sql. Each store is bound to a team's schema.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from sync.database.schema import schema_name
from sync.object_types import CHILDREN, OBJECT_TYPES, ObjectType
from sync.sql import BoundQueries, Queries

_QUERIES = Queries(Path(__file__).with_name("parents.sql"))


class ParentStore:
    """On one connection. The caller begins and ends transactions."""

    def __init__(self, connection: psycopg.Connection, team_id: str) -> None:
        self._connection = connection
        self._schema = schema_name(team_id)

    def parents(self, object_type: ObjectType, *, after: str, limit: int) -> list[str]:
        """Ids of the type's live parents, in id order."""
        return self._ids("parents", object_type, after=after, limit=limit)

    def parents_since(self, object_type: ObjectType, *, after: str, limit: int, seen_from: int) -> list[str]:
        """Of those, the ones that were written since the snapshot of BackfillStore.take_snapshot."""
        return self._ids("parents_since", object_type, after=after, limit=limit, seen_from=seen_from)

    def changed_parents(self, object_type: ObjectType, *, since: int, limit: int) -> list[tuple[str, int]]:
        """Of those, the ones that were written since that second of our clock, with their second, oldest first."""
        return self._of_child(object_type, "changed_parents", since=since, limit=limit).fetchall()

    def version_and_parent(self, object_type: ObjectType, object_id: str) -> tuple[str | None, str]:
        """MirrorStore.version, and the parent that the row names."""
        row = self._of_child(object_type, "version_and_parent", id=object_id).fetchone()
        return (row[0], row[1] or "") if row else (None, "")

    def has_live_parent(self, object_type: ObjectType, parent_id: str) -> bool:
        return self._of_child(object_type, "has_live_parent", parent_id=parent_id).fetchone() is not None

    def unlisted(self, object_type: ObjectType, parent_ids: Sequence[str], listed: Sequence[str]) -> list[str]:
        """Live rows of these parents that Stripe's lists did not contain."""
        rows = self._of_child(object_type, "unlisted", parents=list(parent_ids), listed=list(listed)).fetchall()
        return [object_id for (object_id,) in rows]

    def orphans(self, object_type: ObjectType) -> list[str]:
        """Live rows whose parent is not live."""
        return [object_id for (object_id,) in self._of_child(object_type, "orphans").fetchall()]

    def bury_children(self, object_type: ObjectType, object_id: str, *, as_of: int) -> None:
        """Turns what is listed under a deleted object into tombstones. Stripe sends no events for that."""
        for child in self._mirrored_children(object_type):
            self._of_child(child, "bury_children", parent_id=object_id, as_of=as_of)

    def live_children(self, object_type: ObjectType, object_id: str) -> list[tuple[ObjectType, str]]:
        """Live rows of what is listed under an object."""
        return [
            (child, child_id)
            for child in self._mirrored_children(object_type)
            for child_id in self._ids("live_children", child, parent_id=object_id)
        ]

    def _mirrored_children(self, object_type: ObjectType) -> list[ObjectType]:
        children = CHILDREN.get(object_type.name, ())
        if not children:
            return []
        params = {"schema": self._schema, "names": [child.table for child in children]}
        queries = _bound(self._schema, object_type.table, object_type.table, "id")
        known = {name for (name,) in self._connection.execute(queries["tables"], params).fetchall()}
        return [child for child in children if child.table in known]

    def _ids(self, name: str, object_type: ObjectType, **params: Any) -> list[str]:
        return [object_id for (object_id,) in self._of_child(object_type, name, **params).fetchall()]

    def _of_child(self, object_type: ObjectType, name: str, **params: Any) -> psycopg.Cursor[Any]:
        assert object_type.parent
        parent = OBJECT_TYPES[object_type.parent.type]
        queries = _bound(self._schema, object_type.table, parent.table, object_type.parent.field)
        return self._connection.execute(queries[name], params)


@cache
def _bound(schema: str, table: str, parent_table: str, parent: str) -> BoundQueries:
    return _QUERIES.bind(team=schema, table=table, parent_table=parent_table, parent=parent)
