"""Which objects of a list share their second, and in which order Stripe lists them.

Stripe lists by `created`, which has whole seconds, and within a second by something that no object shows. So the order is
known from lists only. {team}.shared_seconds keeps it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from sync.stripe.pages import Page

_BY_TIME = attrgetter("created")
_BY_PARENT = attrgetter("second")  # objects have a time, although their lists do not take it


# (second, rank in it) by id, in the list's order.
SharedSeconds = Mapping[str, tuple[int, int]]


def shared_seconds(
    heads: Sequence[Any], *, cursor: str | None = None, after: str | None = None, ended_in: int | None = None
) -> SharedSeconds | None:
    """`after` is the last object of the page before, and `ended_in` its second. None: no two objects share a second.

    `cursor` is this page's last object. If that cannot be mirrored, it has no head, but the next page goes on from its place.
    """
    second_of = _BY_PARENT if heads and hasattr(heads[0], "second") else _BY_TIME
    seconds = list(map(second_of, heads))
    is_continued = after is not None and seconds[:1] == [ended_in]
    if len(set(seconds)) == len(seconds) and not is_continued and (not heads or cursor in (None, heads[-1].id)):
        return None
    listed = [(head.id, second) for head, second in zip(heads, seconds, strict=True)]
    if listed and cursor is not None and cursor != listed[-1][0]:
        listed.append((cursor, listed[-1][1]))
    if after is not None and is_continued:
        listed.insert(0, (after, ended_in))
    together = Counter(second for _, second in listed)
    ranks: dict[str, tuple[int, int]] = {}
    met = Counter[int]()
    for object_id, second in listed:
        if second is not None and together[second] > 1:
            met[second] += 1
            ranks[object_id] = second, met[second]
    return ranks or None


def shared_in_pages(page: Page, before: Page | None) -> SharedSeconds | None:
    """Of a page, and the page before it in its list."""
    if before is None or not before.heads:
        return shared_seconds(page.heads, cursor=page.cursor)
    return shared_seconds(page.heads, cursor=page.cursor, after=before.cursor, ended_in=before.heads[-1].created)
