"""Pairs seconds that belong together: an invoice's with its charge's, a subscription's with its first invoice's."""

from collections.abc import Iterable, Sequence


def followers(firsts: Sequence[int], seconds: Sequence[int], usable: Iterable[int] | None = None) -> dict[int, int]:
    """For each of `firsts` the place of the next of `seconds` that is not before it, each used once; both are sorted.

    `usable` are the places that may be used, in order. An entry of `firsts` after all of them gets none.
    """
    found: dict[int, int] = {}
    places = iter(range(len(seconds)) if usable is None else usable)
    for at, first in enumerate(firsts):
        place = next((each for each in places if seconds[each] >= first), None)
        if place is None:
            break
        found[at] = place
    return found
