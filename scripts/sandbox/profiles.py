"""When an account's objects were created: the shapes of history that tests and benchmarks need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scripts.sandbox.dice import Dice

_DAY = 86_400
_MONTH = 30 * _DAY
_YEAR = 365 * _DAY

Place = Callable[[Dice, int], list[float]]


@dataclass(frozen=True, slots=True)
class Profile:
    """`place` gives ages as shares of `span_s`, 1 being the oldest; `most` caps the objects of a type."""

    span_s: int
    place: Place
    most: int | None = None

    def times(self, dice: Dice, count: int, now: int) -> list[int]:
        """Creation seconds, oldest first, all before `now`."""
        return sorted(now - 1 - int(age * (self.span_s - 2)) for age in self.place(dice, count))


def _growing(dice: Dice, count: int) -> list[float]:
    """A growing business: twice as dense now as on average. One second in ten is an import."""
    imported = min(count // 10, 500)
    return [0.4] * imported + [1 - dice.random() ** 0.5 for _ in range(count - imported)]


def _evenly(dice: Dice, count: int) -> list[float]:
    return [dice.random() for _ in range(count)]


def _one_second(dice: Dice, count: int) -> list[float]:
    """Two thousand objects, or half of all, share one second."""
    together = min(2000, count // 2)
    return [0.5] * together + [dice.random() for _ in range(count - together)]


def _bursts(dice: Dice, count: int) -> list[float]:
    """Invoices are created once a month within some minutes, and hardly any in between."""
    months = 36
    quiet = count // 50
    runs = [dice.number(0, months - 1) / months + dice.random() * 0.00001 for _ in range(count - quiet)]
    return runs + [dice.random() for _ in range(quiet)]


PROFILES: Mapping[str, Profile] = {
    "default": Profile(3 * _YEAR, _growing),
    "last-month": Profile(_MONTH, _evenly),
    "one-second": Profile(3 * _YEAR, _one_second),
    "ten-years": Profile(10 * _YEAR, _evenly, most=10),
    "bursts": Profile(3 * _YEAR, _bursts),
}
