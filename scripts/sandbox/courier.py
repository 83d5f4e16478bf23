"""Delivers events to webhook endpoints, signed like Stripe's: in order or shuffled, twice, late, or never."""

import asyncio
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scripts.sandbox.answers import decode, encode
from scripts.sandbox.dice import Dice
from scripts.sandbox.shapes import API_VERSION, Json
from scripts.sandbox.state import State

if TYPE_CHECKING:
    from scripts.sandbox.sandbox import Sandbox

_LOOK_S = 0.02  # how often it looks for new events; Stripe itself takes about a second
_TIMEOUT_S = 20  # a slower endpoint has failed, as at Stripe
_USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How events are delivered. Shares are of deliveries; `delay_s` is the longest random delay."""

    auto: bool = True
    shuffle: bool = False
    duplicates: float = 0.0
    loss: float = 0.0
    delay_s: float = 0.0
    concurrency: int = 20  # 1 keeps the order of the events
    retry_after_s: tuple[float, ...] = (1.0, 3.0, 10.0)
    seed: int = 1


@dataclass(frozen=True, slots=True)
class _Parcel:
    state: State
    event_id: str
    endpoint_id: str


class _Manner:
    """A delivery's options with their dice, and places for its simultaneous requests."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.dice = Dice(f"courier:{delivery.seed}")
        self.places = asyncio.Semaphore(delivery.concurrency)


class Courier:
    """Delivers every account's outbox as it fills, or in one batch on request."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox
        self._watch: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()
        self.set(Delivery())

    @property
    def delivery(self) -> Delivery:
        return self._manner.delivery

    def set(self, delivery: Delivery) -> None:
        """Sets how events are delivered from now on. Deliveries in progress do not change."""
        self._manner = _Manner(delivery)

    def start(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._deliver_as_they_come())

    def stop(self) -> None:
        for task in [*self._under_way, *([self._watch] if self._watch else [])]:
            task.cancel()

    def waiting(self) -> int:
        """Deliveries that have not started."""
        return sum(len(tenant.account.state.outbox) for tenant in self._sandbox.tenants)

    def stats(self) -> Json:
        return {"waiting": self.waiting(), "underWay": len(self._under_way), **self.counts}

    async def _deliver_as_they_come(self) -> None:
        while True:
            if self.delivery.auto and self.waiting():
                self._set_out(self._manner)
            await asyncio.sleep(_LOOK_S)

    def deliver_waiting(self, delivery: Delivery) -> int:
        """Starts delivering everything that waits, in the given manner. Returns the number of deliveries."""
        return self._set_out(_Manner(delivery))

    def _set_out(self, manner: _Manner) -> int:
        parcels = [parcel for parcel in self._take_all() for _ in range(self._copies(manner))]
        if manner.delivery.shuffle:
            parcels = manner.dice.shuffled(parcels)
        for parcel in parcels:
            delay = manner.dice.random() * manner.delivery.delay_s
            task = asyncio.get_running_loop().create_task(self._bring(parcel, delay, manner))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(parcels)

    def _take_all(self) -> Iterator[_Parcel]:
        for tenant in self._sandbox.tenants:
            state = tenant.account.state
            while state.outbox:
                yield _Parcel(state, *state.outbox.popleft())

    def _copies(self, manner: _Manner) -> int:
        if manner.dice.chance(manner.delivery.loss):
            self.counts["lost"] += 1
            return 0
        if manner.dice.chance(manner.delivery.duplicates):
            self.counts["duplicated"] += 1
            return 2
        return 1

    async def _bring(self, parcel: _Parcel, delay: float, manner: _Manner) -> None:
        if delay:
            await asyncio.sleep(delay)
        for pause in (*manner.delivery.retry_after_s, None):
            async with manner.places:
                if await self._post(parcel):
                    parcel.state.delivered(parcel.event_id)
                    self.counts["delivered"] += 1
                    return
            self.counts["refused"] += 1
            if pause is not None:
                await asyncio.sleep(pause)
        self.counts["failed"] += 1

    async def _post(self, parcel: _Parcel) -> bool:
        """One attempt. An endpoint that was deleted in the meantime counts as refusing."""
        state = parcel.state
        endpoint = state.endpoints.get(parcel.endpoint_id)
        event = state.events.get(parcel.event_id)
        if endpoint is None or event is None:
            return False
        settings = decode(endpoint.body)
        body = rendered(event.body, settings["api_version"])
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": _USER_AGENT,
            "Stripe-Signature": signature(body, state.secrets[parcel.endpoint_id], state.now()),
        }
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return 200 <= await _post(settings["url"], body, headers) < 300
        except (OSError, ValueError):  # a timeout is an OSError
            return False


async def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """The answer's status, over a new connection. Raises OSError, or ValueError if the answer is not HTTP.

    By hand, since all that counts is the status, and since the Stripe SDK imports any async HTTP client that it finds
    installed, into every process of the product.
    """
    target = urlsplit(url)
    is_tls = target.scheme == "https"
    reader, writer = await asyncio.open_connection(
        target.hostname, target.port or (443 if is_tls else 80), ssl=is_tls or None
    )
    try:
        address = target._replace(scheme="", netloc="", path=target.path or "/", fragment="").geturl()
        lengths = {"Host": target.netloc, "Content-Length": str(len(body)), "Connection": "close"}
        lines = [f"POST {address} HTTP/1.1", *(f"{name}: {value}" for name, value in (headers | lengths).items())]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        version, status, *_ = (await reader.readline()).split(maxsplit=2)
        await reader.read()  # to its end, so that the endpoint can send its whole answer
        if not version.startswith(b"HTTP/"):
            raise ValueError(version)
        return int(status)
    finally:
        writer.close()


def signature(body: bytes, secret: str, at: int) -> str:
    """The `Stripe-Signature` header: HMAC-SHA256 over "{t}.{raw body}" (stripe-facts.md, section 6)."""
    digest = hmac.new(secret.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def rendered(event: bytes, api_version: str | None) -> bytes:
    """An event names its endpoint's API version. Only the name changes: the object keeps today's shape."""
    if api_version in (None, API_VERSION):
        return event
    return encode({**decode(event), "api_version": api_version})
