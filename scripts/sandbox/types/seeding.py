"""Fills an account with the types beyond the first six, consistently with those.

Every charge has its payment intent and balance transaction, every refunded amount its refund, and payouts add up.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from scripts.sandbox.answers import decode
from scripts.sandbox.dice import Dice
from scripts.sandbox.profiles import Profile
from scripts.sandbox.shapes import Json
from scripts.sandbox.shelf import Shelf
from scripts.sandbox.types.registry import make, new_maker

_WEEK = 7 * 86_400
_DISPUTED = 60  # one charge in this many
_CREDITED = 8  # one customer in this many once had a credit
# In this order, because each type may name the ones before it.
_ORDER = (
    "refund",
    "dispute",
    "payment_intent",
    "invoice_payment",
    "balance_transaction",
    "payout",
    "setup_intent",
    "coupon",
    "promotion_code",
    "tax_rate",
    "checkout_session",
    "credit_note",
    "invoiceitem",
    "subscription_schedule",
    "transfer",
    "early_fraud_warning",
    "quote",
    "payment_link",
    "meter",
    "feature",
    "payment_method",
    "customer_balance_transaction",
    "tax_id",
)


class FurtherSeeder:
    """`counts`: how many of each type; None: as many as follow from the first six.

    `billed`: invoices by their charge's id.
    """

    def __init__(
        self,
        shelves: Mapping[str, Shelf],
        counts: Mapping[str, int | None],
        dice: Dice,
        profile: Profile,
        billed: Mapping[str, Json],
        *,
        livemode: bool,
        now: int,
    ) -> None:
        self._shelves = shelves
        self._counts = counts
        self._dice = dice
        self._profile = profile
        self._billed = billed
        self._now = now
        self._maker = new_maker(shelves, dice, livemode=livemode)

    def fill(self) -> None:
        for type in _ORDER:
            self._fill(type, self._counts.get(type, 0))
        if self._counts.get("balance_transaction") is None:
            for payout in self._all("payout"):
                own = self._put("balance_transaction", payout["created"], payout)
                if payout["automatic"]:
                    self._group(payout["id"], [own["id"]])

    def _fill(self, type: str, count: int | None) -> None:
        follows = {
            "refund": self._refunded,
            "dispute": self._disputed,
            "payment_intent": lambda: self._all("charge"),
            "invoice_payment": self._paid_for,
            "balance_transaction": self._moved,
            "payout": self._paid_out,
            "payment_method": self._saved_cards,
            "customer_balance_transaction": self._balanced,
        }.get(type)
        abouts: Iterable[Json] = follows() if follows else ()
        made = 0
        for about in islice(abouts, count):
            obj = self._put(type, min(self._now - 1, about["created"]), about)
            self._group(obj["id"], about.get("paid_out", ()))
            made += 1
        for created in self._profile.times(self._dice, max(0, (count or 0) - made), self._now):
            self._put(type, created, None)

    def _put(self, type: str, created: int, about: Json | None) -> Json:
        obj, children = make(self._maker, type, created, about)
        self._shelves[type].put(obj, children)
        return obj

    def _group(self, payout_id: str, transactions: Iterable[str]) -> None:
        for id in transactions:
            self._shelves["balance_transaction"].group("payout", payout_id, id)

    def _all(self, type: str) -> Iterator[Json]:
        for record in list(self._shelves[type].timeline):
            yield decode(record.body)

    def _refunded(self) -> Iterator[Json]:
        return (charge for charge in self._all("charge") if charge["amount_refunded"])

    def _disputed(self) -> Iterator[Json]:
        charges = (each for each in self._all("charge") if each["status"] == "succeeded" and not each["refunded"])
        for at, charge in enumerate(charges):
            if at % _DISPUTED == _DISPUTED - 1:
                charge["disputed"] = True
                self._shelves["charge"].put(charge)
                yield charge

    def _paid_for(self) -> Iterator[Json]:
        for charge in self._all("charge"):
            if charge["id"] in self._billed:
                yield {**charge, "invoice": self._billed[charge["id"]]}

    def _saved_cards(self) -> Iterator[Json]:
        """One for each customer with a charge: the card that paid for the first one."""
        firsts: dict[str, Json] = {}
        for charge in self._all("charge"):
            if charge["customer"]:
                firsts.setdefault(charge["customer"], charge)
        yield from firsts.values()

    def _balanced(self) -> Iterator[Json]:
        """What a customer's balance is made of. Some had a credit that is used up."""
        for at, customer in enumerate(self._all("customer")):
            moved, balance = {"customer": customer["id"], "created": customer["created"]}, customer["balance"]
            if balance:
                yield {**moved, "amount": balance, "ending_balance": balance}
            elif at % _CREDITED == 0:
                yield {**moved, "amount": -2000, "ending_balance": -2000}
                yield {**moved, "amount": 2000, "ending_balance": 0}

    def _moved(self) -> Iterator[Json]:
        for type in ("charge", "refund"):
            yield from (each for each in self._all(type) if each["balance_transaction"])

    def _paid_out(self) -> Iterator[Json]:
        """Weekly, what came in less what went out; each payout has a balance transaction of its own, and is 'about' the sum."""
        weeks: dict[tuple[int, str], list[Json]] = {}
        for each in self._all("balance_transaction"):
            weeks.setdefault((each["available_on"] // _WEEK, each["currency"]), []).append(each)
        for (week, currency), moved in sorted(weeks.items()):
            amount, created = sum(each["net"] for each in moved), (week + 1) * _WEEK
            if amount > 0 and created < self._now:
                ids = [each["id"] for each in moved]
                yield {"amount": amount, "currency": currency, "created": created, "paid_out": ids}
