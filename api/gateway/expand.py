"""Puts the mirror's own objects into an answer: where `expand` asks for them, and in place of copies that may be stale.

Stripe embeds some whole objects, like the price of a subscription item. A row keeps the copy from the day on which it was
read. When the price changes, Stripe sends no event for the subscription. So each answer takes the mirror's own price.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import msgspec

from api.gateway.errors import OnlyStripeCan
from sync.object_types import BY_STRIPE_OBJECT, OBJECT_TYPES, ObjectType, lacks_expanded

Json = dict[str, Any]
# A look-up of the mirror's objects of one type by id: JSON, and whether Stripe deleted it.
Find = Callable[[ObjectType, Sequence[str]], dict[str, tuple[bytes, bool]]]

# Replaces embedded copies by the mirror's own objects, in place.
Today = Callable[[Sequence[Json]], None]

# Of a list inside an object that is only there where it is expanded.
_SHOWN_INSIDE = 10
# Fields that hold an id, and the type of object that it names.
_FIELDS = {name: name for name in OBJECT_TYPES} | {
    "default_price": "price",
    "latest_charge": "charge",
    "latest_invoice": "invoice",
    "source_transfer": "transfer",
}
# A plan is a price in its old shape, with the same id. These fields of a price may change.
_PLAN = "plan"
_OF_PLAN = ("active", "metadata", "nickname")
# The same in the text of a plan or a price. Postgres writes the fields in this order.
_PLAN_FIELDS = re.compile(
    rb'\{"id": [^{}]*?, "active": (true|false), [^{}]*?"object": "(?:plan|price)"[^{}]*'
    rb', "metadata": (\{[^{}]*\}), "nickname": (null|"(?:[^"\\]|\\.)*")[,}]'
)
_ID = b'{"id": "'
_SAYS = b'"object": "'
# Stripe embeds whole objects of these types in others, and a price also as a plan.
EMBEDDED = ("price", "coupon")
_PLAN_NAME = b"plan"
_NAMES = {"price": (b"price", _PLAN_NAME), "coupon": (b"coupon",)}
# What a text is searched for: the beginning that all of a type's names share, because each search takes as long.
_MARKS = {"price": _SAYS + b"p", "coupon": _SAYS + b"coupon"}


def expand(objects: Sequence[Json], paths: Iterable[str], find: Find, find_whole: Find, today: Today) -> None:
    """Replaces ids by whole objects along each path, one look-up a level and type. Raises OnlyStripeCan.

    `find_whole` finds objects with the fields that Stripe shows only where they are expanded. `today` renews what those
    embed.
    """
    for path in paths:
        level: list[Json] = list(objects)
        for name in path.split("."):
            level = _expand_level(_reveal(level, name, path, find_whole, today), name, path, find)


def _reveal(level: list[Json], name: str, path: str, find_whole: Find, today: Today) -> list[Json]:
    """Shows a field that is only there where it is expanded. Returns the objects that have it."""
    hiding: dict[str, list[Json]] = {}
    for holder in level:
        object_type = BY_STRIPE_OBJECT.get(holder.get("object", ""))
        if name not in holder and object_type and name in object_type.hidden_fields:
            hiding.setdefault(object_type.name, []).append(holder)
    for type_name, holders in hiding.items():
        object_type = OBJECT_TYPES[type_name]
        rows = find_whole(object_type, list({holder["id"] for holder in holders}))
        for holder in holders:
            body, is_deleted = rows.get(holder["id"], (b"", True))
            if is_deleted or lacks_expanded(object_type, body):
                raise OnlyStripeCan(f"the mirror cannot expand {path}")
            whole: Json = msgspec.json.decode(body)
            if object_type.nested and name == object_type.nested.field:
                holder[name] = _cut(whole.get(name), path)
                today([holder[name]])
            elif name in whole:
                holder[name] = whole[name]
    bare = {id(holder) for holders in hiding.values() for holder in holders if name not in holder}
    return [holder for holder in level if id(holder) not in bare]


def _cut(value: Any, path: str) -> Json:
    """A list that the mirror has whole, as Stripe shows it inside its object. Raises OnlyStripeCan."""
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise OnlyStripeCan(f"the mirror cannot expand {path}")
    return value | {"data": value["data"][:_SHOWN_INSIDE], "has_more": len(value["data"]) > _SHOWN_INSIDE}


def _expand_level(level: list[Json], name: str, path: str, find: Find) -> list[Json]:
    ids: dict[str, list[Json]] = {}
    below: list[Json] = []
    for holder in level:
        if name not in holder:
            raise OnlyStripeCan(f"the mirror cannot expand {path}")
        value = holder[name]
        if isinstance(value, str):
            ids.setdefault(value, []).append(holder)
        elif isinstance(value, dict):
            below.append(value)
        elif isinstance(value, list):
            if not all(isinstance(each, dict) for each in value):
                raise OnlyStripeCan(f"the mirror cannot expand {path}")
            below += value
        elif value is not None:
            raise OnlyStripeCan(f"the mirror cannot expand {path}")
    for object_id, found in _found(ids, name, path, find).items():
        for holder in ids[object_id]:
            holder[name] = found
        below.append(found)
    return below


def _found(ids: dict[str, list[Json]], name: str, path: str, find: Find) -> dict[str, Json]:
    if not ids:
        return {}
    object_type = OBJECT_TYPES.get(_FIELDS.get(name, ""))
    if object_type is None:
        raise OnlyStripeCan(f"the mirror cannot expand {path}")
    rows = find(object_type, list(ids))
    if object_type.parent:  # one that is listed no more may still exist
        rows = {object_id: row for object_id, row in rows.items() if not row[1]}
    if missing := ids.keys() - rows.keys():
        raise OnlyStripeCan(f"the mirror has no {object_type.words} {min(missing)}, which {path} names")
    return {object_id: shown(object_type, object_id, *row) for object_id, row in rows.items()}


def shown(object_type: ObjectType, object_id: str, body: bytes, is_deleted: bool) -> Json:
    """An object as Stripe shows it inside others. A deleted one has only its id left."""
    if is_deleted:
        return {"id": object_id, "object": object_type.stripe_object, "deleted": True}
    decoded: Json = msgspec.json.decode(body)
    return decoded


def are_current(object_type: ObjectType, bodies: Sequence[bytes], types: Iterable[str], find: Find) -> bool:
    """Whether `renew` would change nothing in objects of this type.

    Looks at the texts only, because decoding takes most of a list's time. False in doubt. Postgres writes equal objects as
    equal texts, wherever they are.
    """
    for renewed in _renewed(types):
        copies = [copy for body in bodies for copy in _copies(body, renewed)]
        if renewed is object_type:  # each of them says what it is, too; Stripe puts none into another
            if len(copies) > len(bodies):
                return False
            continue
        ids = sorted({copy.id for copy in copies})
        rows = find(renewed, ids) if ids else {}
        today = {object_id: body for object_id, (body, is_deleted) in rows.items() if not is_deleted}
        if len(today) < len(ids) or not all(copy.is_of(today[copy.id]) for copy in copies):
            return False
    return True


# By the text of a price: the text of a plan that is the same price. Most answers have the same ones again.
_PLANS: dict[bytes, bytes] = {}
_MOST_PLANS = 1000
_LONGEST_PRICE = 4096


class _Copy(NamedTuple):
    """An object inside the text of another: where it begins, and where it says what it is."""

    name: bytes
    id: str
    body: bytes
    start: int
    mark: int

    def is_of(self, today: bytes) -> bool:
        """Whether it is as the mirror's own object."""
        if self.name != _PLAN_NAME:
            return self._begins_with(today)
        plan = _PLANS.get(today)
        return (plan is not None and self._begins_with(plan)) or self._is_plan_of(today)

    def _begins_with(self, text: bytes) -> bool:
        return self.body.startswith(text, self.start) and self.mark < self.start + len(text)

    def _is_plan_of(self, price: bytes) -> bool:
        """Whether the fields are as today's that a plan has of its price."""
        fields, own = _PLAN_FIELDS.match(self.body, self.start), _PLAN_FIELDS.match(price)
        if not fields or not own or fields.groups() != own.groups() or self.mark >= fields.end():
            return False
        if len(price) <= _LONGEST_PRICE:
            if len(_PLANS) >= _MOST_PLANS:
                _PLANS.clear()
            _PLANS[price] = self.body[self.start : fields.end()]
        return True


