"""Reads Stripe: pages, single objects, events, the account. What it needs of a page it reads without building objects."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec

from sync.errors import CursorLost, StripeRejected, StripeUnavailable
from sync.object_types import ListedItem, NestedList, ObjectType, embedded_list, head_decoder, is_cut
from sync.stripe.caller import Answer, Caller, Read, Reservation
from sync.stripe.lists import PAGE_SIZE
from sync.stripe.odd_objects import (
    OddObject,
    is_fine,
    items_of_object,
    last_id,
    oldest_second,
    read_items,
    read_one_by_one,
)
from sync.stripe.sdk import Flights

T = TypeVar("T")

# Each further round means that a nested list lost an item while it was read.
_ROUNDS = 5


class _RawList(msgspec.Struct):
    """Objects are passed on as they came. A list without any has ended, whatever it says."""

    data: list[msgspec.Raw]
    has_more: Any = False

    def next_cursor(self) -> str | None:
        """Where the next page begins; None: this is the last one."""
        return last_id(self.data) if self.has_more is True else None


# An object's fields, of which only some are looked into.
_Fields = dict[str, msgspec.Raw]
_NO_ITEMS = (b"", b"[]", b"null")


@dataclass(frozen=True, slots=True)
class Page:
    """One list answer. `heads` carry id, created and embedded list of each object, in Stripe's order: newest first.

    `odd` are objects that cannot be mirrored; they are left out of all else.
    """

    answer: Answer
    heads: list[Any]
    has_more: bool
    cursor: str | None = None  # where the next page begins
    odd: Sequence[OddObject] = ()

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
class EventsPage:
    """Events as JSON, newest first; all that had happened by `as_of`, on Stripe's clock, is in it or on those after it."""

    bodies: list[bytes]
    as_of: int


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

    def reserve_lists(self, object_type: ObjectType, most: int) -> Reservation:
        """The same for requests of whole lists, which do not stand in line: a page waits for them."""
        assert object_type.nested
        return self._caller.reserve(object_type.nested.endpoint, urgent=True, most=most)

    def page(self, object_type: ObjectType, params: Mapping[str, str | int], *, reserved: bool = False) -> Page:
        """One page. Raises CursorLost when the object that `starting_after` names is gone (stripe-facts 1.3)."""
        try:
            return self._caller.get(self.page_read(object_type, params), reserved=reserved)
        except StripeRejected as exc:
            if "starting_after" in params and exc.is_cursor_lost:
                raise CursorLost(exc.message, status=exc.status, stripe_code=exc.stripe_code) from exc
            raise

    def page_read(self, object_type: ObjectType, params: Mapping[str, str | int]) -> Read[Page]:
        decode_body = self._decoder(object_type).decode

        def decode(answer: Answer) -> Page:
            try:
                listed = decode_body(answer.body)
            except msgspec.ValidationError:
                return _page_of_odd_objects(object_type, answer)
            if not all(map(is_fine, listed.data)):
                return _page_of_odd_objects(object_type, answer)
            cursor = listed.data[-1].id if listed.data else None
            return Page(answer, listed.data, listed.has_more and cursor is not None, cursor)

        sent = {**object_type.list_params, **params, "limit": self.page_size}
        return Read(object_type.list_endpoint, object_type.path, sent, decode, urgent=False)

    def flights(self) -> Flights:
        return self._caller.flights()

    def begin(self, flights: Flights, read: Read[T], then: Callable[[Callable[[], T]], None]) -> None:
        """See Caller.begin."""
        self._caller.begin(flights, read, then)

    def again(self, read: Read[T], failure: StripeUnavailable, on_retry: Callable[[BaseException], None]) -> T:
        """See Caller.again."""
        return self._caller.again(read, failure, on_retry)

    def fetch(self, object_type: ObjectType, object_id: str) -> Answer:
        """One object with its nested lists whole; an empty body when Stripe deleted it or never had it."""
        path, params = object_type.path_of(object_id), object_type.retrieve_params
        for _ in range(_ROUNDS):
            try:
                answer, found = self._caller.get(Read(object_type.retrieve_endpoint, path, params, _read_fetched))
            except StripeRejected as exc:
                if exc.is_missing:
                    return Answer(b"", exc.as_of, exc.as_of_until)
                raise
            if bytes(found.get("deleted", b"")) == b"true":
                return Answer(b"", answer.as_of, answer.as_of_until)
            if whole := self._with_whole_list(object_type, object_id, answer):
                return whole
        raise StripeUnavailable(f"the {object_type.name} lost items during each of {_ROUNDS} reads")

    def complete(self, object_type: ObjectType, cut_ids: Sequence[str], page: Answer) -> dict[str, Answer]:
        """All items of the lists that Stripe cut, by their object's id: true from the page's beginning to the lists' end.

        A body is a JSON array of the items; but the whole object when an item was deleted while the list was read, and
        empty when the object itself was.
        """
        completed: dict[str, Answer] = {}
        for object_id in cut_ids:
            listing = self.listing(object_type, object_id)
            completed[object_id] = (
                listing.answer(page) if self._read_whole(listing) else self.fetch(object_type, object_id)
            )
        return completed

    def listing(self, object_type: ObjectType, object_id: str) -> "Listing":
        assert object_type.nested
        return Listing(object_type.nested, object_id, self.page_size)

    def events(self, *, gte: int, lte: int | None = None, types: tuple[str, ...] = ()) -> Iterator[EventsPage]:
        """The account's events of that time, at least one page. Stripe keeps them for 30 days."""
        params: dict[str, str | int] = {"created[gte]": gte, "limit": self.page_size}
        params |= {} if lte is None else {"created[lte]": lte}
        params |= {f"types[{index}]": name for index, name in enumerate(types)}
        oldest: int | None = None
        while True:
            try:
                answer, listed = self._caller.get(Read("list_events", "/v1/events", params, _read_nested))
            except StripeRejected as exc:
                # Stripe forgot the event meanwhile. Its second is read again, once.
                if oldest is None or not _is_to_be_reopened(exc, params, oldest):
                    raise
                del params["starting_after"]
                params["created[lte]"] = oldest
                continue
            yield EventsPage([bytes(raw) for raw in listed.data], answer.as_of)
            cursor = listed.next_cursor()
            if cursor is None:
                return
            params["starting_after"], oldest = cursor, oldest_second(listed.data)

    def account(self) -> Account:
        """Raises StripeRejected (401, 403) when the key is bad or may not read its own account."""
        answer, found = self._caller.get(Read("retrieve_account", "/v1/account", {}, _read_object))
        profile = _fields_of(found.get("business_profile"))
        dashboard = _fields_of(_fields_of(found.get("settings")).get("dashboard"))
        return Account(str(found["id"]), profile.get("name") or dashboard.get("display_name"), answer.as_of)

    def _with_whole_list(self, object_type: ObjectType, object_id: str, answer: Answer) -> Answer | None:
        """None: the object, or an item that stood for a cursor, was deleted while its list was read."""
        nested = object_type.nested
        if nested is None:
            return answer
        fields = msgspec.json.decode(answer.body, type=_Fields)
        embedded = _embedded_fields(fields, nested.field)
        if bytes(embedded.get("has_more", b"")) != b"true":
            return answer
        listing = Listing(nested, object_id, self.page_size)
        if not self._read_whole(listing):
            # One that says of no items that more follow has ended, if there is nothing to read.
            return answer if bytes(embedded.get("data", b"")) in _NO_ITEMS else None
        items = listing.answer(answer)
        embedded |= {"data": msgspec.Raw(items.body), "has_more": msgspec.Raw(b"false")}
        fields[nested.field] = msgspec.Raw(msgspec.json.encode(embedded))
        return replace(items, body=msgspec.json.encode(fields))

    def _read_whole(self, listing: "Listing") -> bool:
        """False: the object, or an item that stood for a cursor, was deleted meanwhile."""
        try:
            while not listing.add(self._caller.get(listing.read())):
                pass
        except StripeRejected as exc:
            if exc.is_cursor_lost:
                return False
            raise
        return True

    def _decoder(self, object_type: ObjectType) -> msgspec.json.Decoder[Any]:
        if object_type.name not in self._decoders:
            fields: list[Any] = [("data", list[head_decoder(object_type.name).type]), ("has_more", bool, False)]  # type: ignore[misc]
            page = msgspec.defstruct("PageHeads", fields)
            self._decoders[object_type.name] = msgspec.json.Decoder(page)
        return self._decoders[object_type.name]


