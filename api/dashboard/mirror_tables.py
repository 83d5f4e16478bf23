"""The tables of the explore pages, from each type's row in the registry."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sync.object_types import OBJECT_TYPES, in_order
from sync.registry.references import ONE_WAY, REFERENCES
from sync.registry.row import Column, Explored

# A subscription names the prices of all of its items.
_OWN_WHERE = {("subscriptions", "price"): "where_price"}


@dataclass(frozen=True, slots=True)
class Table:
    """A type's table by name, and the words for one and for all of its rows.

    `references`: its columns that name objects, each with the tables that these may be in.
    """

    name: str
    one: str
    title: str
    explored: Explored
    is_default: bool
    references: Mapping[str, tuple[str, ...]]

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.explored.columns

    @property
    def amount(self) -> Column | None:
        """The amount by which its rows are filtered and sorted."""
        return next((column for column in self.columns if column.kind == "money"), None)

    def where_reference(self, column: str) -> str:
        """The block of mirror_rows.sql for the rows that name an object there."""
        return _OWN_WHERE.get((self.name, column), "where_reference")


def _references(type_name: str) -> dict[str, tuple[str, ...]]:
    """Without types that this registry does not have."""
    named = REFERENCES.get(type_name, {})
    tables = {
        column: tuple(OBJECT_TYPES[to].table for to in types if to in OBJECT_TYPES) for column, types in named.items()
    }
    return {column: found for column, found in tables.items() if found}


TABLES: dict[str, Table] = {
    each.table: Table(each.table, each.words, each.title, each.explored, each.is_default, _references(each.name))
    for each in OBJECT_TYPES.values()
}
_ONE_WAY = {(OBJECT_TYPES[name].table, column) for name, column in ONE_WAY}


def naming(table_name: str, mirrored: Collection[str]) -> list[tuple[Table, str]]:
    """The mirrored tables whose rows name objects of this table, each with the column."""
    return [
        (table, column)
        for table in in_navigation(mirrored)
        for column, named in table.references.items()
        if table_name in named and (table.name, column) not in _ONE_WAY
    ]


def in_navigation(mirrored: Collection[str]) -> list[Table]:
    """The most viewed tables first."""
    return sorted((TABLES[each.table] for each in in_order(mirrored)), key=lambda table: table.explored.place)
