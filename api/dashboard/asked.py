"""What a person asked of a type's table: which rows, as blocks of mirror_rows.sql with their parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from api.dashboard.mirror_tables import Table
from sync.errors import NotFound

_AMOUNT = re.compile(r"-?[0-9]{1,15}([.,][0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Asked:
    """`given` are the filters that hold, as the address has them. `reference` is the column that names an object."""

    given: Mapping[str, str] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None


def read_asked(table: Table, given: Mapping[str, str]) -> Asked:
    """Ignores filters that the type does not have, and values that they cannot have."""
    found = {name: text for name, text in given.items() if text.strip()}
    params = _simple(table, found) | _of_times(found) | (_of_amounts(found) if table.amount else {})
    conditions = [f"where_{name}" for name in params]
    kept = {name: found[name] for name in found if _PARAMETERS.get(name, name) in params}
    reference = next((column for column in table.references if column in found), None)
    if reference:
        _refuse_nul(found[reference])
        conditions.append(table.where_reference(reference))
        params["reference"] = kept[reference] = found[reference]
    if "find" in found:
        _refuse_nul(found["find"])
        kept["find"] = found["find"]
        conditions += ["find", *(f"or_{place}" for place in table.explored.finds), "end_find"]
        # Ids may begin or end with a space. A person who types one next to an id does not mean it.
        params |= {"texts": [found["find"], found["find"].strip()], "find": found["find"].strip()}
    return Asked(kept, tuple(conditions), params, reference)


# What an address calls a parameter.
_PARAMETERS = {"from": "from_day", "to": "to_day"}


def _simple(table: Table, given: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if given.get("status") in table.explored.statuses:
        found["status"] = given["status"]
    if table.explored.has_active and given.get("active") in ("true", "false"):
        found["active"] = given["active"] == "true"
    return found


def _of_times(given: Mapping[str, str]) -> dict[str, date]:
    found = {parameter: _date(given[name]) for name, parameter in _PARAMETERS.items() if name in given}
    return {parameter: day for parameter, day in found.items() if day}


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return None


def _of_amounts(given: Mapping[str, str]) -> dict[str, Decimal]:
    return {
        name: Decimal(given[name].strip().replace(",", "."))
        for name in ("least", "most")
        if name in given and _AMOUNT.fullmatch(given[name].strip())
    }


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise NotFound("no text in Postgres can contain this")
