"""One Stripe account in one mode: its objects, its clock, and what can be asked of them."""

import gc
import hashlib
import time
from collections.abc import Callable

from scripts.sandbox import shapes
from scripts.sandbox.answers import decode, no_such
from scripts.sandbox.dice import Dice
from scripts.sandbox.kinds import KINDS
from scripts.sandbox.seeding import Recipe, Seeder
from scripts.sandbox.shapes import Json
from scripts.sandbox.shelf import Shelf
from scripts.sandbox.timeline import Record

Clock = Callable[[], float]


def account_id(name: str) -> str:
    """Test and live keys of one name belong to one Stripe account."""
    return f"acct_1{hashlib.sha256(name.encode()).hexdigest()[:15]}"


class Account:
    """All state in memory, no input or output; time comes from `clock` (epoch seconds, may be any simulated one)."""

    def __init__(
        self,
        name: str = "demo",
        *,
        livemode: bool = False,
        recipe: Recipe | None = None,
        clock: Clock = time.time,
        seeded_until: int | None = None,
    ) -> None:
        self.name = name
        self.id = account_id(name)
        self.livemode = livemode
        self.clock = clock
        self.api_version = shapes.API_VERSION
        self.shelves: dict[str, Shelf] = {name: Shelf(kind) for name, kind in KINDS.items()}
        recipe = recipe or Recipe()
        self.dice = Dice(f"{recipe.seed}:{name}:{livemode}:later")
        self.created = seeded_until or self.now()
        self._seed(recipe)

    def now(self) -> int:
        """The current second; every `created` of a new object is one of these."""
        return int(self.clock())

    def _seed(self, recipe: Recipe) -> None:
        # The collector would walk a hundred thousand live objects again and again: a third of the seeding time.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            Seeder(self.shelves, recipe, livemode=self.livemode, now=self.created).fill()
        finally:
            if was_enabled:
                gc.enable()

    def record(self, type: str, id: str) -> Record:
        record = self.shelves[type].get(id)
        if record is None:
            raise no_such(self.shelves[type].kind.words, id)
        return record

    def objects(self, type: str) -> list[Json]:
        """Every live object of a type as a retrieve gives it, oldest first; unlisted prices too."""
        return [decode(record.body) for record in self.shelves[type].by_id.values()]

    def children(self, type: str, id: str) -> list[Json]:
        """The whole nested list of an object: lines of an invoice, items of a subscription."""
        record = self.record(type, id)
        if record.children:
            return [decode(body) for body in record.children]
        field = self.shelves[type].kind.children
        found: list[Json] = decode(record.body)[field]["data"] if field else []
        return found
