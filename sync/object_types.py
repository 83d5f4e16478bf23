"""The registry of mirrored Stripe types: a type is a row here, a table in schema.sql, a factory in tests; no branch."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec


class _Price(msgspec.Struct):
    id: str


class _PriceDetails(msgspec.Struct):
    price: str | None = None


class _Pricing(msgspec.Struct):
    price_details: _PriceDetails | None = None


class ListedItem(msgspec.Struct):
    """A subscription item or an invoice line: which price it names, in the shape of before or since 2025-03-31.basil."""

    price: _Price | None = None
    pricing: _Pricing | None = None

    def named_price(self) -> str | None:
        if self.price:
            return self.price.id
        details = self.pricing.price_details if self.pricing else None
        return details.price if details else None


class CutList(msgspec.Struct):
    """What we read of an embedded list: Stripe cuts it at about 10 and says so."""

    data: list[ListedItem] = []
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class NestedList:
    """A list inside an object, and where the whole of it is read: `{id}` in the path or a parameter is the object's."""

    field: str
    path: str
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"list_{self.field}"


@dataclass(frozen=True, slots=True)
class ObjectType:
    """`variants` are the list filters that together give every object (stripe-facts: what lists leave out)."""

    name: str
    table: str
    path: str
    ordinal: int
    variants: tuple[Mapping[str, str], ...] = ({},)
    nested: tuple[NestedList, ...] = ()

    @property
    def list_endpoint(self) -> str:
        """Name of the rate-limited operation at Stripe; each one has its own limit."""
        return f"list_{self.table}"

    @property
    def retrieve_endpoint(self) -> str:
        return f"retrieve_{self.table}"


_TYPES = (
    ObjectType("customer", table="customers", path="/v1/customers", ordinal=1),
    ObjectType("product", table="products", path="/v1/products", ordinal=2),
    # The documentation says that a list without `active` may leave inactive prices out.
    ObjectType(
        "price", table="prices", path="/v1/prices", ordinal=3, variants=({"active": "true"}, {"active": "false"})
    ),
    # Without status=all, canceled subscriptions are left out.
    ObjectType(
        "subscription",
        table="subscriptions",
        path="/v1/subscriptions",
        ordinal=4,
        variants=({"status": "all"},),
        nested=(NestedList("items", "/v1/subscription_items", {"subscription": "{id}"}),),
    ),
    ObjectType(
        "invoice",
        table="invoices",
        path="/v1/invoices",
        ordinal=5,
        nested=(NestedList("lines", "/v1/invoices/{id}/lines"),),
    ),
    ObjectType("charge", table="charges", path="/v1/charges", ordinal=6),
)

OBJECT_TYPES: dict[str, ObjectType] = {object_type.name: object_type for object_type in _TYPES}


def head_struct(object_type: ObjectType) -> type[Any]:
    """A msgspec struct with the few fields of an object that Python needs; the rest is skipped unread."""
    nested = [(nested_list.field, CutList | None, None) for nested_list in object_type.nested]
    fields: list[Any] = [("id", str), ("created", int), *nested]
    return msgspec.defstruct(f"{object_type.name.title()}Head", fields)
