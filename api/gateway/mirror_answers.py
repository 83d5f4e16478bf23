"""Makes the mirror's answers: lists, objects and the lists inside objects, as Stripe would write them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from api.gateway import expand, plans, search_query
from api.gateway.decision import (
    Asked,
    FromMirror,
    MirrorList,
    MirrorNested,
    MirrorObject,
    MirrorSearch,
    Under,
    doubt,
)
from api.gateway.errors import NoSuchObject, OnlyStripeCan, RefusedParameter
from api.gateway.selection import Paging, Selection
from api.gateway.store import MirrorReader, Standing
from sync.errors import Conflict
from sync.object_types import OBJECT_TYPES, ObjectType

# Stripe still answers for a deleted customer. For other deleted objects it answers 404.
_RETRIEVABLE_WHEN_DELETED = ("customer",)


@dataclass(frozen=True, slots=True)
class Made:
    """An answer's body, the second up to which the mirror is right, and the API version of its objects."""

    body: bytes
    right_as_of: int
    api_version: str


class OrderInDoubt(OnlyStripeCan):
    """Two objects of one second compete for a list's only place. `made` is the mirror's answer, if Stripe gives none."""

    def __init__(self, made: Made) -> None:
        super().__init__(
            "the two newest objects are of the same second, and only Stripe knows which of them comes first"
        )
        self.made = made


