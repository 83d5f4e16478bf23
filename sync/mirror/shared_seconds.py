"""Which objects of a list share their second, and in which order Stripe lists them.

Stripe lists by `created`, which has whole seconds, and within a second by something that no object shows. So the order is
known from lists only. {team}.shared_seconds keeps it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

from sync.stripe.pages import Page

_BY_TIME = attrgetter("created")
_BY_PARENT = attrgetter("second")  # objects have a time, although their lists do not take it


@dataclass(frozen=True, slots=True)
class SharedSeconds:
    """Places by id, in the list's order. The newest object of a second has place 1.

    The first `continuing` ones belong to the second in which the page before ended: that page's last object, `after`,
    which has place 0 here, and those that follow it.
    """

    places: dict[str, int]
    after: str | None = None
    continuing: int = 0


def shared_seconds(
    heads: Sequence[Any], *, cursor: str | None = None, after: str | None = None, ended_in: int | None = None
) -> SharedSeconds | None:
    """`after` is the last object of the page before, and `ended_in` its second. None: no two objects share a second.

    `cursor` is this page's last object. If that cannot be mirrored, it has no head, but the next page goes on from its place.
    """
    second_of = _BY_PARENT if heads and hasattr(heads[0], "second") else _BY_TIME
    listed = [(head.id, second_of(head)) for head in heads]
    if listed and cursor is not None and cursor != listed[-1][0]:
        listed.append((cursor, listed[-1][1]))
    continues = after is not None and bool(listed) and listed[0][1] == ended_in
    if len({second for _, second in listed}) == len(listed) and not continues:
        return None
    places: dict[str, int] = {}
    continuing = 0
    for _, run in groupby(listed, key=itemgetter(1)):
        ids = [object_id for object_id, _ in run]
        if continues and after is not None:
            places = {after: 0} | {object_id: place for place, object_id in enumerate(ids, start=1)}
            continuing, continues = len(places), False
        elif len(ids) > 1:
            places |= {object_id: place for place, object_id in enumerate(ids, start=1)}
    return SharedSeconds(places, after, continuing)


def shared_in_pages(page: Page, before: Page | None) -> SharedSeconds | None:
    """Of a page, and the page before it in its list."""
    if before is None or not before.heads:
        return shared_seconds(page.heads, cursor=page.cursor)
    return shared_seconds(page.heads, cursor=page.cursor, after=before.cursor, ended_in=before.heads[-1].created)
