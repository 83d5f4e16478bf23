"""Reads Stripe's pages, single objects, events and account. Reads only the needed parts of a page."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from sync.errors import StripeRejected, StripeUnavailable
from sync.object_types import ObjectType, parent_of
from sync.stripe.answers import Answer, Read
from sync.stripe.caller import Caller, Reservation
from sync.stripe.listing import Listing
from sync.stripe.lists import PAGE_SIZE
from sync.stripe.odd_objects import oldest_second
from sync.stripe.pages import Page, RawList, as_told_of_cursor, page_read, read_raw_list

# Each further round means that a nested list lost an item while it was being read.
_ROUNDS = 5


# An object's fields. Only some of them are decoded.
_Fields = dict[str, msgspec.Raw]
_NO_ITEMS = (b"", b"[]", b"null")


@dataclass(frozen=True, slots=True)
class EventsPage:
    """Events as JSON, newest first.

    This page and the ones after it contain every event up to `as_of` on Stripe's clock.
    """

    bodies: list[bytes]
    as_of: int


@dataclass(frozen=True, slots=True)
class Account:
    """The account of a key. `now` is Stripe's clock in whole seconds."""

    id: str
    name: str | None
    now: int


class Source:
    """One Stripe account.

    Raises StripeUnavailable if Stripe did not answer for long, and StripeRejected if it refused.
    """

    def __init__(self, caller: Caller, *, page_size: int = PAGE_SIZE) -> None:
        self.page_size = page_size
        self.caller = caller

    def fail_fast(self) -> "Source":
        """A source for work that may fail now and is repeated later."""
        return Source(self.caller.fail_fast(), page_size=self.page_size)

    def reserve(self, object_type: ObjectType, most: int = 1) -> Reservation:
        """Takes tokens for `count` list requests. Wait `wait_s`, then call `page(..., reserved=True)`."""
        return self.caller.reserve(object_type.list_endpoint, most=most)

    def reserve_lists(self, object_type: ObjectType, most: int) -> Reservation:
        """Takes tokens for completing lists. These do not wait in line, because a page waits for them."""
        assert object_type.nested
        return self.caller.reserve(object_type.nested.endpoint, urgent=True, most=most)

    def page(self, object_type: ObjectType, params: Mapping[str, str | int], *, reserved: bool = False) -> Page:
        """One page. Raises CursorLost if the object that `starting_after` names is gone (stripe-facts 1.3)."""
        try:
            return self.caller.get(page_read(object_type, params, self.page_size), reserved=reserved)
        except StripeRejected as exc:
            raise as_told_of_cursor(exc, params) from exc

    def page_read(
        self, object_type: ObjectType, params: Mapping[str, str | int], parent_id: str | None = None
    ) -> Read[Page]:
        return page_read(object_type, params, self.page_size, parent_id)

    def pages_of_parent(self, object_type: ObjectType, parent_id: str) -> list[Page]:
        """All that the list under one parent contains. Empty if the parent is gone."""
        pages: list[Page] = []
        params: dict[str, str | int] = {}
        for _ in range(_ROUNDS):
            try:
                while not pages or pages[-1].has_more:
                    pages.append(self.caller.get(self.page_read(object_type, params, parent_id)))
                    params["starting_after"] = pages[-1].cursor or ""
            except StripeRejected as exc:
                if not exc.is_cursor_lost:
                    raise
                if not params:
                    return []
                # The cursor's object was deleted, or the parent was: its list is read again.
                pages, params = [], {}
            else:
                return pages
        raise StripeUnavailable(f"the list of {object_type.words}s lost its cursor in each of {_ROUNDS} reads")

    def fetch(self, object_type: ObjectType, object_id: str, parent_id: str = "") -> Answer:
        """One object with complete nested lists. The body is empty if Stripe deleted it or never had it.

        It is also empty for an object that no longer has a parent, because no list contains it. `parent_id` is for
        types whose objects are read under their parent.
        """
        path, params = object_type.path_of(object_id, parent_id), object_type.retrieve_params
        for _ in range(_ROUNDS):
            try:
                answer, found = self.caller.get(Read(object_type.retrieve_endpoint, path, params, _read_fetched))
            except StripeRejected as exc:
                if exc.is_missing:
                    return Answer(b"", exc.as_of, exc.as_of_until)
                raise
            if bytes(found.get("deleted", b"")) == b"true" or _is_orphan(object_type, answer.body):
                return Answer(b"", answer.as_of, answer.as_of_until)
            if whole := self._with_whole_list(object_type, object_id, answer):
                return whole
        raise StripeUnavailable(f"the {object_type.name} lost items during each of {_ROUNDS} reads")

    def complete(self, object_type: ObjectType, cut_ids: Sequence[str], page: Answer) -> dict[str, Answer]:
        """All items of the lists that Stripe cut, by their object's id. True from the page's start to the lists' end.

        A body is a JSON array of items. If an item was deleted during the read it is the whole object; if the object
        itself was, it is empty.
        """
        completed: dict[str, Answer] = {}
        for object_id in cut_ids:
            listing = self.listing(object_type, object_id)
            completed[object_id] = (
                listing.answer(page) if self._read_whole(listing) else self.fetch(object_type, object_id)
            )
        return completed

    def listing(self, object_type: ObjectType, object_id: str) -> Listing:
        assert object_type.nested
        return Listing(object_type.nested, object_id, self.page_size)

    def events(self, *, gte: int, lte: int | None = None, types: tuple[str, ...] = ()) -> Iterator[EventsPage]:
        """The account's events in that time, in at least one page. Stripe keeps events for 30 days."""
        params: dict[str, str | int] = {"created[gte]": gte, "limit": self.page_size}
        params |= {} if lte is None else {"created[lte]": lte}
        params |= {f"types[{index}]": name for index, name in enumerate(types)}
        oldest: int | None = None
        while True:
            try:
                answer, listed = self.caller.get(Read("list_events", "/v1/events", params, _read_list))
            except StripeRejected as exc:
                # Stripe has forgotten the cursor's event. Its second is read again, once.
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
        """Raises StripeRejected (401, 403) if the key is bad or may not read its own account."""
        answer, found = self.caller.get(Read("retrieve_account", "/v1/account", {}, _read_object))
        profile = _fields_of(found.get("business_profile"))
        dashboard = _fields_of(_fields_of(found.get("settings")).get("dashboard"))
        return Account(str(found["id"]), profile.get("name") or dashboard.get("display_name"), answer.as_of)

    def _with_whole_list(self, object_type: ObjectType, object_id: str, answer: Answer) -> Answer | None:
        """None: the object, or an item used as a cursor, was deleted while its list was read."""
        nested = object_type.nested
        if nested is None:
            return answer
        fields = msgspec.json.decode(answer.body, type=_Fields)
        embedded = _embedded_fields(fields, nested.field)
        if bytes(embedded.get("has_more", b"")) != b"true":
            return answer
        listing = Listing(nested, object_id, self.page_size)
        if not self._read_whole(listing):
            # A list without items has ended, even if it says that more follow.
            return answer if bytes(embedded.get("data", b"")) in _NO_ITEMS else None
        items = listing.answer(answer)
        embedded |= {"data": msgspec.Raw(items.body), "has_more": msgspec.Raw(b"false")}
        fields[nested.field] = msgspec.Raw(msgspec.json.encode(embedded))
        return replace(items, body=msgspec.json.encode(fields))

    def _read_whole(self, listing: Listing) -> bool:
        """Returns False if the object, or an item used as a cursor, was deleted in the meantime."""
        try:
            while not listing.add(self.caller.get(listing.read())):
                pass
        except StripeRejected as exc:
            if exc.is_cursor_lost:
                return False
            raise
        return True


def _is_orphan(object_type: ObjectType, body: bytes) -> bool:
    with contextlib.suppress(msgspec.DecodeError):
        return object_type.parent is not None and not parent_of(object_type, body)
    return False


def _is_to_be_reopened(exc: StripeRejected, params: Mapping[str, Any], oldest: int) -> bool:
    is_lost = "starting_after" in params and exc.is_cursor_lost
    return is_lost and params.get("created[lte]") != oldest


def _embedded_fields(fields: _Fields, name: str) -> _Fields:
    """The fields of an embedded list. Empty if the value is no list."""
    raw = bytes(fields.get(name, b"null"))
    return msgspec.json.decode(raw, type=_Fields) if raw.startswith(b"{") else {}


def _fields_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_fetched(answer: Answer) -> tuple[Answer, _Fields]:
    return answer, msgspec.json.decode(answer.body, type=_Fields)


def _read_list(answer: Answer) -> tuple[Answer, RawList]:
    return answer, read_raw_list(answer)


def _read_object(answer: Answer) -> tuple[Answer, dict[str, Any]]:
    return answer, msgspec.json.decode(answer.body, type=dict[str, Any])