class Listing:
    """One embedded list that is read whole: `read` is its next request, `add` takes what came of it."""

    def __init__(self, nested: NestedList, object_id: str, page_size: int) -> None:
        self.object_id = object_id
        self._endpoint = nested.endpoint
        self._path = nested.path_of(object_id)
        self._params: dict[str, str | int] = {key: value.format(id=object_id) for key, value in nested.params.items()}
        self._params["limit"] = page_size
        self._items: list[msgspec.Raw] = []
        self._until = 0

    def read(self) -> Read[tuple[Answer, _RawList]]:
        return Read(self._endpoint, self._path, dict(self._params), _read_nested)

    def add(self, found: tuple[Answer, _RawList]) -> bool:
        """Whether it is whole now."""
        answer, listed = found
        self._items += listed.data
        self._until = answer.as_of_until
        cursor = listed.next_cursor()
        if cursor is not None:
            self._params["starting_after"] = cursor
        return cursor is None

    def answer(self, whole: Answer) -> Answer:
        """The items as a JSON array: true from when the object was read to when the last of them were."""
        return Answer(b"[" + b",".join(self._items) + b"]", whole.as_of, max(whole.as_of_until, self._until))


def _page_of_odd_objects(object_type: ObjectType, answer: Answer) -> Page:
    """The page as if Stripe had not listed those that cannot be mirrored. Raises msgspec.DecodeError if it is no list."""
    listed = _read_raw_list(answer)
    read = read_one_by_one(object_type, listed.data)
    cursor = listed.next_cursor()
    kept = replace(answer, body=b'{"data":[' + b",".join(read.raws) + b"]}") if read.odd else answer
    return Page(kept, read.heads, cursor is not None, cursor, read.odd)


