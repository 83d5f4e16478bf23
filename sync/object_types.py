"""The registry of mirrored Stripe types, and what Python reads of their objects.

A type consists of a row in sync/registry, a table in schema.sql, a factory in tests/factories.py and a kind of the
sandbox. There is no branch for it. tests/sync/test_object_types.py names what is missing.
"""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

import msgspec

from sync.registry import billing, first_six, more, of_customers, payments
from sync.registry.row import NestedList, ObjectType

__all__ = ["OBJECT_TYPES", "NestedList", "ObjectType"]


class _Price(msgspec.Struct, gc=False):
    id: str


_Reference = _Price | str | None  # an id, or the whole object where it was expanded


class _PriceDetails(msgspec.Struct, gc=False):
    price: _Reference = None


class _Pricing(msgspec.Struct, gc=False):
    price_details: _PriceDetails | None = None


class ListedItem(msgspec.Struct, gc=False):
    """A subscription item or an invoice line: which price it names.

    Since 2025-03-31.basil under `pricing`, before as `price`, and before 2020-08-27 only as its `plan`, whose id is the
    price's too.
    """

    price: _Reference = None
    plan: _Reference = None
    pricing: _Pricing | None = None

    def named_price(self) -> str | None:
        details = self.pricing.price_details if self.pricing else None
        named = self.price or self.plan or (details.price if details else None)
        return _id_of(named)


class EmbeddedList(msgspec.Struct, gc=False):
    """What we read of a list inside an object: Stripe cuts it at about 10 and says so."""

    data: list[ListedItem] = []
    has_more: bool = False


OBJECT_TYPES: Mapping[str, ObjectType] = {
    each.name: each for each in (*first_six.TYPES, *payments.TYPES, *billing.TYPES, *more.TYPES, *of_customers.TYPES)
}
# The types that every team mirrors. A team mirrors others once a backfill has named them
# (sync/teams/mirrored_types.py).
DEFAULT_TYPES: tuple[str, ...] = tuple(name for name, each in OBJECT_TYPES.items() if each.is_default)
# Stripe sends no events for some of their changes.
REREAD_TYPES: tuple[str, ...] = tuple(name for name, each in OBJECT_TYPES.items() if each.is_reread)
# The types that are listed under the objects of another one, by that one.
CHILDREN: Mapping[str, tuple[ObjectType, ...]] = {
    name: children
    for name in OBJECT_TYPES
    if (children := tuple(each for each in OBJECT_TYPES.values() if each.parent and each.parent.type == name))
}
BY_STRIPE_OBJECT: Mapping[str, ObjectType] = {each.stripe_object: each for each in OBJECT_TYPES.values()}


# The second in which objects of a list without `created` count as created.
UNDATED = 0


def in_order(names: Collection[str]) -> list[ObjectType]:
    """These types, in the registry's order."""
    return [object_type for name, object_type in OBJECT_TYPES.items() if name in names]


def head_struct(object_type: ObjectType) -> type[Any]:
    """A msgspec struct with the few fields of an object that Python needs; the rest is skipped unread."""
    created: Any = ("created", int) if object_type.is_by_time else ("created", int, UNDATED)
    fields: list[Any] = [("id", str), created]
    if object_type.nested:
        fields.append((object_type.nested.field, EmbeddedList | None, None))
    renamed = {"created": object_type.paging_field}
    if object_type.parent:
        fields += [("parent", _Reference, None), ("second", int | None, None)]
        renamed |= {"parent": object_type.parent.field, "second": object_type.created_field}
    fields.append(("deleted", bool, False))
    return msgspec.defstruct(f"{object_type.name.title()}Head", fields, gc=False, rename=renamed)


@cache
def head_decoder(type_name: str) -> msgspec.json.Decoder[Any]:
    """Reads one object's head."""
    return msgspec.json.Decoder(head_struct(OBJECT_TYPES[type_name]))


def embedded_list(object_type: ObjectType, head: Any) -> EmbeddedList | None:
    return getattr(head, object_type.nested.field) if object_type.nested else None


def lacks_expanded(object_type: ObjectType, raw: bytes) -> bool:
    """Whether it is a copy without the fields that Stripe shows only on request. Raises msgspec.DecodeError."""
    if not object_type.expanded:
        return False
    fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return not any(name in fields for name in object_type.expanded)


def is_orphan(object_type: ObjectType, head: Any) -> bool:
    """Whether no list contains the object any more, because it names no parent."""
    return object_type.parent is not None and not _id_of(head.parent)


def parent_of(object_type: ObjectType, raw: bytes) -> str:
    """The parent's id. Raises msgspec.DecodeError."""
    return _id_of(head_decoder(object_type.name).decode(raw).parent) or ""


def _id_of(reference: _Reference) -> str | None:
    return reference.id if isinstance(reference, _Price) else reference


def is_cut(object_type: ObjectType, head: Any) -> bool:
    """Whether Stripe left out part of the object's embedded list."""
    embedded = embedded_list(object_type, head)
    if embedded is None:
        return object_type.nested is not None and object_type.nested.is_expanded
    return embedded.has_more
