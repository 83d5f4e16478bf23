"""Stripe's bracketed form encoding: `created[gte]=1&types[]=a&items[0][price]=p`, and back into nested values."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from scripts.sandbox.answers import Refused

Params = dict[str, Any]

_MAX_INTEGER = 2**63 - 1
_BRACKET = re.compile(r"\[([^\[\]]*)\]")


def parse(text: str) -> Params:
    """Parses a query string or form body into nested dictionaries, lists and strings."""
    return nest(parse_qsl(text, keep_blank_values=True)) if text else {}


def nest(pairs: Iterable[tuple[str, Any]]) -> Params:
    """Expands bracketed names. Nested values stay as they are; numbers and booleans become text."""
    found: Params = {}
    for name, value in pairs:
        head, bracket, _ = name.partition("[")
        if bracket:
            _put(found, [head, *_BRACKET.findall(name)], value)
        else:
            found[name] = value
    return {name: _lists(value) for name, value in found.items()}


def _put(target: Params, keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        target = target.setdefault(key, {})
        if not isinstance(target, dict):
            raise Refused(f"Invalid request: {keys[0]} is given twice in different forms.", param=keys[0])
    last = keys[-1] or str(len(target))
    target[last] = value


def _lists(value: Any) -> Any:
    """Dictionaries whose keys count from zero become lists.

    Other values become text as on the wire; None becomes "".
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, int):
        return "" if value is None else str(value)
    if isinstance(value, list | tuple):
        return [_lists(each) for each in value]
    if isinstance(value, dict):
        opened = {str(key): _lists(each) for key, each in value.items()}
        if opened and all(key.isdigit() for key in opened):
            return [opened[key] for key in sorted(opened, key=int)]
        return opened
    return value


def whole_number(value: Any, param: str) -> int:
    """An integer parameter of at most 64 bits. Otherwise raises Stripe's refusal."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise Refused(f"Invalid integer: {value}", code="parameter_invalid_integer", param=param) from None
    if abs(number) > _MAX_INTEGER:
        raise Refused(f"Invalid integer: {value}", code="parameter_invalid_integer", param=param)
    return number


def plain_text(value: Any, param: str) -> str:
    """A text that is neither a list nor an object."""
    if not isinstance(value, str):
        raise Refused(f"Invalid string: {value}", param=param)
    return value


def boolean(value: Any, param: str) -> bool:
    """In any case: stripe-python sent Python's own words for years."""
    word = value.lower() if isinstance(value, str) else ""
    if word not in ("true", "false"):
        raise Refused(f"Invalid boolean: {value}", param=param)
    return word == "true"
