"""Builds the row of a type whose filters compare one field each."""

from collections.abc import Mapping
from typing import Any

from scripts.sandbox.rows import Facet, Filter, Kind
from scripts.sandbox.shapes import Json

_FLAGS = ("active", "inclusive")
CHARGE_FILTERS = {"charge": "charge", "payment_intent": "payment_intent"}


def kind(
    name: str,
    plural: str,
    prefix: str,
    *,
    length: int = 22,
    permission: str = "",
    filters: Mapping[str, str] | None = None,
    statuses: tuple[str, ...] = (),
    events: tuple[str, ...] = ("created", "updated"),
    **fields: Any,
) -> Kind:
    """`filters`: parameter -> where its value is in the object. `statuses` are those of a `status` parameter."""
    narrowed = {param: Filter(param, ("true", "false") if param in _FLAGS else ()) for param in filters or {}}
    facets = {param: facet(place) for param, place in (filters or {}).items()}
    if statuses:
        narrowed["status"] = Filter("status", statuses)
        facets["status"] = facet("status")
    return Kind(name, plural, prefix, length, permission or name, facets, filters=narrowed, events=events, **fields)


def facet(name: str) -> Any:
    """Reads the value at a place such as `promotion.coupon`."""

    def read(obj: Json) -> Facet:
        value = obj
        for part in name.split("."):
            value = (value or {}).get(part)  # type: ignore[assignment]
        if isinstance(value, bool):
            return "true" if value else "false"
        return value  # type: ignore[return-value]

    return read
