"""What the shapes of all types need: dice, other objects of the account, and a new object's first fields."""

from collections.abc import Callable, Mapping
from typing import Any

from scripts.sandbox.answers import decode
from scripts.sandbox.dice import Dice
from scripts.sandbox.rows import Kind
from scripts.sandbox.shapes import Json
from scripts.sandbox.shelf import Shelf

DAY = 86_400
Made = tuple[Json, list[Json] | None]  # the object, and its list if it has one


class Maker:
    """Creates objects for one account. The same dice and shelves give the same objects."""

    def __init__(self, kinds: Mapping[str, Kind], shelves: Mapping[str, Shelf], dice: Dice, *, livemode: bool) -> None:
        self.dice = dice
        self._kinds = kinds
        self._shelves = shelves
        self._livemode = livemode

    def head(self, type: str, created: int) -> Json:
        """The fields that nearly all types have."""
        kind = self._kinds[type]
        return {
            "id": kind.id_prefix + self.dice.token(kind.id_length),
            "object": kind.object_name,
            **({kind.created: created} if kind.created else {}),
            "livemode": self._livemode,
            "metadata": {"source": self.dice.pick(("web", "sales", "パートナー"))} if self.dice.chance(0.5) else {},
        }

    def some(self, type: str) -> Json | None:
        """A random object that the account lists."""
        timeline = self._shelves[type].timeline
        if not len(timeline):
            return None
        found: Json = decode(timeline.at(self.dice.number(0, len(timeline) - 1)).body)
        return found

    def id_of(self, type: str) -> str | None:
        found = self.some(type)
        return found["id"] if found else None

    def charge(self, about: Json | None) -> Json:
        nothing = {"id": None, "amount": 900, "currency": "usd", "payment_intent": None, "customer": None, "status": ""}
        return about or self.some("charge") or nothing

    def many(self) -> int:
        """Sometimes more than Stripe embeds."""
        return self.dice.number(11, 130) if self.dice.chance(0.08) else self.dice.number(1, 3)

    def line(self, prefix: str, object: str, currency: str) -> Json:
        amount = self.dice.number(100, 9000)
        return {
            "id": prefix + self.dice.token(22),
            "object": object,
            "amount": amount,
            "amount_total": amount,
            "currency": currency,
            "description": "Étude",
            "quantity": 1,
        }


# Completes an object's first fields. The last argument is the object that it belongs to, such as a payment intent's
# charge; None: any of the account.
Shape = Callable[[Maker, Json, Json | None], Made]


def without(head: Json, *names: str) -> dict[str, Any]:
    return {name: value for name, value in head.items() if name not in names}
