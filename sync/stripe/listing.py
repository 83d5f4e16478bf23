"""Reads one embedded list completely, because Stripe cut it."""

import msgspec

from sync.object_types import NestedList
from sync.stripe.answers import Answer, Read
from sync.stripe.pages import RawList, read_raw_list


class Listing:
    """Send `read` next, and give its result to `add`."""

    def __init__(self, nested: NestedList, object_id: str, page_size: int) -> None:
        self.object_id = object_id
        self._endpoint = nested.endpoint
        self._path = nested.path_of(object_id)
        self._params: dict[str, str | int] = {key: value.format(id=object_id) for key, value in nested.params.items()}
        self._params["limit"] = page_size
        self._items: list[msgspec.Raw] = []
        self._until = 0

    def read(self) -> Read[tuple[Answer, RawList]]:
        return Read(self._endpoint, self._path, dict(self._params), _read_list)

    def add(self, found: tuple[Answer, RawList]) -> bool:
        """Returns whether the list is complete now."""
        answer, listed = found
        self._items += listed.data
        self._until = answer.as_of_until
        cursor = listed.next_cursor()
        if cursor is not None:
            self._params["starting_after"] = cursor
        return cursor is None

    def answer(self, whole: Answer) -> Answer:
        """The items as a JSON array. True from the read of the object to the read of the last items."""
        return Answer(b"[" + b",".join(self._items) + b"]", whole.as_of, max(whole.as_of_until, self._until))


def _read_list(answer: Answer) -> tuple[Answer, RawList]:
    return answer, read_raw_list(answer)
