"""Objects that Stripe embeds whole, like a subscription item's price, as they are today.

Stripe makes each answer from the present state, and tells nobody that a subscription shows a changed price. The sandbox
stores answers as bytes with the copies of the day, so this is made on request (`PUT /sandbox/embedding`): a mirror's
rows then keep old copies, as they do at Stripe.
"""

from collections.abc import Mapping
from typing import Any

from scripts.sandbox.answers import decode, encode
from scripts.sandbox.shapes import Json, plan
from scripts.sandbox.shelf import Shelf

_EMBEDDED = ("price", "plan", "coupon")


def with_todays(shelves: Mapping[str, Shelf], body: bytes) -> bytes:
    """The same JSON with today's prices, plans and coupons below its top level."""
    if not any(b'"object":"%s"' % name.encode() in body for name in _EMBEDDED):
        return body
    value = decode(body)
    _renew(shelves, value)
    return encode(value)


def _renew(shelves: Mapping[str, Shelf], value: Any) -> None:
    if isinstance(value, list):
        for each in value:
            _renew(shelves, each)
    elif isinstance(value, dict):
        for name, each in value.items():
            found = _today(shelves, each)
            if found is None:
                _renew(shelves, each)
            else:
                value[name] = found


def _today(shelves: Mapping[str, Shelf], value: Any) -> Json | None:
    """None: it is no embedded object, or it is not there any more."""
    if not isinstance(value, dict) or value.get("object") not in _EMBEDDED:
        return None
    is_plan = value["object"] == "plan"  # a price in its old shape
    record = shelves["price" if is_plan else value["object"]].get(str(value.get("id")))
    if record is None:
        return None
    found: Json = plan(decode(record.body)) if is_plan else decode(record.body)
    if isinstance(value.get("product"), dict):  # it was expanded
        found["product"] = value["product"]
    return found
