"""The named operations of the API, and which one a request means."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_plus

from scripts.sandbox.answers import Answer, unrecognized
from scripts.sandbox.forms import Params
from scripts.sandbox.state import State

# Takes (state, the id in the path or "", parameters).
Handler = Callable[[State, str, Params], Answer]


@dataclass(frozen=True, slots=True)
class Operation:
    """One named operation of the API.

    Stripe's endpoint limit counts each one separately (stripe-facts.md, section 5).
    """

    name: str
    permission: str
    run: Handler


_OPERATIONS: dict[tuple[str, str], Operation] = {}


def add(method: str, pattern: str, permission: str, run: Handler) -> None:
    """A pattern is a path with `:id` in place of an id."""
    _OPERATIONS[method, pattern] = Operation(f"{method} {pattern}", permission, run)


def find(method: str, path: str) -> tuple[Operation, str]:
    """The operation and the id in the path. Otherwise raises Stripe's answer to an unknown address."""
    operation = _OPERATIONS.get((method, path))
    if operation is not None:
        return operation, ""
    parts = path.split("/")
    if len(parts) == 6 and parts[3]:  # /v1/customers/:id/tax_ids/:id
        operation = _OPERATIONS.get((method, "/".join([*parts[:3], ":id", parts[4], ":id"])))
        if operation is not None:
            return operation, unquote_plus(parts[5])
    for at in (3, 4):  # /v1/refunds/:id, /v1/checkout/sessions/:id
        if len(parts) in (at + 1, at + 2) and parts[at]:
            pattern = "/".join([*parts[:at], ":id", *parts[at + 1 :]])
            operation = _OPERATIONS.get((method, pattern))
            if operation is not None:
                return operation, unquote_plus(parts[at])  # as Stripe's own libraries escape ids
    raise unrecognized(method, path)


def patterns() -> list[tuple[str, str]]:
    """Method and pattern of every operation."""
    return list(_OPERATIONS)
