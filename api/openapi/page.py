"""Turns an OpenAPI document into the values that templates/docs.html shows."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from api.openapi.examples import command_for, example_of, resolve, schema_of

# The heading of each blueprint, in the page's order.
TITLES = {
    "auth": "Signing in",
    "stripe": "Stripe connection and backfill",
    "live_status": "Live status",
    "stripe_events": "Events, webhook and comparison",
    "event_log": "Event log",
    "projects": "Projects",
    "api_keys": "API keys",
    "own_key": "The team's own Stripe key",
    "customers": "A project's customers",
    "mirror_projects": "A project's part of the mirror",
    "mirror": "Stripe's API, answered from the mirror",
    "numbers": "Numbers",
    "alerts": "Alerts",
    "database_access": "Reading with SQL",
    "members": "Members",
    "invitations": "Invitations",
    "teams": "Teams",
    "credentials": "Passwords and sessions",
    "audit_views": "Audit log",
    "set_up": "First set-up",
    "webhooks": "Stripe's deliveries",
    "health": "Health",
    "metrics": "Metrics",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A key of a body or answer, or a parameter. The name of a nested key is `user.email`."""

    name: str
    type: str
    note: str


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    description: str
    rows: list[Row]
    example: str


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
    command: str
    answers: list[Answer]


def titled(spec: dict[str, Any]) -> dict[str, Any]:
    """The document with readable tags in place of blueprint names, in the order of TITLES."""
    spec, order = copy.deepcopy(spec), list(TITLES)  # keep the caller's document unchanged: it is shared
    tags = sorted(
        spec.get("tags", []), key=lambda tag: order.index(tag["name"]) if tag["name"] in order else len(order)
    )
    for item in spec["paths"].values():
        for method, operation in item.items():
            if method != "parameters":
                operation["tags"] = [_title(name) for name in operation["tags"]]
    return spec | {"tags": [tag | {"name": _title(tag["name"])} for tag in tags]}


def prose(text: str) -> Markup:
    """Text between backticks becomes code; a blank line begins a paragraph."""
    paragraphs = [re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(each))) for each in text.split("\n\n")]
    return Markup("</p><p>").join(Markup(each) for each in paragraphs)  # escaped above


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return TITLES.get(name, words[:1].upper() + words[1:])


def operations(spec: dict[str, Any]) -> list[Operation]:
    """All operations, ordered by address."""
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
        command=command_for(spec, method, path, operation),
        answers=[
            Answer(status, answer.get("description", ""), _content(spec, answer), example_of(spec, answer))
            for status, answer in operation["responses"].items()
            if "$ref" not in answer  # a reference is the error that all operations share
        ],
    )


def _parameter(spec: dict[str, Any], parameter: dict[str, Any]) -> Row:
    schema = parameter.get("schema", {})
    return Row(parameter["name"], _type(spec, schema), _note(schema, bool(parameter.get("required"))))


def _content(spec: dict[str, Any], holder: dict[str, Any]) -> list[Row]:
    schema = schema_of(holder)
    return list(_rows(spec, schema, "")) if schema else []


def _rows(spec: dict[str, Any], schema: dict[str, Any], prefix: str) -> Iterator[Row]:
    schema = resolve(spec, schema)
    for name, value in schema.get("properties", {}).items():
        value = resolve(spec, value)
        yield Row(prefix + name, _type(spec, value), _note(value, name in schema.get("required", [])))
        inner = value.get("items") or value.get("additionalProperties")
        if isinstance(inner, dict):
            yield from _rows(spec, inner, f"{prefix}{name}[].")
        yield from _rows(spec, value, f"{prefix}{name}.")


def _type(spec: dict[str, Any], schema: dict[str, Any]) -> str:
    schema = resolve(spec, schema)
    if schema.get("type") == "array":
        return f"list of {_type(spec, schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "object")


def _note(schema: dict[str, Any], is_required: bool) -> str:
    allowed = schema.get("enum") or schema.get("items", {}).get("enum")
    notes = ["required"] if is_required else []
    notes += [f"one of {', '.join(map(str, allowed))}"] if allowed else []
    notes += [f"default {schema['default']}"] if "default" in schema else []
    return "; ".join([*notes, *filter(None, [schema.get("description")])])
