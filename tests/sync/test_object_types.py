"""A type is one row, one table, one factory and one sandbox kind: each that is missing is named here."""

import re
from pathlib import Path

import pytest

from api.dashboard import mirror_rows
from api.projects.key_store import Scope
from scripts.run_procfile import ROOT
from scripts.sandbox.kinds import KINDS
from sync.database.schema import parts
from sync.event_types import listened_types
from sync.object_types import BY_STRIPE_OBJECT, DEFAULT_TYPES, OBJECT_TYPES, ObjectType
from tests.factories import FACTORIES

_GROUPS = ("Core resources", "Payment methods", "Products", "Checkout", "Billing", "Connect", "Fraud", "Entitlements")


def _blocks(path: Path) -> set[str]:
    return set(re.findall(r"^-- name: (\w+)$", path.read_text(), re.MULTILINE))


_LIST_BLOCKS = _blocks(ROOT / "api/gateway/store.sql")
_EXPLORE_BLOCKS = _blocks(ROOT / "api/dashboard/mirror_rows.sql")


def _missing(each: ObjectType) -> list[str]:
    table = parts().get(f"type {each.name}", "")
    # Some columns of the explore pages are made by a select of the type's own.
    shown = {} if each.table in mirror_rows._OWN_SELECTS else {column.key for column in each.explored.columns}
    conditions = [*(f"or_{place}" for place in each.explored.finds if place != "customer_email")]
    wanted = {
        "a part of schema.sql": bool(table),
        "a table of that name": f"CREATE TABLE IF NOT EXISTS {{team}}.{each.table} (" in table,
        "the system columns": "LIKE billstack.mirror_row INCLUDING ALL" in table,
        "the column created": "    created timestamptz GENERATED" in table,
        "an index for lists": f"{each.table}_newest ON {{team}}.{each.table} (created, id)" in table,
        "a factory": each.name in FACTORIES and FACTORIES[each.name]()["object"] == each.stripe_object,
        "a sandbox kind": each.name in KINDS,
        "a list in the sandbox at Stripe's address": each.name in KINDS and KINDS[each.name].path == each.path,
        "the same kind of list in the sandbox": each.name in KINDS
        and KINDS[each.name].lists_by_time == each.is_by_time,
        "the sandbox's permission": each.name in KINDS and f"rak_{KINDS[each.name].permission}_read" == each.permission,
        "a scope that API keys have": each.scope in {scope.value for scope in Scope},
        "a group of Stripe's documentation": each.group in _GROUPS,
        "its deletion among its events": each.deleted_by is None or each.deleted_by in each.events,
        "columns to show": bool(each.explored.columns) and each.explored.columns[0].kind == "title",
    }
    wanted |= {f"the column {key}": f"    {key} " in table or key == "id" for key in shown}
    wanted |= {f"the block where_{row.block}": f"where_{row.block}" in _LIST_BLOCKS for row in each.filters}
    known = [row.name for row in each.filters if row.through]
    wanted |= {f"the block known_{name}": f"known_{name}" in _LIST_BLOCKS for name in known}
    wanted |= {f"the block {block}": block in _EXPLORE_BLOCKS for block in conditions}
    return [what for what, is_there in wanted.items() if not is_there]


@pytest.mark.parametrize("name", OBJECT_TYPES)
def test_every_type_is_complete(name: str) -> None:
    assert _missing(OBJECT_TYPES[name]) == []


def test_no_two_types_share_what_is_one_types_own() -> None:
    every = OBJECT_TYPES.values()

    for own in ("table", "path", "ordinal", "stripe_object"):
        assert len({getattr(each, own) for each in every}) == len(OBJECT_TYPES), own
    assert len(BY_STRIPE_OBJECT) == len(OBJECT_TYPES)


def test_a_part_of_the_schema_without_a_row_is_nobodys() -> None:
    assert {name.removeprefix("type ") for name in parts() if name.startswith("type ")} == set(OBJECT_TYPES)


def test_six_types_are_everybodys() -> None:
    assert DEFAULT_TYPES == ("customer", "product", "price", "subscription", "invoice", "charge")


def test_a_team_is_told_of_the_types_that_it_mirrors_and_of_what_changes_them() -> None:
    six, every = listened_types(DEFAULT_TYPES), listened_types(OBJECT_TYPES)

    assert {"customer.created", "charge.dispute.created"} <= set(six) <= set(every)
    assert all(set(each.events) <= set(every) for each in OBJECT_TYPES.values())
