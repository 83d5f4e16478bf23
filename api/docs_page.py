"""Turns an OpenAPI document into the rows that templates/docs.html shows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_SCHEMA_PREFIX = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Row:
    """One key of a body, parameter of an address, or key of an answer; `name` is `user.email` for a nested one."""

    name: str
    type: str
    note: str


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    description: str
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Operation:
    tag: str
    method: str
    path: str
    summary: str
    description: str
    access: str
    parameters: list[Row]
    body: list[Row]
    answers: list[Answer]


def operations(spec: dict[str, Any]) -> list[Operation]:
    """All operations in the order of their addresses."""
    return [
        _operation(spec, path, method, item.get("parameters", []), operation)
        for path, item in sorted(spec["paths"].items())
        for method, operation in item.items()
        if method != "parameters"
    ]


def _operation(
    spec: dict[str, Any], path: str, method: str, shared: list[dict[str, Any]], operation: dict[str, Any]
) -> Operation:
    return Operation(
        tag=operation["tags"][0],
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        description=operation.get("description", ""),
        access=operation.get("x-access", "no credentials"),
        parameters=[_parameter(spec, parameter) for parameter in [*shared, *operation.get("parameters", [])]],
        body=_content(spec, operation.get("requestBody", {})),
        answers=[
            Answer(status, answer.get("description", ""), _content(spec, answer))
            for status, answer in operation["responses"].items()
            if "$ref" not in answer  # the error that all of them share
        ],
    )


def _parameter(spec: dict[str, Any], parameter: dict[str, Any]) -> Row:
    schema = parameter.get("schema", {})
    return Row(parameter["name"], _type(spec, schema), _note(schema, bool(parameter.get("required"))))


def _content(spec: dict[str, Any], holder: dict[str, Any]) -> list[Row]:
    schema = holder.get("content", {}).get("application/json", {}).get("schema")
    return list(_rows(spec, schema, "")) if schema else []


def _rows(spec: dict[str, Any], schema: dict[str, Any], prefix: str) -> Iterator[Row]:
    schema = _resolve(spec, schema)
    for name, value in schema.get("properties", {}).items():
        value = _resolve(spec, value)
        yield Row(prefix + name, _type(spec, value), _note(value, name in schema.get("required", [])))
        inner = value.get("items") or value.get("additionalProperties")
        if isinstance(inner, dict):
            yield from _rows(spec, inner, f"{prefix}{name}[].")
        yield from _rows(spec, value, f"{prefix}{name}.")


def _type(spec: dict[str, Any], schema: dict[str, Any]) -> str:
    schema = _resolve(spec, schema)
    if schema.get("type") == "array":
        return f"list of {_type(spec, schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "object")


def _note(schema: dict[str, Any], is_required: bool) -> str:
    allowed = schema.get("enum") or schema.get("items", {}).get("enum")
    notes = ["required"] if is_required else []
    notes += [f"one of {', '.join(map(str, allowed))}"] if allowed else []
    notes += [f"default {schema['default']}"] if "default" in schema else []
    return "; ".join([*notes, *filter(None, [schema.get("description")])])


def _resolve(spec: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follows a reference, also one that OpenAPI 3.0 wraps in `allOf` to make it nullable."""
    while "$ref" in schema or "allOf" in schema:
        schema = schema["allOf"][0] if "allOf" in schema else spec["components"]["schemas"][_name(schema["$ref"])]
    return schema


def _name(reference: str) -> str:
    return reference.removeprefix(_SCHEMA_PREFIX)
