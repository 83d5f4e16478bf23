"""Reads the parameters of a write: checks what each may be, and refuses the rest as Stripe does."""

from collections.abc import Callable, Mapping
from typing import Any

from scripts.sandbox.answers import Refused
from scripts.sandbox.forms import Params, boolean, plain_text, whole_number
from scripts.sandbox.shapes import Json

Field = Callable[[Any, str], Any]

_MAX_METADATA_KEYS = 50


def text(value: Any, param: str) -> str | None:
    """An empty text removes the value."""
    return plain_text(value, param) or None


def integer(value: Any, param: str) -> int:
    return whole_number(value, param)


def flag(value: Any, param: str) -> bool:
    return boolean(value, param)


def texts(value: Any, param: str) -> list[str]:
    if value == "":
        return []
    if not isinstance(value, list):
        raise Refused("Invalid array", param=param)
    return [str(each) for each in value]


def objects(value: Any, param: str) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Refused("Invalid array", param=param)
    return value


def fields_of(value: Any, param: str) -> Json | None:
    """A nested object, taken unchanged. An empty text removes it."""
    if value == "":
        return None
    if not isinstance(value, dict):
        raise Refused("Invalid object", param=param)
    return {name: each or None for name, each in value.items()}


def one_of(*allowed: str) -> Field:
    def read(value: Any, param: str) -> str:
        if value not in allowed:
            raise Refused(f"Invalid {param}: must be one of {', '.join(allowed)}", param=param)
        return str(value)

    return read


def read(params: Any, fields: Mapping[str, Field], required: tuple[str, ...] = ()) -> Json:
    """The given parameters, converted. `metadata` and `expand` are always allowed and not included."""
    if not isinstance(params, dict):
        raise Refused(f"Invalid object: {params}")
    for name in required:
        if params.get(name) in (None, ""):
            raise Refused(f"Missing required param: {name}.", code="parameter_missing", param=name)
    for name in params:
        if name not in fields and name not in ("metadata", "expand"):
            raise Refused(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
    return {name: fields[name](value, name) for name, value in params.items() if name in fields}


def merge_metadata(obj: Json, params: Params) -> None:
    """Adds or replaces keys. An empty value removes its key; an empty `metadata` removes all of them."""
    given = params.get("metadata")
    if given is None:
        return
    if given == "":
        obj["metadata"] = {}
        return
    if isinstance(given, list):  # keys that are digits look like a list
        given = {str(at): value for at, value in enumerate(given)}
    if not isinstance(given, dict):
        raise Refused("Invalid object", param="metadata")
    merged = {**obj["metadata"], **{name: plain_text(value, "metadata") for name, value in given.items()}}
    obj["metadata"] = {name: value for name, value in merged.items() if value != ""}
    if len(obj["metadata"]) > _MAX_METADATA_KEYS:
        raise Refused(f"You can only have {_MAX_METADATA_KEYS} metadata keys.", param="metadata")
