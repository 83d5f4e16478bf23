"""Seeded randomness that is cheap enough to create a hundred thousand objects."""

from binascii import b2a_base64
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

_LETTERS_ONLY = bytes.maketrans(b"+/", b"Zz")


class Dice:
    """Draws from one seed. The same seed and the same calls give the same account, to the byte."""

    def __init__(self, seed: int | str) -> None:
        self._rng = Random(seed)
        self.random = self._rng.random

    def chance(self, share: float) -> bool:
        return self.random() < share

    def number(self, low: int, high: int) -> int:
        """A whole number from low to high, both inclusive."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.random() * len(choices))]

    def sample(self, choices: Sequence[T], count: int) -> list[T]:
        return self._rng.sample(choices, count)

    def shuffled(self, choices: Sequence[T]) -> list[T]:
        return self._rng.sample(choices, len(choices))

    def token(self, length: int) -> str:
        """The random part of an id. Drawn at once, because ids are half of an object's cost."""
        drawn = b2a_base64(self._rng.randbytes(length * 3 // 4 + 1), newline=False)
        return drawn[:length].translate(_LETTERS_ONLY).decode()
