"""The registry of mirrored Stripe types: a type is a row here, a table in schema.sql, a factory in tests; no branch."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

import msgspec


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
        return named.id if isinstance(named, _Price) else named


class EmbeddedList(msgspec.Struct, gc=False):
    """What we read of a list inside an object: Stripe cuts it at about 10 and says so."""

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

    def path_of(self, object_id: str) -> str:
        return self.path.format(id=id_in_path(object_id))


@dataclass(frozen=True, slots=True)
class ObjectType:
    """`variants` are the list filters that together give every object (stripe-facts: what lists leave out).

    `events` are the types of all events that carry such an object with an id. `reuses_ids`: people choose them, and may
    choose a deleted one's again. `permission` is what a restricted key needs to read them.
    """

    name: str
    table: str
    path: str
    ordinal: int
    events: tuple[str, ...]
    variants: tuple[Mapping[str, str], ...] = ({},)
    nested: NestedList | None = None
    reuses_ids: bool = False
    permission: str = ""

    def __post_init__(self) -> None:
        if not self.permission:
            object.__setattr__(self, "permission", f"rak_{self.name}_read")

    def path_of(self, object_id: str) -> str:
        """Where one object of this type is at Stripe."""
        return f"{self.path}/{id_in_path(object_id)}"

    @property
    def list_endpoint(self) -> str:
        """Name of the rate-limited operation at Stripe; each one has its own limit."""
        return f"list_{self.table}"

    @property
    def list_field(self) -> str | None:
        """Which of an object's fields is its embedded list."""
        return self.nested.field if self.nested else None

    @property
    def retrieve_endpoint(self) -> str:
        return f"retrieve_{self.table}"


def id_in_path(object_id: str) -> str:
    """People choose ids of customers, products and plans, also with spaces, slashes and dots."""
    return quote(object_id, safe="") if object_id.strip(".") else object_id.replace(".", "%2E")


def _events(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names)


_TYPES = (
    ObjectType(
        "customer",
        table="customers",
        path="/v1/customers",
        ordinal=1,
        events=_events("customer", "created", "deleted", "updated"),
        reuses_ids=True,
    ),
    ObjectType(
        "product",
        table="products",
        path="/v1/products",
        ordinal=2,
        events=_events("product", "created", "deleted", "updated"),
        reuses_ids=True,
    ),
    # The documentation says that a list without `active` may leave inactive prices out.
    ObjectType(
        "price",
        table="prices",
        path="/v1/prices",
        ordinal=3,
        events=_events("price", "created", "deleted", "updated"),
        variants=({"active": "true"}, {"active": "false"}),
        reuses_ids=True,  # a plan's, which people may choose; it is a price too
        permission="rak_plan_read",
    ),
    # Without status=all, canceled subscriptions are left out.
    ObjectType(
        "subscription",
        table="subscriptions",
        path="/v1/subscriptions",
        ordinal=4,
        events=_events(
            "customer.subscription",
            "created",
            "deleted",
            "paused",
            "pending_update_applied",
            "pending_update_expired",
            "resumed",
            "trial_will_end",
            "updated",
        ),
        variants=({"status": "all"},),
        nested=NestedList("items", "/v1/subscription_items", {"subscription": "{id}"}),
    ),
    ObjectType(
        "invoice",
        table="invoices",
        path="/v1/invoices",
        ordinal=5,
        # Not invoice.upcoming, whose invoice is a preview without an id.
        events=_events(
            "invoice",
            "created",
            "deleted",
            "finalization_failed",
            "finalized",
            "marked_uncollectible",
            "overdue",
            "overpaid",
            "paid",
            "payment_action_required",
            "payment_attempt_required",
            "payment_failed",
            "payment_succeeded",
            "sent",
            "updated",
            "voided",
            "will_be_due",
        ),
        nested=NestedList("lines", "/v1/invoices/{id}/lines"),
    ),
    ObjectType(
        "charge",
        table="charges",
        path="/v1/charges",
        ordinal=6,
        events=_events("charge", "captured", "expired", "failed", "pending", "refunded", "succeeded", "updated"),
    ),
)

OBJECT_TYPES: dict[str, ObjectType] = {object_type.name: object_type for object_type in _TYPES}
# What an endpoint at Stripe has to send us, and what we read from /v1/events.
EVENT_TYPES: tuple[str, ...] = tuple(name for object_type in _TYPES for name in object_type.events)


def head_struct(object_type: ObjectType) -> type[Any]:
    """A msgspec struct with the few fields of an object that Python needs; the rest is skipped unread."""
    fields: list[Any] = [("id", str), ("created", int)]
    if object_type.nested:
        fields.append((object_type.nested.field, EmbeddedList | None, None))
    fields.append(("deleted", bool, False))
    return msgspec.defstruct(f"{object_type.name.title()}Head", fields, gc=False)


@cache
def head_decoder(type_name: str) -> msgspec.json.Decoder[Any]:
    """Reads one object's head."""
    return msgspec.json.Decoder(head_struct(OBJECT_TYPES[type_name]))


def embedded_list(object_type: ObjectType, head: Any) -> EmbeddedList | None:
    return getattr(head, object_type.nested.field) if object_type.nested else None


def is_cut(object_type: ObjectType, head: Any) -> bool:
    """Whether Stripe left out part of the object's embedded list."""
    embedded = embedded_list(object_type, head)
    return embedded is not None and embedded.has_more
