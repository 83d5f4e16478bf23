"""Reads Stripe's list parameters. Each type's row says which filters its list takes."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from api.gateway.errors import RefusedParameter
from api.gateway.selection import Paging, Selection
from sync.object_types import OBJECT_TYPES
from sync.registry import row as registry

_MAX_LIMIT = 100
_DEFAULT_LIMIT = 10
_PAGING = ("limit", "starting_after", "ending_before", "created", "expand")
# The range of `created`, and one second on either side. Postgres has no time for bounds further out.
FIRST_SECOND, LAST_SECOND = -1, 253_402_300_800
_MAX_INTEGER = 2**63 - 1
_BRACKETED = re.compile(r"(\w+)\[(\w*)\]")

Values = dict[str, Any]  # a text, or for a bracketed name a dictionary of texts


@dataclass(frozen=True, slots=True)
class Filter:
    """A list parameter: `block` of store.sql, its parameter, and what makes its value of Stripe's text.

    `through` is as in the registry.
    """

    block: str
    param: str
    read: Callable[[Any, str], Any]
    through: str = ""


def first_unanswerable(type_name: str, values: Values) -> str | None:
    """A list parameter that the mirror does not support. Stripe may know it."""
    known = {*FILTERS[type_name], *_PAGING} - (set() if OBJECT_TYPES[type_name].is_by_time else {"created"})
    return next((name for name in values if name not in known), None)


def select(type_name: str, values: Values) -> Selection:
    """Raises RefusedParameter, in Stripe's words."""
    filters = FILTERS[type_name]
    given = {name: values[name] for name in filters if name in values}
    used = [(filters[name], filters[name].read(value, name)) for name, value in given.items()]
    used += [default for name, default in _DEFAULTS.get(type_name, {}).items() if name not in given]
    used = [(each, value) for each, value in used if value is not None]
    first, last = _created_range(values.get("created"))
    through = {each.param: each.through for each, _ in used if each.through}
    blocks, params = tuple(each.block for each, _ in used), {each.param: value for each, value in used}
    return Selection(blocks, params, first, last, through)


def without(selection: Selection, name: str) -> Selection:
    """The selection without one filter, whose block is `where_{name}`."""
    blocks = tuple(block for block in selection.blocks if block != f"where_{name}")
    return replace(selection, blocks=blocks)


def paging(values: Values) -> Paging:
    limit = _integer(values.get("limit", str(_DEFAULT_LIMIT)), "limit")
    if limit < 1:
        raise RefusedParameter("This value must be greater than or equal to 1.", "limit")
    if limit > _MAX_LIMIT:
        raise RefusedParameter(f"This value must be less than or equal to {_MAX_LIMIT}.", "limit")
    after, before = (_text(values[name], name) if name in values else None for name in _PAGING[1:3])
    if after is not None and before is not None:
        raise RefusedParameter("You can only specify one of these parameters: starting_after, ending_before.")
    return Paging(limit, after, before)


def nested(pairs: Iterable[tuple[str, str]]) -> Values:
    """`created[gte]=1&ids[]=a` as nested dictionaries. If a name is repeated, its last value counts."""
    values: Values = {}
    for name, value in pairs:
        match = _BRACKETED.fullmatch(name)
        if match is None:
            values[name] = value
            continue
        inner = values.setdefault(match[1], {})
        if not isinstance(inner, dict):
            raise RefusedParameter(f"Invalid request: {match[1]} is given twice in different forms.", match[1])
        inner[match[2] or str(len(inner))] = value
    return values


def _created_range(value: Any) -> tuple[int | None, int | None]:
    if value is None:
        return None, None
    if not isinstance(value, dict):
        value = {"gte": value, "lte": value}
        names = {"gte": "created", "lte": "created"}
    else:
        names = {name: f"created[{name}]" for name in value}
    bounds = {}
    for name, bound in value.items():
        if name not in ("gt", "gte", "lt", "lte"):
            raise _unknown(names[name])
        bounds[name] = min(max(_integer(bound, names[name]), FIRST_SECOND), LAST_SECOND)
    firsts = [bounds[name] + add for name, add in (("gte", 0), ("gt", 1)) if name in bounds]
    lasts = [bounds[name] - subtract for name, subtract in (("lte", 0), ("lt", 1)) if name in bounds]
    return max(firsts, default=None), min(lasts, default=None)


def _unknown(name: str) -> RefusedParameter:
    return RefusedParameter(f"Received unknown parameter: {name}", name, code="parameter_unknown")


# What values may be -----------------------------------------------------------------------------------------------------


def _text(value: Any, param: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise RefusedParameter(f"Invalid string: {value}", param)
    return value


def _texts(value: Any, param: str) -> list[str]:
    if not isinstance(value, dict):
        raise RefusedParameter("Invalid array", param)
    return [_text(each, param) for each in value.values()]


def _integer(value: Any, param: str) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"[+-]?[0-9]{1,19}", value, re.ASCII):
        raise RefusedParameter(f"Invalid integer: {value}", param, code="parameter_invalid_integer")
    number = int(value)
    if abs(number) > _MAX_INTEGER:
        raise RefusedParameter(f"Invalid integer: {value}", param, code="parameter_invalid_integer")
    return number


def _one_of(*allowed: str, meanings: Mapping[str, Any] | None = None) -> Callable[[Any, str], Any]:
    """`meanings` are words that stand for something else; None: for everything."""
    words = meanings or {}

    def read(value: Any, param: str) -> Any:
        if _text(value, param) not in (*allowed, *words):
            raise RefusedParameter(f"Invalid {param}: must be one of {', '.join((*allowed, *words))}", param)
        return words.get(value, value)

    return read


def _flag(value: Any, param: str) -> bool:
    """In upper or lower case: many programs send Python's `True`."""
    return bool(_one_of(meanings={"true": True, "false": False})(_text(value, param).lower(), param))


def _statuses(*allowed: str, meanings: Mapping[str, Any] | None = None) -> Filter:
    choice = _one_of(*allowed, meanings=meanings)

    def read(value: Any, param: str) -> list[str] | None:
        chosen = choice(value, param)
        return [chosen] if isinstance(chosen, str) else chosen

    return Filter("where_statuses", "statuses", read)


def _filter(row: registry.Filter) -> Filter:
    if row.kind == "status":
        return _statuses(*row.values, meanings=row.meanings)
    reads = {"text": _one_of(*row.values) if row.values else _text, "texts": _texts, "flag": _flag}
    return Filter(f"where_{row.block}", row.block, reads[row.kind], row.through)


def _default(row: registry.Filter) -> tuple[Filter, Any]:
    assert row.default
    block, value = row.default
    return Filter(f"where_{block}", block, _text), value


FILTERS: dict[str, dict[str, Filter]] = {
    each.name: {row.name: _filter(row) for row in each.filters} for each in OBJECT_TYPES.values()
}
# Stripe's lists have these defaults (stripe-facts: what lists leave out).
_DEFAULTS: dict[str, dict[str, tuple[Filter, Any]]] = {
    each.name: {row.name: _default(row) for row in each.filters if row.default} for each in OBJECT_TYPES.values()
}
