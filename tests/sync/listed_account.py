"""One type's objects at a Stripe that only lists: newest first, `created` filters, cursors that can be lost."""

from bisect import bisect_left
from dataclasses import dataclass

from sync.backfill.windows import PageOutline, Window


class LostCursor(Exception):
    """400 resource_missing."""


@dataclass(frozen=True)
class Answer:
    ids: list[int]
    facts: PageOutline


class ListedAccount:
    """Ids are places in the order of `created`; objects of one second follow each other in a stable order."""

    def __init__(self, created: list[int], page_size: int = 100) -> None:
        self._created = sorted(created)
        self._ids = list(range(len(created)))
        self._page_size = page_size

    def page(self, window: Window) -> Answer:
        end = bisect_left(self._created, window.lt)
        if window.cursor is not None:
            end = bisect_left(self._ids, int(window.cursor))
            if self._ids[end : end + 1] != [int(window.cursor)]:
                raise LostCursor
        oldest = bisect_left(self._created, window.gte)
        begin = max(oldest, end - self._page_size)
        ids = self._ids[begin:end][::-1]
        last_id = str(ids[-1]) if ids else None
        return Answer(ids, PageOutline(self._created[begin:end][::-1], has_more=begin > oldest, last_id=last_id))

    def delete(self, object_id: int) -> None:
        if object_id in self._ids:
            place = self._ids.index(object_id)
            del self._ids[place], self._created[place]