def _copies(body: bytes, copied: ObjectType) -> Iterator[_Copy]:
    """Objects of this type, and plans if it is `price`.

    Each has the last id before the mark, or is not equal to what that id names.
    """
    names, mark = _NAMES[copied.name], _MARKS[copied.name]
    at = body.find(mark)
    while at >= 0:
        says = at + len(_SAYS)
        name = body[says : body.find(b'"', says)]
        if name in names:
            start = body.rfind(_ID, 0, at)
            first = start + len(_ID)
            yield _Copy(name, body[first : body.find(b'"', first)].decode(errors="replace"), body, start, at)
        at = body.find(mark, says)


def _renewed(types: Iterable[str]) -> list[ObjectType]:
    return [OBJECT_TYPES[name] for name in set(EMBEDDED) & set(types)]


def renew(objects: Sequence[Json], types: Iterable[str], find: Find) -> None:
    """Replaces embedded objects of these types by the mirror's own, in place. A copy that the mirror lacks stays."""
    renewed = _renewed(types)
    embedded = _embedded(objects, {*(each.stripe_object for each in renewed), _PLAN})
    for object_type in renewed:
        places = embedded[object_type.stripe_object]
        plans = embedded[_PLAN] if object_type.name == "price" else []
        ids = {_in(place)["id"] for place in (*places, *plans)}
        rows = find(object_type, sorted(ids)) if ids else {}
        today = {
            object_id: msgspec.json.decode(body) for object_id, (body, is_deleted) in rows.items() if not is_deleted
        }
        for holder, field in places:
            if isinstance(holder, dict) and holder[field]["id"] in today:
                holder[field] = today[holder[field]["id"]]
        for plan in map(_in, plans):
            price = today.get(plan["id"], {})
            plan |= {field: price[field] for field in _OF_PLAN if field in price}


# An object or list, and the field or index in it.
_Place = tuple[Any, Any]


def _in(place: _Place) -> Json:
    holder, field = place
    found: Json = holder[field]
    return found


def _embedded(objects: Sequence[Json], names: AbstractSet[str]) -> dict[str, list[_Place]]:
    """Where objects of these names are below the top level, at any depth, by name. None is inside of another."""
    found: dict[str, list[_Place]] = {name: [] for name in names}
    to_look_at: list[Any] = list(objects)
    while to_look_at:
        holder = to_look_at.pop()
        for field, value in holder.items() if type(holder) is dict else enumerate(holder):
            if field == "metadata":  # says what it likes
                continue
            if type(value) is dict:
                name = value.get("object")
                if type(name) is str and name in found and type(value.get("id")) is str:
                    found[name].append((holder, field))
                else:
                    to_look_at.append(value)
            elif type(value) is list:
                to_look_at.append(value)
    return found
