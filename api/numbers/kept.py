"""Numbers of a large mirror take seconds to compute. A look shows the last ones, and a thread computes them again.

Numbers of a small mirror are computed at each look. All numbers come with their moment: everything that Stripe had by
then is in them.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import structlog

from api.account.status import read_status
from api.http.seats import seated
from api.http.times import iso
from api.numbers.kept_store import KeptStore
from sync.error_text import loggable_reason
from workers.context import Context

# Younger numbers are shown as they are.
FRESH_S = 60.0
# Computing this much takes about 50 ms. To open a subscription's JSON takes as long as to add up thirty charges.
SMALL = 500
_SHARE = {"subscription": 1.0, "charge": 1 / 30, "invoice": 1 / 30, "customer": 1 / 30}
# Nobody computes longer. The slowest that was measured took a quarter of it.
_LONGEST = timedelta(seconds=120)
# A process computes one after the other. More would wait too long.
_MOST_WAITING = 20
_LOOK_EVERY_S = 0.1
# The types from which the numbers are read.
_TYPES = ("customer", "price", "subscription", "invoice", "charge")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wanted:
    """`name` says everything that the numbers depend on beside the mirror."""

    team_id: str
    name: str
    compute: Callable[[psycopg.Connection[Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Numbers:
    """`are_old`: newer ones are being computed."""

    found: dict[str, Any]
    as_of: str | None
    are_old: bool = False


def read_numbers(
    context: Context, wanted: Wanted, mirror: Mapping[str, Any], *, oldest_s: float, patience_s: float
) -> Numbers | None:
    """`mirror` is the status' part of this name.

    Numbers that are kept and not older than `oldest_s` are returned at once. Otherwise waits for new ones, and returns
    None if they take longer than `patience_s`.
    """
    if is_small(mirror):
        with context.pool.connection() as connection:
            return Numbers(wanted.compute(connection), right_as_of(mirror))
    kept, age_s = _find(context, wanted)
    if age_s > FRESH_S:
        REFRESHER.ask(context, wanted)
    if kept is not None and age_s <= max(oldest_s, FRESH_S):
        return kept
    return _wait(context, wanted, time.monotonic() + patience_s)


def is_small(mirror: Mapping[str, Any]) -> bool:
    weight: float = sum(mirror[name]["objects"] * share for name, share in _SHARE.items() if name in mirror)
    return weight <= SMALL


def right_as_of(mirror: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The moment up to which all types of the numbers are known. None before a full sync has finished."""
    moments = [mirror.get(name, {}).get("rightAsOf") for name in _TYPES]
    return min(moment for moment in moments if moment) if all(moments) else None


def refresh(context: Context, wanted: Wanted) -> bool:
    """Computes and keeps the numbers, unless another process is doing so."""
    as_of = right_as_of(read_status(context, wanted.team_id)["mirror"])
    with seated(context.pool, wanted.team_id) as connection:
        store = KeptStore(connection, wanted.team_id, wanted.name)
        if not store.claim(_LONGEST):
            return False
        try:
            store.keep(wanted.compute(connection), as_of)
        except BaseException:
            store.release()
            raise
        store.forget_old()
    return True


def _find(context: Context, wanted: Wanted) -> tuple[Numbers | None, float]:
    """And how many seconds ago they were computed."""
    with context.pool.connection() as connection:
        kept = KeptStore(connection, wanted.team_id, wanted.name).find()
    if kept is None:
        return None, math.inf
    return Numbers(kept.found, iso(kept.as_of), are_old=kept.age_s > FRESH_S), kept.age_s


def _wait(context: Context, wanted: Wanted, until: float) -> Numbers | None:
    """Looks now and then, because another process may be the one that computes."""
    while time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)
        kept, age_s = _find(context, wanted)
        if age_s <= FRESH_S:
            return kept
    return None


class Refresher:
    """Computes in one thread, which runs only while something waits. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Context, Wanted]] = deque()
        self._asked: set[tuple[str, str]] = set()
        self._is_running = False

    def ask(self, context: Context, wanted: Wanted) -> None:
        """Does nothing if they are asked for already, or if too much waits."""
        key = (wanted.team_id, wanted.name)
        with self._lock:
            if key in self._asked or len(self._waiting) >= _MOST_WAITING:
                return
            self._asked.add(key)
            self._waiting.append((context, wanted))
            must_start, self._is_running = not self._is_running, True
        if must_start:
            threading.Thread(target=self._run, name="numbers", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_running = False
                    return
                context, wanted = self._waiting.popleft()
            try:
                refresh(context, wanted)
            except Exception as exc:
                _log.warning("numbers.failed", team=wanted.team_id, name=wanted.name, reason=loggable_reason(exc))
            finally:
                with self._lock:
                    self._asked.discard((wanted.team_id, wanted.name))


REFRESHER = Refresher()