class MirrorAnswers:
    """Makes one answer. `may_read` says whether the caller's key may read a type that `expand` shows."""

    def __init__(self, reader: MirrorReader, asked: Asked, may_read: Callable[[ObjectType], bool]) -> None:
        self._reader = reader
        self._asked = asked
        self._may_read = may_read
        self._standing = Standing()

    def make(self, decision: FromMirror) -> Made:
        """Raises OnlyStripeCan, and what Stripe refuses."""
        try:
            if isinstance(decision, MirrorList):
                body = self._list(decision)
            elif isinstance(decision, MirrorNested):
                body = self._nested(decision)
            elif isinstance(decision, MirrorSearch):
                body = self._search(decision)
            else:
                body = self._object(decision)
        except Conflict:  # there is no such table
            self._vouch_for(_types_of(decision), self._reader.standing())
            if isinstance(decision, MirrorList) and decision.selection.through:
                raise _unknown(decision) from None
            raise
        return self._made(decision, body)

    def _made(self, decision: FromMirror, body: bytes) -> Made:
        return Made(body, self._standing.right_as_of[decision.object_type.name], self._standing.api_version)

    def _vouch_for(self, object_types: Sequence[ObjectType], standing: Standing) -> None:
        for object_type in object_types:
            self._vouch(object_type, standing)

    def _vouch(self, object_type: ObjectType, standing: Standing) -> None:
        """Before anything is said of what was found. Raises OnlyStripeCan."""
        doubts = doubt(self._asked, object_type, standing)
        if doubts is not None:
            raise OnlyStripeCan(doubts.reason, is_known_later=doubts.is_known_later)
        self._standing = standing

    def _list(self, asked: MirrorList) -> bytes:
        if asked.as_plans:
            return self._plans(asked)
        paging, object_type = asked.paging, asked.object_type
        asks_newest = _asks_newest(paging)
        looked_at = replace(paging, limit=2) if asks_newest else paging
        standing, found = self._reader.page(object_type, self._selection(asked), looked_at)
        self._vouch_for(_types_of(asked), standing)
        if found is not None and not found.is_known:
            raise _unknown(asked)
        if found is None:
            param = "starting_after" if paging.after is not None else "ending_before"
            message = f"No such {object_type.stripe_object}: '{paging.cursor}'"
            raise RefusedParameter(message, param, code="resource_missing")
        data = self._finished(object_type, found.bodies[: paging.limit], asked.expand)
        has_more = found.has_more or len(found.bodies) > paging.limit
        url = asked.url or object_type.path
        body = msgspec.json.encode({"object": "list", "data": data, "has_more": has_more, "url": url})
        if asks_newest and not found.is_in_order:
            raise OrderInDoubt(self._made(asked, body))
        return body

    def _search(self, asked: MirrorSearch) -> bytes:
        """All that matches, or nothing: how Stripe orders results is not documented, so no page can be told apart."""
        query, limit = asked.query, asked.limit
        standing, bodies = self._reader.matching(asked.object_type, query.selection, limit, is_indexed=query.is_indexed)
        self._vouch(asked.object_type, standing)
        if standing.api_version < search_query.OLDEST_VERSION:
            raise OnlyStripeCan(f"there is no search in API version {standing.api_version}")
        if bodies is None:
            raise OnlyStripeCan("the search may have more results than the mirror looks through")
        if not all(query.is_certain(msgspec.json.decode(body)) for body in bodies):
            raise OnlyStripeCan("only Stripe's search can tell which of the similar objects match")
        data = self._finished(asked.object_type, bodies, asked.expand)
        found = {"object": "search_result", "data": data, "has_more": False, "next_page": None, "url": asked.url}
        return msgspec.json.encode(found)

    def _plans(self, asked: MirrorList) -> bytes:
        """A list of which each row is certain: the last one, too, which only tells that there are more."""
        limit = asked.paging.limit
        standing, found = self._reader.page(asked.object_type, asked.selection, replace(asked.paging, limit=limit + 1))
        self._vouch_for_plans(asked.object_type, standing)
        if found is None:
            raise OnlyStripeCan(f"the mirror has no plan {asked.paging.cursor} in this list")
        prices = [msgspec.json.decode(body) for body in found.bodies]
        if asked.paging.cursor is not None:
            body, _ = self._reader.objects(asked.object_type, [asked.paging.cursor])[asked.paging.cursor]
            prices.append(msgspec.json.decode(body))
        for price in prices:
            plans.require_listed(price, is_narrowed=asked.is_narrowed)
        shown = found.bodies[-limit:] if asked.paging.before is not None else found.bodies[:limit]
        data = self._as_plans(asked.object_type, shown, asked.expand)
        has_more = len(found.bodies) > limit
        made = msgspec.json.encode({"object": "list", "data": data, "has_more": has_more, "url": asked.url})
        if _asks_newest(asked.paging) and not found.is_in_order:
            raise OrderInDoubt(self._made(asked, made))
        return made

    def _plan(self, asked: MirrorObject) -> bytes:
        try:
            _, body, _ = self._row(asked.object_type, asked.ids)
        except NoSuchObject as exc:
            self._vouch_for_plans(asked.object_type, self._standing)
            raise NoSuchObject("plan", asked.ids[0]) from exc
        self._vouch_for_plans(asked.object_type, self._standing)
        return msgspec.json.encode(self._as_plans(asked.object_type, [body], asked.expand)[0])

    def _vouch_for_plans(self, price: ObjectType, standing: Standing) -> None:
        self._vouch(price, standing)
        if standing.api_version < plans.OLDEST_VERSION:
            raise OnlyStripeCan(f"plans have other fields in API version {standing.api_version}")

    def _as_plans(self, price: ObjectType, bodies: Sequence[bytes], paths: tuple[str, ...]) -> list[Any]:
        prices = [msgspec.json.decode(body) for body in bodies]
        self._expand(prices, paths)
        return [plans.plan_of(each, shows_tiers="tiers" in paths) for each in prices]

    def _object(self, asked: MirrorObject) -> bytes:
        if asked.as_plan:
            return self._plan(asked)
        parent_id = self._live(asked.under) if asked.under else ""
        object_id, body, is_deleted = self._row(asked.object_type, asked.ids)
        if asked.under and msgspec.json.decode(body).get(asked.under.field) != parent_id:
            raise NoSuchObject(asked.object_type.stripe_object, object_id)
        if is_deleted:
            return msgspec.json.encode(expand.shown(asked.object_type, object_id, body, is_deleted=True))
        return msgspec.json.encode(self._finished(asked.object_type, [body], asked.expand)[0])

    def _nested(self, asked: MirrorNested) -> bytes:
        """A page of the list inside one object, which the mirror holds whole."""
        object_id, body, is_deleted = self._row(asked.object_type, asked.ids, whole=True)
        if is_deleted:
            raise NoSuchObject(asked.object_type.stripe_object, object_id)
        holder = msgspec.json.decode(body)
        self._renew([holder])
        items: list[dict[str, Any]] = (holder.get(asked.nested.field) or {}).get("data", [])
        data, has_more = _page_of(items, asked)
        return msgspec.json.encode({"object": "list", "data": data, "has_more": has_more, "url": asked.url})

    def _selection(self, asked: MirrorList) -> Selection:
        if asked.under is None:
            return asked.selection
        field, blocks, params = asked.under.field, asked.selection.blocks, asked.selection.params
        blocks = tuple(block for block in blocks if block != f"where_{field}")
        return replace(
            asked.selection, blocks=(*blocks, f"where_{field}"), params={**params, field: self._live(asked.under)}
        )

    def _live(self, under: Under) -> str:
        """The id of the object that the address names. Raises NoSuchObject, and OnlyStripeCan."""
        object_id, _, is_deleted = self._row(under.object_type, under.ids)
        if is_deleted:
            raise NoSuchObject(under.object_type.stripe_object, object_id)
        return object_id

    def _row(self, object_type: ObjectType, ids: tuple[str, ...], *, whole: bool = False) -> tuple[str, bytes, bool]:
        """(id, JSON, is deleted). Raises NoSuchObject."""
        standing, rows = self._reader.found(object_type, ids, whole=whole)
        self._vouch(object_type, standing)
        for object_id in ids:
            if object_id in rows:
                body, is_deleted = rows[object_id]
                if is_deleted and object_type.name not in _RETRIEVABLE_WHEN_DELETED:
                    break
                return object_id, body, is_deleted
        is_known = any(object_id in rows for object_id in ids)
        # The mirror has what is listed. What no list has may exist all the same.
        if object_type.parent or (object_type.has_unlisted and not is_known):
            raise OnlyStripeCan(f"the mirror has no {object_type.words} {ids[0]}")
        raise NoSuchObject(object_type.stripe_object, ids[0])

    def _finished(self, object_type: ObjectType, bodies: Sequence[bytes], paths: tuple[str, ...]) -> Sequence[Any]:
        """The objects as Stripe sent them, with embedded copies renewed and `expand` applied."""
        if not paths and expand.are_current(object_type, bodies, self._standing.right_as_of, self._reader.objects):
            return [msgspec.Raw(body) for body in bodies]
        objects = [msgspec.json.decode(body) for body in bodies]
        self._renew(objects)
        self._expand(objects, paths)
        return objects

    def _expand(self, objects: Sequence[Any], paths: tuple[str, ...]) -> None:
        expand.expand(objects, paths, self._find, partial(self._find, whole=True), self._renew)

    def _renew(self, objects: Sequence[Any]) -> None:
        expand.renew(objects, self._standing.right_as_of, self._reader.objects)

    def _find(
        self, object_type: ObjectType, ids: Sequence[str], *, whole: bool = False
    ) -> dict[str, tuple[bytes, bool]]:
        """For `expand`: only what the mirror can vouch for and this key may read."""
        if object_type.name not in self._standing.right_as_of:
            raise OnlyStripeCan(f"the mirror has not read all {object_type.title.lower()}")
        if not self._may_read(object_type):
            raise OnlyStripeCan(f"this API key lacks the scope {object_type.scope} to expand {object_type.words}")
        return self._reader.objects(object_type, ids, whole=whole)


