"""All types beyond the first six: their kinds, how many an account has, and how one is made."""

from collections.abc import Mapping

from scripts.sandbox.dice import Dice
from scripts.sandbox.rows import Kind
from scripts.sandbox.shapes import Json
from scripts.sandbox.shelf import Shelf
from scripts.sandbox.types import billing, catalog, of_customers, payments
from scripts.sandbox.types.maker import Made, Maker, Shape

FURTHER_KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (*payments.KINDS, *billing.KINDS, *catalog.KINDS, *of_customers.KINDS)
}
_SHAPES: Mapping[str, Shape] = {**payments.SHAPES, **billing.SHAPES, **catalog.SHAPES, **of_customers.SHAPES}
# The contents of an account at scale 1, except types whose number follows from others.
FURTHER_COUNTS: Mapping[str, int] = {
    "setup_intent": 120,
    "coupon": 12,
    "promotion_code": 30,
    "tax_rate": 8,
    "checkout_session": 260,
    "credit_note": 90,
    "invoiceitem": 150,
    "subscription_schedule": 40,
    "transfer": 60,
    "early_fraud_warning": 15,
    "quote": 130,
    "payment_link": 25,
    "meter": 6,
    "feature": 9,
    "tax_id": 180,
}


def make(maker: Maker, type: str, created: int, about: Json | None = None) -> Made:
    """`about` is the object that it belongs to, such as a payment intent's charge.

    None: any object of the account.
    """
    return _SHAPES[type](maker, maker.head(type, created), about)


def new_maker(shelves: Mapping[str, Shelf], dice: Dice, *, livemode: bool) -> Maker:
    return Maker(FURTHER_KINDS, shelves, dice, livemode=livemode)
