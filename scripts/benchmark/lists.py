"""The requests that reading an account needs at least: every page of every list, found by reading them all once."""

import http.client
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from sync.object_types import DEFAULT_TYPES, ObjectType, head_struct, in_order, is_cut
from sync.stripe.lists import PAGE_SIZE

TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Request:
    """One list request. `endpoint` is the operation as the sandbox counts it; each has its own limit."""

    endpoint: str
    target: str  # path and query
    is_nested: bool  # for the rest of a list that Stripe cut inside an object


@dataclass(frozen=True, slots=True)
class Survey:
    """All requests that reading an account once needs, and how many objects of each type they return."""

    requests: tuple[Request, ...]
    objects: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.objects.values())

    def pages(self) -> Counter[str]:
        """By endpoint, without nested lists."""
        return Counter(each.endpoint for each in self.requests if not each.is_nested)

    def nested(self) -> Counter[str]:
        return Counter(each.endpoint for each in self.requests if each.is_nested)


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests a second that the sandbox allows. None: no limit. Its buckets hold one second's worth, full at first."""

    account_rps: float | None = None
    endpoint_rps: float | None = None


def least_seconds(endpoints: Iterable[str], rates: Rates, latency_s: float) -> float:
    """The earliest moment at which any client can have the answers to all of these requests."""
    counts = Counter(endpoints)
    waits = [0.0]
    if rates.endpoint_rps:
        waits += [(count - rates.endpoint_rps) / rates.endpoint_rps for count in counts.values()]
    if rates.account_rps:
        waits.append((counts.total() - rates.account_rps) / rates.account_rps)
    return max(waits) + latency_s


class Reader:
    """Sends one request after the other on one connection."""

    def __init__(self, url: str, secret_key: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
        self._headers = {"Authorization": f"Bearer {secret_key}"}

    def get(self, target: str) -> tuple[int, bytes]:
        self._connection.request("GET", target, headers=self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


def survey(url: str, secret_key: str) -> Survey:
    """Reads everything. Call it without latency and limits, because it sends one request at a time."""
    reader = Reader(url, secret_key)
    requests: list[Request] = []
    objects: dict[str, int] = {}
    for object_type in in_order(DEFAULT_TYPES):
        ids = set()
        for variant in object_type.variants:
            for request, heads in pages(reader, object_type, variant):
                requests.append(request)
                ids |= {head.id for head in heads}
                cut = [head.id for head in heads if is_cut(object_type, head)]
                requests += [one for id in cut for one in nested_list(reader, object_type, id)]
        objects[object_type.name] = len(ids)
    reader.close()
    return Survey(tuple(requests), objects)


def pages(reader: Reader, object_type: ObjectType, variant: Mapping[str, str]) -> Iterator[tuple[Request, list[Any]]]:
    """Each page's request, and the heads of its objects (id and embedded list)."""
    listed = msgspec.defstruct("Listed", [("data", list[head_struct(object_type)]), ("has_more", bool)])  # type: ignore[misc]
    parameters: dict[str, str | int] = {**variant, "limit": PAGE_SIZE}
    while True:
        target = f"{object_type.path}?{urlencode(parameters)}"
        page = decoded(reader, target, listed)
        yield Request(f"GET {object_type.path}", target, is_nested=False), page.data
        if not page.has_more:
            return
        parameters["starting_after"] = page.data[-1].id


def nested_list(reader: Reader, object_type: ObjectType, object_id: str) -> Iterator[Request]:
    """The requests for one object's cut list."""
    nested = object_type.nested
    assert nested
    parameters: dict[str, str | int] = {key: value.format(id=object_id) for key, value in nested.params.items()}
    parameters["limit"] = PAGE_SIZE
    while True:
        target = f"{nested.path.format(id=object_id)}?{urlencode(parameters)}"
        page = decoded(reader, target, _Children)
        yield Request(f"GET {nested.path.format(id=':id')}", target, is_nested=True)
        if not page.has_more:
            return
        parameters["starting_after"] = page.data[-1].id


class _Child(msgspec.Struct):
    id: str


class _Children(msgspec.Struct):
    data: list[_Child]
    has_more: bool


def decoded(reader: Reader, target: str, kind: type) -> Any:
    status, body = reader.get(target)
    if status != 200:
        raise RuntimeError(f"the sandbox answered {status} to {target}: {body[:200].decode(errors='replace')}")
    return msgspec.json.decode(body, type=kind)
