"""Reads Stripe: pages, single objects, events, the account. What it needs of a page it reads without building objects."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from sync.caller import Answer, Caller, Payments, Reservation
from sync.errors import CursorLost, StripeRejected, StripeUnavailable
from sync.object_types import ListedItem, NestedList, ObjectType, embedded_list, head_decoder, head_struct, is_cut
from sync.windows import PAGE_SIZE

# Each further round means that a nested list lost an item while it was read.
_ROUNDS = 5


class _RawList(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool = False


class _Identified(msgspec.Struct):
    id: str


class _Fetched(msgspec.Struct):
    deleted: bool | None = None


class _NestedPage(msgspec.Struct):
    """Of a list of items: they are passed on as they came."""

    data: list[msgspec.Raw]
    has_more: bool


# An object's fields, of which only some are looked into.
_Fields = dict[str, msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Page:
    """One list answer. `heads` carry id, created and embedded list of each object, in Stripe's order: newest first."""

    answer: Answer
    heads: list[Any]
    has_more: bool

    def named_prices(self, object_type: ObjectType, completed: Mapping[str, bytes]) -> set[str]:
        """Ids of the prices that items or lines of these objects name, also beyond where Stripe cut their lists."""
        if not object_type.nested:
            return set()
        lists = [
            *(embedded.data for head in self.heads if (embedded := embedded_list(object_type, head))),
            *(_items(object_type, body) for body in completed.values() if body),
        ]
        return {price for items in lists for item in items if (price := item.named_price())}

    def cut_ids(self, object_type: ObjectType) -> list[str]:
        """The objects of whose embedded list Stripe left out a part, each once."""
        if not object_type.nested:
            return []
        return list(dict.fromkeys(head.id for head in self.heads if is_cut(object_type, head)))

    def raw_objects(self) -> list[bytes]:
        """Each object's JSON as Stripe sent it. Only for the few pages that need it."""
        return [bytes(raw) for raw in msgspec.json.decode(self.answer.body, type=_RawList).data]


@dataclass(frozen=True, slots=True)
class Account:
    """Whose key it is; `now` is Stripe's clock in whole seconds."""

    id: str
    name: str | None
    now: int


