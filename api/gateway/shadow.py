"""Asks the mirror and Stripe the same question, and says how their answers differ.

People who want proof replay their program's own reads with it before they point the program here.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec

from api.gateway.decision import Asked, Forward, decide
from api.gateway.errors import OnlyStripeCan
from api.gateway.forward import Forwarder, Outgoing
from api.gateway.mirror_answers import MirrorAnswers
from api.gateway.params import nested
from api.gateway.store import MirrorReader
from api.http.errors import status_of
from sync.errors import BillStackError
from sync.stripe.caller import Limiter
from sync.teams.connections import Connection
from workers.context import Context

# A line of any log: the method, if it stands right before the address, and the address from /v1 on.
_REQUEST = re.compile(r'(?:\b([A-Z]{3,7})\s+"?)?(?:https?://[^/\s"]+)?(/v1/[^\s"\'<>]*)')
# An event of a change that happened between the two answers is applied by then.
_AGAIN_AFTER_S = 3.0
_ENDS = 40  # characters of a value that are shown

Outcome = Literal["same", "differs", "stripe"]


@dataclass(frozen=True, slots=True)
class Difference:
    """`where` is the field, like data[0].items.data[1].price.nickname."""

    where: str
    mirror: str
    stripe: str


@dataclass(frozen=True, slots=True)
class Compared:
    """`reason` says why Stripe would answer. The times are None for what was not asked."""

    target: str
    outcome: Outcome
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    mirror_s: float | None = None
    stripe_s: float | None = None


def requests_in(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(method, path and query) of each line that names a request of Stripe's API."""
    for line in lines:
        found = None if line.lstrip().startswith("#") else _REQUEST.search(line)
        if found:
            yield found[1] or "GET", found[2]


class Shadow:
    """`wait` sleeps before a difference is looked at again."""

    def __init__(
        self,
        context: Context,
        connection: Connection,
        forwarder: Forwarder,
        limiter: Limiter,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._context = context
        self._connection = connection
        self._forwarder = forwarder
        self._limiter = limiter
        self._wait = wait

    def compare(self, method: str, target: str) -> Compared:
        found = self._compare(method, target)
        if found.outcome == "differs":
            self._wait(_AGAIN_AFTER_S)
            found = self._compare(method, target)
        return found

    def _compare(self, method: str, target: str) -> Compared:
        began = time.perf_counter()
        try:
            ours = self._ask_mirror(method, target)
        except OnlyStripeCan as exc:
            return Compared(target, "stripe", str(exc))
        mirror_s = time.perf_counter() - began
        began = time.perf_counter()
        answer = self._forwarder.send(Outgoing(method, target, {}, b""), self._connection, self._limiter)
        stripe_s = time.perf_counter() - began
        found = tuple(differences(ours, (answer.status, _decoded(answer.body))))
        return Compared(target, "differs" if found else "same", "", found, mirror_s, stripe_s)

    def _ask_mirror(self, method: str, target: str) -> tuple[int, Any]:
        """Status and body. Raises OnlyStripeCan."""
        path, _, query = target.partition("?")
        try:
            asked = Asked(method, path, nested(parse_qsl(query, keep_blank_values=True)))
            decision = decide(asked)
            if isinstance(decision, Forward):
                raise OnlyStripeCan(decision.reason)
            with self._context.pool.connection() as connection:
                reader = MirrorReader(connection, self._connection.team_id)
                made = MirrorAnswers(reader, asked, lambda _: True).make(decision)
        except BillStackError as exc:
            return status_of(exc), {"error": {"code": exc.code}}
        return 200, _decoded(made.body)


def differences(ours: tuple[int, Any], theirs: tuple[int, Any]) -> Iterator[Difference]:
    """Between two answers, each with its status. Refusals with the same status are the same."""
    if ours[0] != theirs[0]:
        yield Difference("status", str(ours[0]), str(theirs[0]))
    elif ours[0] == 200:
        yield from _differences("", ours[1], theirs[1])


def _differences(where: str, ours: Any, theirs: Any) -> Iterator[Difference]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if where and theirs.get("object") == "list" and theirs.get("has_more") is True:
            ours = _cut(ours, theirs)
        for name in sorted({*ours, *theirs}):
            inner = f"{where}.{name}" if where else name
            yield from _differences(inner, ours.get(name, _ABSENT), theirs.get(name, _ABSENT))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(f"{where}[{index}]", mine, other)
    elif ours != theirs or isinstance(ours, bool) != isinstance(theirs, bool):
        yield Difference(where, _shown(ours), _shown(theirs))


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


_ABSENT = _Absent()


def _cut(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """A list inside an object is whole in the mirror, and cut at Stripe."""
    items = ours.get("data")
    return ours | {"data": items[: len(theirs.get("data", []))], "has_more": True} if isinstance(items, list) else ours


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} items"
    text = repr(value) if isinstance(value, _Absent) else msgspec.json.encode(value).decode()
    return text if len(text) <= _ENDS else f"{text[:_ENDS]}…"


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body.decode(errors="replace")
