"""Seeded randomness that is cheap enough to make a hundred thousand objects with."""

from binascii import b2a_base64
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

_LETTERS_ONLY = bytes.maketrans(b"+/", b"Zz")


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
        """The random part of an id. One draw for all of it: ids are half of the price of an object."""
        drawn = b2a_base64(self._rng.randbytes(length * 3 // 4 + 1), newline=False)
        return drawn[:length].translate(_LETTERS_ONLY).decode()
