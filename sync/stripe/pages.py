"""A page of a Stripe list. Reads only what is needed, without building the page's objects."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import msgspec

from sync.errors import CursorLost, StripeRejected
from sync.object_types import ListedItem, ObjectType, embedded_list, head_decoder, is_cut
from sync.stripe.answers import Answer, Read
from sync.stripe.odd_objects import OddObject, is_fine, items_of_object, last_id, read_items, read_one_by_one


class RawList(msgspec.Struct):
    """Keeps the objects as raw bytes. A list without objects has ended, whatever `has_more` says."""

    data: list[msgspec.Raw]
    has_more: Any = False

    def next_cursor(self) -> str | None:
        """Where the next page begins. None: this is the last one."""
        return last_id(self.data) if self.has_more is True else None


@dataclass(frozen=True, slots=True)
class Page:
    """One list answer. `heads` have each object's id, created and embedded list, in Stripe's order: newest first.

    `odd` objects cannot be mirrored and appear nowhere else here.
    """

    answer: Answer
    heads: list[Any]
    has_more: bool
    cursor: str | None = None  # where the next page begins
    odd: Sequence[OddObject] = ()

    def named_prices(self, object_type: ObjectType, completed: Mapping[str, bytes]) -> set[str]:
        """Ids of the prices that these objects or their items name, including the items that Stripe cut."""
        if object_type.names_prices:
            return set(_ids_at_places(self.raw_objects(), object_type.names_prices))
        if not object_type.nested:
            return set()
        lists = [
            *(embedded.data for head in self.heads if (embedded := embedded_list(object_type, head))),
            *(_items(object_type, body) for body in completed.values() if body),
        ]
        return {price for items in lists for item in items if (price := item.named_price())}

    def cut_ids(self, object_type: ObjectType) -> list[str]:
        """The objects whose embedded list Stripe cut, each once."""
        if not object_type.nested:
            return []
        return list(dict.fromkeys(head.id for head in self.heads if is_cut(object_type, head)))

    def raw_objects(self) -> list[bytes]:
        """Each object's JSON as Stripe sent it. Only a few pages need it."""
        return [bytes(raw) for raw in read_raw_list(self.answer).data]


def page_read(
    object_type: ObjectType, params: Mapping[str, str | int], page_size: int, parent_id: str | None = None
) -> Read[Page]:
    """A page of the type's list, or of the list under one parent."""
    sent = {**object_type.list_params, **params, "limit": page_size}
    path = object_type.parent.path_of(parent_id) if object_type.parent and parent_id else object_type.path
    return Read(object_type.list_endpoint, path, sent, partial(read_page, object_type), urgent=False)


def as_told_of_cursor(refused: StripeRejected, params: Mapping[str, str | int]) -> StripeRejected:
    """Turns an error into CursorLost if the object that `starting_after` names is gone (stripe-facts 1.3).

    Any other error is returned unchanged.
    """
    if "starting_after" not in params or not refused.is_cursor_lost:
        return refused
    return CursorLost(refused.message, status=refused.status, stripe_code=refused.stripe_code)


def read_page(object_type: ObjectType, answer: Answer) -> Page:
    """Raises msgspec.DecodeError if it is no list."""
    try:
        listed = _decoder(object_type.name).decode(answer.body)
    except msgspec.ValidationError:
        return _page_of_odd_objects(object_type, answer)
    if not all(map(is_fine, listed.data)):
        return _page_of_odd_objects(object_type, answer)
    cursor = listed.data[-1].id if listed.data else None
    return Page(answer, listed.data, listed.has_more and cursor is not None, cursor)


def joined(pages: Sequence[Page]) -> Page:
    """All pages of one list, in their order, as one."""
    if len(pages) == 1:
        return pages[0]
    raws = [raw for page in pages for raw in page.raw_objects()]
    answer = Answer(
        b'{"data":[' + b",".join(raws) + b"]}",
        min(page.answer.as_of for page in pages),
        max(page.answer.as_of_until for page in pages),
    )
    heads = [head for page in pages for head in page.heads]
    odd = [each for page in pages for each in page.odd]
    return Page(answer, heads, pages[-1].has_more, pages[-1].cursor, odd)


def read_raw_list(answer: Answer) -> RawList:
    return msgspec.json.decode(answer.body, type=RawList)


def _page_of_odd_objects(object_type: ObjectType, answer: Answer) -> Page:
    """The page without the objects that cannot be mirrored."""
    listed = read_raw_list(answer)
    read = read_one_by_one(object_type, listed.data)
    cursor = listed.next_cursor()
    kept = replace(answer, body=b'{"data":[' + b",".join(read.raws) + b"]}") if read.odd else answer
    return Page(kept, read.heads, cursor is not None, cursor, read.odd)


def _items(object_type: ObjectType, completed: bytes) -> Sequence[ListedItem]:
    """The items of a whole list, or of the object that has it."""
    return read_items(completed) if completed.startswith(b"[") else items_of_object(object_type, completed)


def _ids_at_places(raws: Sequence[bytes], places: Sequence[str]) -> Iterator[str]:
    for raw in raws:
        fields = msgspec.json.decode(raw)
        for place in places:
            yield from _ids_at(fields, place.split("."))


def _ids_at(value: Any, names: Sequence[str]) -> Iterator[str]:
    """Looks into each element of a list."""
    if isinstance(value, list):
        for each in value:
            yield from _ids_at(each, names)
    elif names:
        yield from _ids_at(value.get(names[0]), names[1:]) if isinstance(value, dict) else ()
    else:
        found = value.get("id") if isinstance(value, dict) else value
        if isinstance(found, str) and found:
            yield found


@cache
def _decoder(name: str) -> msgspec.json.Decoder[Any]:
    fields: list[Any] = [("data", list[head_decoder(name).type]), ("has_more", bool, False)]  # type: ignore[misc]
    return msgspec.json.Decoder(msgspec.defstruct("PageHeads", fields))
