"""Seeded randomness that is cheap enough to make a hundred thousand objects with."""

import string
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

_LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
# Two letters a draw halve the price of an id, and ids are half of the price of an object.
_PAIRS = tuple(first + second for first in _LETTERS for second in _LETTERS)


class Dice:
    """Draws from one seed; the same seed and the same calls give the same account, to the byte."""

    def __init__(self, seed: int | str) -> None:
        self._rng = Random(seed)
        self.random = self._rng.random

    def chance(self, share: float) -> bool:
        return self.random() < share

    def number(self, low: int, high: int) -> int:
        """A whole number of low..high, both included."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.random() * len(choices))]

    def sample(self, choices: Sequence[T], count: int) -> list[T]:
        return self._rng.sample(choices, count)

    def shuffled(self, choices: Sequence[T]) -> list[T]:
        return self._rng.sample(choices, len(choices))

    def token(self, length: int) -> str:
        """The random part of an id; an odd length is rounded down."""
        draw = self.random
        return "".join([_PAIRS[int(draw() * 3844)] for _ in range(length // 2)])