def types_of(decision: FromMirror) -> set[str] | None:
    """Those that the answer may have objects of. None: any, because it is to be expanded."""
    if not isinstance(decision, MirrorNested) and decision.expand:
        return None
    under = (
        () if isinstance(decision, MirrorNested | MirrorSearch) or not decision.under else (decision.under.object_type,)
    )
    return {*expand.EMBEDDED, *(each.name for each in (*_types_of(decision), *under))}


def _asks_newest(paging: Paging) -> bool:
    return paging.limit == 1 and paging.cursor is None


def _types_of(decision: FromMirror) -> list[ObjectType]:
    """Those whose rows the answer is made of."""
    through = decision.selection.through.values() if isinstance(decision, MirrorList) else ()
    return [decision.object_type, *(OBJECT_TYPES[name] for name in through)]


def _unknown(asked: MirrorList) -> OnlyStripeCan:
    through = " and ".join(asked.selection.through.values())
    return OnlyStripeCan(f"the mirror does not know all {asked.object_type.title.lower()} of this {through}")


def _page_of(items: list[dict[str, Any]], asked: MirrorNested) -> tuple[list[dict[str, Any]], bool]:
    paging = asked.paging
    if paging.cursor is None:
        return items[: paging.limit], len(items) > paging.limit
    at = next((index for index, each in enumerate(items) if each.get("id") == paging.cursor), None)
    if at is None:
        raise OnlyStripeCan(f"the mirror has no {paging.cursor} in this list")
    if paging.after is not None:
        rest = items[at + 1 :]
        return rest[: paging.limit], len(rest) > paging.limit
    first = max(0, at - paging.limit)
    return items[first:at], first > 0
