"""Compares two versions of an object, field by field, for people."""

import json
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

# An object that differs everywhere is told by its first fields. The others are only counted.
MOST_FIELDS = 50
MOST_CHARACTERS = 200

_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """`path` is like `items.data[0].quantity`. `old` and `new` are JSON texts, cut if long; None where it was absent."""

    path: str
    old: str | None
    new: str | None


def differences(old: Any, new: Any) -> tuple[list[Difference], int]:
    """The first fields that differ, in the order of their names, and how many more do."""
    found: list[Difference] = []
    more = 0
    waiting = [("", old, new)]  # no recursion: Stripe's objects are flat, but a stranger's need not be
    while waiting:
        path, before, after = waiting.pop()
        parts = _parts(path, before, after)
        if parts is not None:
            waiting += reversed(parts)
        elif not _is_same(before, after):
            if len(found) < MOST_FIELDS:
                found.append(Difference(path[:MOST_CHARACTERS], _text(before), _text(after)))
            else:
                more += 1
    return found, more


def _parts(path: str, before: Any, after: Any) -> list[tuple[str, Any, Any]] | None:
    """The fields of two objects, or the items of two lists, side by side. None for anything else."""
    if isinstance(before, dict) and isinstance(after, dict):
        prefix = f"{path}." if path else ""
        names = sorted(before.keys() | after.keys())
        return [(prefix + name, before.get(name, _ABSENT), after.get(name, _ABSENT)) for name in names]
    if isinstance(before, list) and isinstance(after, list):
        pairs = enumerate(zip_longest(before, after, fillvalue=_ABSENT))
        return [(f"{path}[{number}]", *pair) for number, pair in pairs]
    return None


def _is_same(before: Any, after: Any) -> bool:
    """Python takes true for 1."""
    return isinstance(before, bool) == isinstance(after, bool) and before == after


def _text(value: Any) -> str | None:
    if value is _ABSENT:
        return None
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
