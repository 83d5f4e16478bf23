"""The tables of the explore pages, from each type's row in the registry."""

from collections.abc import Collection
from dataclasses import dataclass

from sync.object_types import OBJECT_TYPES, in_order
from sync.registry.row import OF_CUSTOMER, Column, Explored


@dataclass(frozen=True, slots=True)
class Table:
    """A type's table by name, and the words for one and for all of its rows."""

    name: str
    one: str
    title: str
    explored: Explored
    is_default: bool

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.explored.columns


TABLES: dict[str, Table] = {
    each.table: Table(each.table, each.words, each.title, each.explored, each.is_default)
    for each in OBJECT_TYPES.values()
}


def of_a_customer(mirrored: Collection[str]) -> list[Table]:
    """The tables to show on a customer's page, below the customer."""
    tables = [TABLES[each.table] for each in in_order(mirrored)]
    return [table for table in tables if table.explored.finds == OF_CUSTOMER]


def in_navigation(mirrored: Collection[str]) -> list[Table]:
    """The most viewed tables first."""
    return sorted((TABLES[each.table] for each in in_order(mirrored)), key=lambda table: table.explored.place)
