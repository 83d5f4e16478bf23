"""The tables of the explore pages, as each type's row in the registry has them."""

from collections.abc import Collection
from dataclasses import dataclass

from sync.object_types import OBJECT_TYPES, in_order
from sync.registry.row import OF_CUSTOMER, Column, Explored


@dataclass(frozen=True, slots=True)
class Table:
    """A type's table by its name, and what one and all of its rows are called."""

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
    """What a customer's page shows below the customer."""
    tables = [TABLES[each.table] for each in in_order(mirrored)]
    return [table for table in tables if table.explored.finds == OF_CUSTOMER]


def in_navigation(mirrored: Collection[str]) -> list[Table]:
    """What people look at most, and then the others."""
    return sorted((TABLES[each.table] for each in in_order(mirrored)), key=lambda table: table.explored.place)