def _is_to_be_reopened(exc: StripeRejected, params: Mapping[str, Any], oldest: int) -> bool:
    is_lost = "starting_after" in params and exc.is_cursor_lost
    return is_lost and params.get("created[lte]") != oldest


def _items(object_type: ObjectType, completed: bytes) -> Sequence[ListedItem]:
    """Of a body that `complete` gave."""
    return read_items(completed) if completed.startswith(b"[") else items_of_object(object_type, completed)


def _embedded_fields(fields: _Fields, name: str) -> _Fields:
    """Of an embedded list; none where it is something else."""
    raw = bytes(fields.get(name, b"null"))
    return msgspec.json.decode(raw, type=_Fields) if raw.startswith(b"{") else {}


def _fields_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_fetched(answer: Answer) -> tuple[Answer, _Fields]:
    return answer, msgspec.json.decode(answer.body, type=_Fields)


def _read_nested(answer: Answer) -> tuple[Answer, _RawList]:
    return answer, _read_raw_list(answer)


def _read_object(answer: Answer) -> tuple[Answer, dict[str, Any]]:
    return answer, msgspec.json.decode(answer.body, type=dict[str, Any])


def _read_raw_list(answer: Answer) -> _RawList:
    return msgspec.json.decode(answer.body, type=_RawList)
