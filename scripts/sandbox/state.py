"""The state of one Stripe account in one mode: objects, events, webhook endpoints and the clock."""

import gc
import hashlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from scripts.sandbox import shapes
from scripts.sandbox.answers import Refused, decode, encode, no_such
from scripts.sandbox.dice import Dice
from scripts.sandbox.embedding import with_todays
from scripts.sandbox.kinds import EVENT, KINDS, WEBHOOK_ENDPOINT, Kind
from scripts.sandbox.seeding import Recipe, Seeder
from scripts.sandbox.shapes import Json
from scripts.sandbox.shelf import Shelf
from scripts.sandbox.subscription_shapes import embedded_list
from scripts.sandbox.timeline import Record

Clock = Callable[[], float]

EVENT_RETENTION_S = 30 * 86_400  # stripe-facts.md, section 6
_MAX_ENDPOINTS = 16  # stripe-facts.md, section 6


def account_id(name: str) -> str:
    """Test and live keys of one name belong to one Stripe account."""
    return f"acct_1{hashlib.sha256(name.encode()).hexdigest()[:15]}"


class State:
    """Every change goes through `create`, `change` or `remove`, which create its events.

    Pure memory, no input or output. Time is `clock` in epoch seconds, which may be a simulated one. What webhooks
    have to bring stands in `outbox` as (event id, endpoint id) until a courier takes it.
    """

    def __init__(self, name: str, recipe: Recipe, clock: Clock = time.time, *, livemode: bool = False) -> None:
        self.name = name
        self.id = account_id(name)
        self.livemode = livemode
        self.clock = clock
        self.shelves: dict[str, Shelf] = {type: Shelf(kind) for type, kind in KINDS.items()}
        self.events = Shelf(EVENT)
        self.endpoints = Shelf(WEBHOOK_ENDPOINT)
        self.secrets: dict[str, str] = {}
        self.outbox: deque[tuple[str, str]] = deque()
        self.embeds_todays = False  # whether answers and events show embedded objects as they are today
        self.request: tuple[str | None, str | None] = (None, None)  # id and idempotency key, for the events it makes
        self.created = recipe.until or self.now()
        # Contains the time, so that after a restart with the same history no new object or event gets a used id.
        self.dice = Dice(f"{recipe.seed}:{name}:{livemode}:{self.now()}")
        self._seed(recipe)

    def now(self) -> int:
        """The current second, which new objects get as `created`."""
        return int(self.clock())

    def _seed(self, recipe: Recipe) -> None:
        # The collector would walk a hundred thousand live objects again and again, for a third of the seeding time.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            Seeder(self.shelves, recipe, self.name, livemode=self.livemode, now=self.created).fill()
        finally:
            if was_enabled:
                gc.enable()

    def new_id(self, kind: Kind) -> str:
        return kind.id_prefix + self.dice.token(kind.id_length)

    def record(self, type: str, id: str) -> Record:
        record = self.shelves[type].get(id)
        if record is None:
            raise no_such(self.shelves[type].kind.words, id)
        return record

    def get(self, type: str, id: str) -> Json:
        found: Json = decode(self.record(type, id).body)
        return found

    def named(self, type: str, id: Any, param: str) -> Json:
        """An object that a parameter names. If it is missing, raises 400, not 404."""
        record = self.shelves[type].get(str(id))
        if record is None:
            raise no_such(self.shelves[type].kind.words, str(id), param=param, status=400)
        found: Json = decode(record.body)
        return found

    def children(self, type: str, id: str) -> list[Json]:
        """An object's complete nested list: an invoice's lines or a subscription's items."""
        record = self.record(type, id)
        kind = self.shelves[type].kind
        if record.children or kind.hides_children:
            return [decode(body) for body in record.children]
        field = kind.children
        found: list[Json] = decode(record.body)[field]["data"] if field else []
        return found

    def create(self, type: str, obj: Json, children: list[Json] | None = None, *, listed: bool = True) -> Json:
        record = self.shelves[type].put(obj, children, listed=listed)
        self._emit_own(type, "created", record.body)
        return obj

    def change(self, type: str, obj: Json, children: list[Json] | None = None, *, also: tuple[str, ...] = ()) -> Json:
        """Replaces an object. `also` are events besides `updated`. Without a change there is no event."""
        shelf = self.shelves[type]
        old = self.get(type, obj["id"])
        previous = changed_attributes(old, obj)
        if not previous and children is None:
            return obj
        record = shelf.put(obj, children)
        prefix = shelf.kind.event_prefix
        for suffix in also:
            self.emit(f"{prefix}.{suffix}", record.body)
        self._emit_own(type, "updated", record.body, previous)
        return obj

    def _emit_own(self, type: str, what: str, body: bytes, previous: Json | None = None) -> None:
        """Of some types Stripe tells nobody that one was made or changed."""
        kind = KINDS[type]
        if what in kind.events:
            self.emit(f"{kind.event_prefix}.{kind.event_names.get(what, what)}", body, previous)

    def remove(self, type: str, id: str) -> Json:
        """Deletes for good. The event carries the object's last state."""
        self.record(type, id)
        record = self.shelves[type].delete(id, self.now())
        self._emit_own(type, "deleted", record.body)
        return {"id": id, "object": KINDS[type].object_name, "deleted": True}

    def detach(self, type: str, id: str, *, is_told: bool = True) -> Json:
        """Takes an object away from its customer. No list contains it any more. Some can still be retrieved."""
        kind, obj = KINDS[type], self.get(type, id)
        if not kind.keeps_orphans:
            return self.remove(type, id) if is_told else self._remove_silently(type, id)
        previous = {kind.parent: obj[kind.parent]}
        record = self.shelves[type].put({**obj, kind.parent: None})
        if is_told:
            self._emit_own(type, "deleted", record.body, previous)
        return {**obj, kind.parent: None}

    def _remove_silently(self, type: str, id: str) -> Json:
        self.shelves[type].delete(id, self.now())
        return {"id": id, "object": KINDS[type].object_name, "deleted": True}

    def lose_customer(self, customer_id: str) -> None:
        """What was listed under a deleted customer goes with it, and Stripe tells nobody."""
        for type, kind in KINDS.items():
            for record in list(self.shelves[type].indexed(kind.parent, customer_id)) if kind.parent else ():
                self.detach(type, record.id, is_told=False)

    def end_subscription(self, subscription: Json, reason: str) -> Json:
        """Cancels at once. Stripe's event says deleted, but the object stays, as canceled."""
        now = self.now()
        subscription.update(status="canceled", canceled_at=now, ended_at=now, cancel_at_period_end=False)
        subscription["cancellation_details"]["reason"] = reason
        record = self.shelves["subscription"].put(subscription)
        self.emit("customer.subscription.deleted", record.body)
        return subscription

    def emit(self, type: str, body: bytes, previous: Json | None = None) -> None:
        """Records an event with the object's present state, and queues it for the endpoints that listen to it."""
        wanting = [id for id in self.endpoints.by_id if self._wants(id, type)]
        body = self.shown(body)
        data: dict[str, Any] = {"object": msgspec.Raw(body)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = {
            "id": self.new_id(EVENT),
            "object": "event",
            "api_version": shapes.API_VERSION,
            "created": self.now(),
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": len(wanting),
            "request": {"id": self.request[0], "idempotency_key": self.request[1]},
            "type": type,
        }
        self.events.put(event)
        self.outbox.extend((str(event["id"]), endpoint) for endpoint in wanting)

    def shown(self, body: bytes) -> bytes:
        return with_todays(self.shelves, body) if self.embeds_todays else body

    def _wants(self, endpoint_id: str, type: str) -> bool:
        endpoint = decode(self.endpoints.by_id[endpoint_id].body)
        if endpoint["status"] != "enabled":
            return False
        return "*" in endpoint["enabled_events"] or type in endpoint["enabled_events"]

    def delivered(self, event_id: str) -> None:
        """One endpoint has answered 2xx to this event."""
        record = self.events.get(event_id)
        if record is not None:
            event = decode(record.body)
            self.events.put({**event, "pending_webhooks": max(0, event["pending_webhooks"] - 1)})

    def add_endpoint(self, endpoint: Json) -> str:
        """Registers a webhook endpoint and returns its secret, which only this answer may show."""
        if len(self.endpoints.by_id) >= _MAX_ENDPOINTS:
            mode = "live" if self.livemode else "test"
            raise Refused(f"You have reached the maximum of {_MAX_ENDPOINTS} {mode} webhook endpoints.")
        self.endpoints.put(endpoint)
        secret = self.secrets[endpoint["id"]] = f"whsec_{self.dice.token(32)}"
        return secret

    def dump(self, type: str, *, full: bool = False) -> list[bytes]:
        """Every live object of a type as a retrieve returns it, including unlisted prices.

        Leaves out what no longer belongs to a customer. `full` completes nested lists and shows hidden fields.
        """
        shelf = self.shelves[type]
        records = [record for record in shelf.by_id.values() if not shelf.is_orphan(record)]
        return [self._completed(shelf.kind, record) if full else record.body for record in records]

    @staticmethod
    def _completed(kind: Kind, record: Record) -> bytes:
        if kind.hides:
            obj = decode(record.body)
            return encode(obj | hidden_fields(kind, record, obj))
        if not (record.children or kind.hides_children):
            return record.body
        obj, field = decode(record.body), str(kind.children)
        if kind.hides_children:
            obj[field] = embedded_list([], f"{kind.path}/{record.id}/{field}")
        obj[field]["data"] = [msgspec.Raw(child) for child in record.children]
        obj[field]["has_more"] = False
        return encode(obj)


def hidden_fields(kind: Kind, record: Record, obj: Json) -> Json:
    """The fields that appear only if they are expanded."""
    return kind.hidden(obj) | (decode(record.hidden) if record.hidden else {})


def changed_attributes(old: Json, new: Json) -> Json:
    """An event's `previous_attributes`: the old values that differ, also within nested objects."""
    found: Json = {}
    for name in new.keys() | old.keys():
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            found[name] = changed_attributes(before, after)
        else:
            found[name] = before
    return dict(sorted(found.items()))
