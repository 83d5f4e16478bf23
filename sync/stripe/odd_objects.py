"""Reads pages with objects of an unexpected shape. Such an object is left out; the others are kept.

Parts that are needed only in passing, such as an item's price, may have any shape. Only pages that the strict decoder
refuses come here, so speed does not matter.
"""

from typing import Any, NamedTuple

import msgspec

from sync.object_types import UNDATED, EmbeddedList, ListedItem, ObjectType, embedded_list, head_decoder
from sync.stripe.lists import END_OF_CREATED

WITHOUT_ID = "(without an id)"


class OddObject(NamedTuple):
    id: str
    reason: str


class ReadPage(NamedTuple):
    """`heads` and `raws` belong to the objects that can be mirrored."""

    heads: list[Any]
    raws: list[msgspec.Raw]
    odd: list[OddObject]


def is_fine(head: Any) -> bool:
    """Whether an object with this head, which the strict decoder accepted, can be mirrored."""
    return not head.deleted and 0 <= head.created < END_OF_CREATED


def read_one_by_one(object_type: ObjectType, raws: list[msgspec.Raw]) -> ReadPage:
    page = ReadPage([], [], [])
    for raw in raws:
        head = lenient_head(object_type, bytes(raw))
        if isinstance(head, OddObject):
            page.odd.append(head)
        else:
            page.heads.append(head)
            page.raws.append(raw)
    return page


def lenient_head(object_type: ObjectType, raw: bytes) -> Any | OddObject:
    """The head of an object that can be mirrored, whatever its lists look like.

    Otherwise the reason why it cannot be.
    """
    decoder = head_decoder(object_type.name)
    try:
        head = decoder.decode(raw)
    except msgspec.ValidationError:
        fields = msgspec.json.decode(raw)
        if not isinstance(fields, dict) or not isinstance(fields.get("id"), str):
            return OddObject(WITHOUT_ID, "it has no id")
        lists = (
            {object_type.nested.field: _embedded(fields.get(object_type.nested.field))} if object_type.nested else {}
        )
        deleted, created = fields.get("deleted") is True, _second_of(object_type, fields)
        head = decoder.type(id=fields["id"], created=created, deleted=deleted, **lists)
    if head.deleted:
        return OddObject(head.id, "a list contains it although it is deleted")
    if head.created is None or not is_fine(head):
        return OddObject(head.id, "created is no time")
    return head


def _second_of(object_type: ObjectType, fields: dict[str, Any]) -> int | None:
    return _whole_number(fields.get(object_type.created_field)) if object_type.is_by_time else UNDATED


def read_items(raw: bytes) -> list[ListedItem]:
    """The items of a JSON array."""
    try:
        return msgspec.json.decode(raw, type=list[ListedItem])
    except msgspec.ValidationError:
        return _items(msgspec.json.decode(raw))


def items_of_object(object_type: ObjectType, raw: bytes) -> list[ListedItem]:
    head = lenient_head(object_type, raw)
    embedded = None if isinstance(head, OddObject) else embedded_list(object_type, head)
    return list(embedded.data) if embedded else []


def last_id(raws: list[msgspec.Raw]) -> str | None:
    """The id of the last object that has one. The next page begins there."""
    return next(filter(None, map(_id_of_raw, reversed(raws))), None)


def oldest_second(raws: list[msgspec.Raw]) -> int | None:
    """`created` of the last object that has one."""
    values = (_whole_number(_fields(msgspec.json.decode(raw)).get("created")) for raw in reversed(raws))
    return next((value for value in values if value is not None), None)


def _id_of_raw(raw: msgspec.Raw) -> str | None:
    return _id(msgspec.json.decode(raw), of_text=False)


def _embedded(value: Any) -> EmbeddedList | None:
    if not isinstance(value, dict):
        return None
    return EmbeddedList(_items(value.get("data")), value.get("has_more") is True)


def _items(values: Any) -> list[ListedItem]:
    return [_item(each) for each in values] if isinstance(values, list) else []


def _item(value: Any) -> ListedItem:
    fields = _fields(value)
    details = _fields(_fields(fields.get("pricing")).get("price_details"))
    named = next(filter(None, map(_id, (fields.get("price"), fields.get("plan"), details.get("price")))), None)
    return ListedItem(price=named)


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _id(value: Any, *, of_text: bool = True) -> str | None:
    """The id of a reference, which is an id or a whole object."""
    found = value.get("id") if isinstance(value, dict) else value if of_text else None
    return found if isinstance(found, str) and found else None


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value)