class Source:
    """One Stripe account. Raises StripeUnavailable when Stripe did not answer for long, StripeRejected when it said no."""

    def __init__(self, caller: Caller, *, page_size: int = PAGE_SIZE) -> None:
        self.page_size = page_size
        self._caller = caller
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}

    def hasty(self) -> "Source":
        """For what may fail now and be tried again later."""
        return Source(self._caller.hasty(), page_size=self.page_size)

    def reserve(self, object_type: ObjectType, most: int = 1) -> Reservation:
        """Takes tokens for `count` list requests: wait `wait_s`, then call `page(..., reserved=True)`."""
        return self._caller.reserve(object_type.list_endpoint, most=most)

    def page(
        self,
        object_type: ObjectType,
        params: Mapping[str, str | int],
        *,
        reserved: bool = False,
        on_retry: Callable[[BaseException], None] | None = None,
    ) -> Page:
        """One page. Raises CursorLost when the object that `starting_after` names is gone (stripe-facts 1.3)."""
        decode = self._decoder(object_type).decode

        def read(answer: Answer) -> Page:
            listed = _with_cursor(decode(answer.body))
            return Page(answer, listed.data, listed.has_more)

        try:
            return self._caller.get(
                object_type.list_endpoint,
                object_type.path,
                {**params, "limit": self.page_size},
                read,
                reserved=reserved,
                urgent=False,
                on_retry=on_retry,
            )
        except StripeRejected as exc:
            if "starting_after" in params and exc.stripe_code == "resource_missing":
                raise CursorLost(exc.message, status=exc.status, stripe_code=exc.stripe_code) from exc
            raise

    def fetch(self, object_type: ObjectType, object_id: str) -> Answer:
        """One object with its nested lists whole; an empty body when Stripe deleted it or never had it."""
        path = f"{object_type.path}/{_in_path(object_id)}"
        for _ in range(_ROUNDS):
            try:
                answer, found = self._caller.get(object_type.retrieve_endpoint, path, {}, _read_fetched)
            except StripeRejected as exc:
                if exc.stripe_code == "resource_missing":
                    return Answer(b"", exc.as_of, exc.as_of_until)
                raise
            if found.deleted:
                return Answer(b"", answer.as_of, answer.as_of_until)
            if whole := self._with_whole_list(object_type, object_id, answer):
                return whole
        raise StripeUnavailable(f"{object_type.name} {object_id} lost items during each of {_ROUNDS} reads")

    def payments(self, object_type: ObjectType, most: int = 1) -> Payments:
        """For the requests that read whole lists."""
        return self._caller.payments(object_type.nested.endpoint if object_type.nested else "", most)

    def complete(
        self, object_type: ObjectType, cut_ids: Sequence[str], page: Answer, payments: Payments
    ) -> dict[str, Answer]:
        """All items of the lists that Stripe cut, by their object's id: true from the page's beginning to the lists' end.

        A body is a JSON array of the items; but the whole object when an item was deleted while the list was read, and
        empty when the object itself was.
        """
        nested = object_type.nested
        if nested is None:
            return {}
        completed: dict[str, Answer] = {}
        for object_id in cut_ids:
            if found := self._nested_items(nested, object_id, payments):
                items, until = found
                completed[object_id] = Answer(items, page.as_of, max(page.as_of_until, until))
            else:
                completed[object_id] = self.fetch(object_type, object_id)
        return completed

    def events(self, *, gte: int, lte: int, types: tuple[str, ...] = ()) -> Iterator[list[bytes]]:
        """The account's events of that time in pages, each event as JSON, newest first. Stripe keeps them for 30 days."""
        params: dict[str, str | int] = {"created[gte]": gte, "created[lte]": lte, "limit": self.page_size}
        params |= {f"types[{index}]": name for index, name in enumerate(types)}
        while True:
            listed = self._caller.get("list_events", "/v1/events", params, _read_raw_list)
            yield [bytes(raw) for raw in listed.data]
            if not listed.has_more:
                return
            params["starting_after"] = msgspec.json.decode(listed.data[-1], type=_Identified).id

    def account(self) -> Account:
        """Raises StripeRejected (401, 403) when the key is bad or may not read its own account."""
        answer, found = self._caller.get("retrieve_account", "/v1/account", {}, _read_object)
        profile = found.get("business_profile") or {}
        dashboard = (found.get("settings") or {}).get("dashboard") or {}
        return Account(str(found["id"]), profile.get("name") or dashboard.get("display_name"), answer.as_of)

    def _with_whole_list(self, object_type: ObjectType, object_id: str, answer: Answer) -> Answer | None:
        """None: the object, or an item that stood for a cursor, was deleted while its list was read."""
        nested = object_type.nested
        if nested is None:
            return answer
        fields = msgspec.json.decode(answer.body, type=_Fields)
        embedded = msgspec.json.decode(fields.get(nested.field, b"null"), type=_Fields | None) or {}
        if bytes(embedded.get("has_more", b"")) != b"true":
            return answer
        found = self._nested_items(nested, object_id, self.payments(object_type))
        if found is None:
            return None
        items, until = found
        embedded |= {"data": msgspec.Raw(items), "has_more": msgspec.Raw(b"false")}
        fields[nested.field] = msgspec.Raw(msgspec.json.encode(embedded))
        return Answer(msgspec.json.encode(fields), answer.as_of, max(answer.as_of_until, until))

    def _nested_items(self, nested: NestedList, object_id: str, payments: Payments) -> tuple[bytes, int] | None:
        """All items of one embedded list as a JSON array, and until when they were true. None: as above."""
        path = nested.path.format(id=_in_path(object_id))
        params: dict[str, str | int] = {key: value.format(id=object_id) for key, value in nested.params.items()}
        params["limit"] = self.page_size
        items: list[msgspec.Raw] = []
        while True:
            payments.take()
            try:
                answer, listed = self._caller.get(nested.endpoint, path, params, _read_nested, reserved=True)
            except StripeRejected as exc:
                if exc.stripe_code == "resource_missing":
                    return None
                raise
            items += listed.data
            if not listed.has_more:
                return b"[" + b",".join(items) + b"]", answer.as_of_until
            params["starting_after"] = msgspec.json.decode(items[-1], type=_Identified).id

    def _decoder(self, object_type: ObjectType) -> msgspec.json.Decoder[Any]:
        if object_type.name not in self._decoders:
            page = msgspec.defstruct("PageHeads", [("data", list[head_struct(object_type)]), ("has_more", bool)])  # type: ignore[misc]
            self._decoders[object_type.name] = msgspec.json.Decoder(page)
        return self._decoders[object_type.name]


def _items(object_type: ObjectType, completed: bytes) -> Sequence[ListedItem]:
    """Of a body that `complete` gave."""
    if completed.startswith(b"["):
        return msgspec.json.decode(completed, type=list[ListedItem])
    embedded = embedded_list(object_type, head_decoder(object_type.name).decode(completed))
    return embedded.data if embedded else ()


def _in_path(object_id: str) -> str:
    """People choose ids of products and plans, also with spaces and slashes."""
    return quote(object_id, safe="")


def _with_cursor(listed: Any) -> Any:
    """A page, if the next one could be asked for."""
    if listed.has_more and not listed.data:
        raise msgspec.DecodeError("an empty page says that more follow")
    return listed


def _read_fetched(answer: Answer) -> tuple[Answer, _Fetched]:
    return answer, msgspec.json.decode(answer.body, type=_Fetched)


def _read_nested(answer: Answer) -> tuple[Answer, _NestedPage]:
    return answer, _with_cursor(msgspec.json.decode(answer.body, type=_NestedPage))


def _read_object(answer: Answer) -> tuple[Answer, dict[str, Any]]:
    return answer, msgspec.json.decode(answer.body, type=dict[str, Any])


def _read_raw_list(answer: Answer) -> _RawList:
    return msgspec.json.decode(answer.body, type=_RawList)
