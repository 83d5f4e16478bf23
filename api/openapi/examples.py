"""Generates examples for an OpenAPI document: the JSON of a body or answer, and a curl command for an operation."""

import json
import re
import shlex
from typing import Any

_SCHEMA_PREFIX = "#/components/schemas/"
# How deep the example of a recursive schema goes.
_DEEPEST = 6
_ORIGIN = "https://billstack.example.com"
# By field name. Other fields get an example from their type.
_SAMPLES: dict[str, Any] = {
    "accountId": "acct_1Nv0FGQ9RKHgCVdK",
    "accountName": "My SaaS Inc.",
    "backfillId": "bf_ttb4dqe6x31ddxu24xzs",
    "cursor": "in_1Nv0FG",
    "email": "ada@example.com",
    "id": "k3v9ttb4dqe6x31ddxu2",
    "link": f"{_ORIGIN}/invitation/…",
    "name": "Ada Lovelace",
    "nextCursor": "in_1Nv0FG",
    "object_id": "cus_NffrFeUfNV2Hib",
    "objects": ["customer", "charge"],
    "password": "correct horse battery staple",
    "prefix": "bs_3f9c",
    "projectId": "proj_k3v9ttb4dqe6x31ddxu2",
    "publishableKey": "pk_test_…",
    "rawKey": "bs_3f9c…",
    "scopes": ["customers:read"],
    "secretKey": "rk_test_…",
    "stripeCustomerId": "cus_NffrFeUfNV2Hib",
    "webhookSecret": "whsec_…",
    "webhookUrl": f"{_ORIGIN}/api/webhooks/stripe/team_k3v9ttb4dqe6x31ddxu2",
}
_BY_TYPE: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.0, "boolean": True}
_BY_FORMAT = {"date-time": "2026-03-30T12:00:00Z", "date": "2026-03-30", "email": "ada@example.com", "uri": _ORIGIN}


def resolve(spec: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follows a reference, including one that OpenAPI 3.0 wraps in `allOf` to make it nullable."""
    while "$ref" in schema or "allOf" in schema:
        schema = schema["allOf"][0] if "allOf" in schema else spec["components"]["schemas"][_name(schema["$ref"])]
    return schema


def example_of(spec: dict[str, Any], holder: dict[str, Any]) -> str:
    """The JSON of a request's body or of an answer. Empty if there is none."""
    schema = schema_of(holder)
    return json.dumps(_value(spec, schema, "", 0), indent=2, ensure_ascii=False) if schema else ""


def schema_of(holder: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = holder.get("content", {}).get("application/json", {}).get("schema")
    return found


def command_for(spec: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    """A curl command, with the session of `-b jar` or with a key."""
    address = _ORIGIN + re.sub(r"{(\w+)}", lambda match: str(_in_path(match[1])), path)
    words = ["curl", *(["-X", method.upper()] if method != "get" else []), shlex.quote(address)]
    schemes = [name for each in operation.get("security", []) for name in each]
    if "apiKey" in schemes:
        words += ["-H", "'Authorization: Bearer bs_…'"]
    elif "session" in schemes:
        words += ["-b", "jar"]
    body = schema_of(operation.get("requestBody", {}))
    if body or (method != "get" and "session" in schemes):
        words += ["-H", "'Content-Type: application/json'"]
    if body:
        words += ["-d", shlex.quote(json.dumps(_value(spec, body, "", 0), ensure_ascii=False))]
    return " ".join(words)


def _in_path(name: str) -> Any:
    prefixes = {"team_id": "team", "project_id": "proj", "customer_id": "pc", "key_id": "key"}
    return f"{prefixes[name]}_{_SAMPLES['id']}" if name in prefixes else _SAMPLES.get(name, f"{name}_{_SAMPLES['id']}")


def _value(spec: dict[str, Any], schema: dict[str, Any], name: str, depth: int) -> Any:
    schema = resolve(spec, schema)
    if "example" in schema:
        return schema["example"]
    if depth > _DEEPEST:
        return {}
    if "properties" in schema:
        return {key: _value(spec, each, key, depth + 1) for key, each in schema["properties"].items()}
    if name in _SAMPLES:
        return _SAMPLES[name]
    if schema.get("type") == "array":
        return [_value(spec, schema.get("items", {}), name.removesuffix("s"), depth + 1)]
    if isinstance(schema.get("additionalProperties"), dict):
        return {"customer" if name == "result" else "key": _value(spec, schema["additionalProperties"], "", depth + 1)}
    return _simple(schema)


def _simple(schema: dict[str, Any]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    return _BY_FORMAT.get(schema.get("format", "")) or _BY_TYPE.get(schema.get("type", ""), {})


def _name(reference: str) -> str:
    return reference.removeprefix(_SCHEMA_PREFIX)
