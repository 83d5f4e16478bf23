"""Events that change a mirrored object which they only name. We fetch that object. A type is a row here.

A dispute changes its charge and a credit note its invoice, but Stripe sends no event for the charge or the invoice. Two
kinds are left out. Some only accompany events of the object itself (checkout sessions, quotes, transfers). Others are
part of so many objects that fetching each would cost more than the daily comparison (coupons, tax rates, a
subscription's price).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from sync.bounds import is_object_id
from sync.object_types import OBJECT_TYPES, in_order

_Key = tuple[str, str]  # an object's type and id
_Fields = dict[str, msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Reference:
    """`names`: a field of the event's object -> the type of the object that it names, by id or expanded.

    With `accompanied` events, Stripe also sends an event for the named object, in the same second or later. A row as of
    that second is then new enough and is not fetched.
    """

    names: Mapping[str, str]
    events: tuple[str, ...] = ()
    accompanied: tuple[str, ...] = ()


def _events(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names)


_SOURCE = Reference(
    {"customer": "customer"}, events=_events("customer.source", "created", "deleted", "expiring", "updated")
)

# By the `object` field of the event's object.
REFERENCES: dict[str, Reference] = {
    "dispute": Reference(
        {"charge": "charge"},
        events=_events("charge.dispute", "closed", "created", "funds_reinstated", "funds_withdrawn", "updated"),
    ),
    "refund": Reference(
        {"charge": "charge"},
        events=("charge.refund.updated", "refund.failed", "refund.updated"),
        accompanied=("refund.created",),
    ),
    "review": Reference({"charge": "charge"}, events=_events("review", "closed", "opened")),
    "radar.early_fraud_warning": Reference(
        {"charge": "charge"}, events=_events("radar.early_fraud_warning", "created", "updated")
    ),
    "payment_intent": Reference(
        {"latest_charge": "charge", "invoice": "invoice"},
        accompanied=_events("payment_intent", "amount_capturable_updated", "canceled", "payment_failed", "succeeded"),
    ),
    "invoice_payment": Reference({"invoice": "invoice"}, accompanied=("invoice_payment.paid",)),
    "credit_note": Reference({"invoice": "invoice"}, events=_events("credit_note", "created", "updated", "voided")),
    "invoiceitem": Reference({"invoice": "invoice"}, events=_events("invoiceitem", "created", "deleted")),
    "discount": Reference(
        {"customer": "customer", "subscription": "subscription", "invoice": "invoice"},
        events=_events("customer.discount", "created", "deleted", "updated"),
    ),
    "tax_id": Reference({"customer": "customer"}, events=_events("customer.tax_id", "created", "deleted", "updated")),
    "source": _SOURCE,
    "card": _SOURCE,
    "bank_account": _SOURCE,
    # A detached payment method names no customer; before, it did.
    "payment_method": Reference(
        {"customer": "customer"},
        events=_events("payment_method", "attached", "automatically_updated", "detached", "updated"),
    ),
    "subscription_schedule": Reference(
        {"subscription": "subscription", "released_subscription": "subscription"},
        events=_events(
            "subscription_schedule", "aborted", "canceled", "completed", "created", "expiring", "released", "updated"
        ),
    ),
    # A plan is the price of the same id, in its older form.
    "plan": Reference({"id": "price"}, accompanied=_events("plan", "created", "deleted", "updated")),
}

_NAMING = tuple(name for each in REFERENCES.values() for name in (*each.events, *each.accompanied))


def listened_types(mirrored: Collection[str]) -> tuple[str, ...]:
    """The events that an endpoint at Stripe must send to a team that mirrors these types, and that we read for it."""
    own = (name for object_type in in_order(mirrored) for name in object_type.events)
    return tuple(dict.fromkeys((*own, *_NAMING)))


# For a team that mirrors everything.
LISTENED_TYPES: tuple[str, ...] = listened_types(OBJECT_TYPES)


def named_by(object_name: str, raw: bytes, previous: bytes) -> tuple[_Key, ...]:
    """The mirrored objects that an event's object names now or named before. Raises msgspec.DecodeError."""
    reference = REFERENCES.get(object_name)
    if reference is None:
        return ()
    fields = [msgspec.json.decode(each, type=_Fields) for each in (raw, previous) if each]
    found = (
        (type_name, object_id)
        for field, type_name in reference.names.items()
        for each in fields
        for object_id in _ids(each.get(field))
    )
    return tuple(dict.fromkeys(key for key in found if key[0] in OBJECT_TYPES))


def _ids(value: msgspec.Raw | None) -> Iterator[str]:
    """The id, also of an object that is expanded."""
    decoded = msgspec.json.decode(value) if value else None
    found = decoded.get("id") if isinstance(decoded, dict) else decoded
    if isinstance(found, str) and is_object_id(found):
        yield found


def is_accompanied(object_name: str, event_type: str) -> bool:
    return object_name in REFERENCES and event_type in REFERENCES[object_name].accompanied
