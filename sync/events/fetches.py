"""Fetches the objects that a batch's events leave in doubt or name, side by side, and settles the events."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import psycopg
import structlog

from sync.bounds import loggable
from sync.database.borrowing import Connect, borrowing
from sync.error_text import loggable_reason
from sync.errors import StripeError, StripeRejected
from sync.events.ledger import Ended, Ledger
from sync.mirror.refresh import refresh
from sync.mirror.store import REFUSALS, MirrorStore, is_lost, reason_of
from sync.object_types import OBJECT_TYPES
from sync.stripe.source import Source

Key = tuple[str, str]  # an object's type and id
Fetched = tuple[Literal["fetched", "failed"], list[Ended]]

# Fetches of one batch at the same time. The budget slows them down if necessary.
FETCHERS = 8
UNAUTHORIZED = 401
_FORBIDDEN = 403

log = structlog.get_logger()


class EventFetches:
    """`doubtful`: event ids by the object that they wait for. An event may wait for several.

    `tried` events failed before. `refused` is Stripe's last refusal of the key: with it, nothing is fetched. `connect`
    opens further connections in autocommit mode; with it, objects are fetched side by side.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        team_id: str,
        source: Source,
        doubtful: Mapping[Key, Sequence[str]],
        *,
        tried: frozenset[str],
        connect: Connect | None,
        refused: StripeRejected | None = None,
    ) -> None:
        self._connection = connection
        self._team_id = team_id
        self._source = source
        self._fail_fast = source.fail_fast()
        self._doubtful = doubtful
        self._tried = tried
        self._connect = connect
        self._key_refused = refused
        self._refused: dict[str, StripeRejected] = {}
        self._lock = threading.Lock()
        self._open = Counter(event_id for ids in doubtful.values() for event_id in ids)
        self._failed: set[str] = set()

    def run(self) -> list[Fetched]:
        """No transaction is open during a request to Stripe. Raises only if Postgres is unavailable."""
        keys = list(self._doubtful)
        if self._connect is None or len(keys) < 2:
            return [self._fetch(self._connection, key) for key in keys]
        shares = [keys[share::FETCHERS] for share in range(min(FETCHERS, len(keys)))]
        with ThreadPoolExecutor(len(shares)) as pool:
            return [fetched for found in pool.map(self._fetch_share, shares) for fetched in found]

    def _fetch_share(self, share: list[Key]) -> list[Fetched]:
        assert self._connect is not None
        connection = borrowing(self._connect)
        return [self._fetch(connection, key) for key in share]

    def _fetch(self, connection: psycopg.Connection, key: Key) -> Fetched:
        ids, ledger = self._doubtful[key], Ledger(connection, self._team_id)
        try:
            self._refresh(MirrorStore(connection, self._team_id), key)
        except Exception as exc:
            if is_lost(exc):
                raise
            if isinstance(exc, StripeRejected):
                self._remember(exc, key[0])
            log.warning("event.failed", ids=[loggable(each) for each in ids], reason=loggable_reason(exc))
            return "failed", ledger.postpone(self._newly_failed(ids), _reason(exc))
        return "fetched", ledger.settle(self._done(ids), "applied")

    def _refresh(self, store: MirrorStore, key: Key) -> None:
        type_name, object_id = key
        if self._key_refused:
            raise self._key_refused
        if type_name in self._refused:
            raise self._refused[type_name]
        # An event that failed before must not delay the others for long.
        source = self._fail_fast if self._tried.issuperset(self._doubtful[key]) else self._source
        refresh(store, source, OBJECT_TYPES[type_name], object_id, advance=True)

    def _remember(self, exc: StripeRejected, type_name: str) -> None:
        """Remembers a refusal that applies to every object, or to every object of one type."""
        if exc.status == UNAUTHORIZED:
            self._key_refused = exc
        elif exc.status == _FORBIDDEN:
            self._refused[type_name] = exc

    def _done(self, ids: Sequence[str]) -> list[str]:
        """The events that wait for nothing more."""
        with self._lock:
            self._open.subtract(ids)
            return [event_id for event_id in ids if not self._open[event_id] and event_id not in self._failed]

    def _newly_failed(self, ids: Sequence[str]) -> list[str]:
        with self._lock:
            newly = [event_id for event_id in ids if event_id not in self._failed]
            self._failed.update(newly)
            return newly


def _reason(exc: Exception) -> str:
    """For the team: Stripe's sentence, Postgres' sentence, or that the fault is ours."""
    if isinstance(exc, StripeError):
        return exc.message
    return reason_of(exc) if isinstance(exc, REFUSALS) else "BillStack itself failed to apply this event."
