"""The last part of a backfill: after it the mirror is true, also of what changed while the windows were read.

tail      what was created after the windows' fixed upper end, also in a test clock's future
events    what changed or was deleted since the start, replayed from Stripe through the ledger
prices    named by a subscription or an invoice, and left out by Stripe's lists
suspects  mirrored rows that no list gave: each is asked for, and only Stripe's word makes a tombstone
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import psycopg
import structlog

from sync.backfill.first_pages import FirstPages
from sync.backfill.lease import Lease
from sync.backfill.loop import Loop
from sync.backfill.records import Backfill, BackfillStore
from sync.backfill.tools import Tools
from sync.backfill.type_run import TypeRun
from sync.backfill.windows import Window
from sync.database.borrowing import borrowing
from sync.error_text import loggable_reason
from sync.errors import StripeRejected, TurnOver
from sync.events.applying import apply_batch, record_events
from sync.events.ledger import Ledger
from sync.events.routing import Mirrored
from sync.mirror.refresh import refresh_or_reject
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES, ObjectType
from sync.stripe.lists import END_OF_CREATED
from sync.stripe.pages import Page

# Stripe records an event a little after what it tells of.
EVENTS_MARGIN_S = 60
# Events that another worker took just before us; one that dies on them gives them back after a minute.
_EVENTS_PATIENCE_S = 90
# Of events that failed earlier; each costs a request, and more of them mean that Stripe or the key is not well.
_TRIED_AGAIN = 1000
_SUSPECTS_AT_A_TIME = 5000  # each time all ids that were met are read
_FETCHERS = 8
_REJECTS_TOLD = 5  # of each type
_FORBIDDEN = 403
_LOOK_UP_EVERY_S = 0.2

log = structlog.get_logger()


class Finish:
    """Run by the holder of the part `finish`. Every step may be run again from its beginning."""

    def __init__(
        self,
        backfill: Backfill,
        types: list[ObjectType],
        mirrored: Mirrored,
        lease: Lease,
        tools: Tools,
        connection: psycopg.Connection,
    ) -> None:
        self._backfill = backfill
        self._types = types
        self._mirrored = mirrored
        self._lease = lease
        self._tools = replace(tools, should_yield=lambda: False)  # a tail half read would be a hole in the mirror
        self._connection = connection
        self._store = MirrorStore(connection, backfill.team_id)
        self.known_until = backfill.started  # on Stripe's clock; until `run` has read the events since then

    def run(self) -> list[str]:
        """Returns warnings: sentences for the status. Raises what ended it: StripeError, LeaseLost, psycopg.Error."""
        with ThreadPoolExecutor(2) as beside:
            prices = beside.submit(self._refresh_all, OBJECT_TYPES["price"], self._missing_prices())
            events = beside.submit(self._record_events)
            grown = self._grown_types()
            warnings = events.result()
            if grown:
                self._read_tails(grown)
                warnings = self._record_events()
            prices.result()
        if not warnings:
            warnings = self._apply_events()
        self._refresh_all(OBJECT_TYPES["price"], self._missing_prices())  # named by what came since
        for object_type in self._types:
            self._ask_for_suspects(object_type)
        return warnings + self._rejects()

    def _check(self) -> None:
        """Raises LeaseLost, or TurnOver where the worker is to stop: the finish begins again elsewhere."""
        self._lease.check()
        if self._tools.is_stopping():
            raise TurnOver

    def _grown_types(self) -> list[ObjectType]:
        """Those of which something was created after the windows' upper end; mostly none, and a request each says so."""
        grown: set[str] = set()

        def came(object_type: ObjectType, page: Page) -> None:
            if page.heads or page.odd or page.has_more:
                grown.add(object_type.name)

        def refused(object_type: ObjectType, _: StripeRejected) -> None:
            grown.add(object_type.name)  # whoever reads its tail hears the same, and says so

        with Loop(self._tools.source.caller, most_threads=_FETCHERS) as loop:
            pages = FirstPages(loop, self._tools.source)
            for object_type in self._types:
                for variant in range(len(object_type.variants)):
                    pages.ask(
                        object_type, self._tail(1, variant), partial(came, object_type), partial(refused, object_type)
                    )
            while pages.unanswered:
                self._check()
                loop.wait(_LOOK_UP_EVERY_S)
        return [object_type for object_type in self._types if object_type.name in grown]

    def _tail(self, number: int, variant: int) -> Window:
        assert self._backfill.upper is not None
        start = max(self._backfill.gte, self._backfill.upper)
        return Window(number, variant, gte=start, lt=END_OF_CREATED, floor=start)

    def _read_tails(self, object_types: list[ObjectType]) -> None:
        """Side by side, for each is only a request or two."""
        with ThreadPoolExecutor(len(object_types)) as pool:
            list(pool.map(self._read_tail, object_types))

    def _read_tail(self, object_type: ObjectType) -> None:
        """All that was created after the windows' upper end, also in a test clock's future."""
        backfill, fence = self._backfill, self._lease.fence
        connection = borrowing(self._tools.connect)
        store = BackfillStore(connection)
        with connection.transaction():
            store.hold(backfill.id, self._lease.part, fence)
            # Of an attempt that died:
            store.close_windows(backfill.id, object_type.name, gte=self._tail(0, 0).gte)
            windows = store.take_windows(backfill.id, object_type.name, fence)
            number = max(window.number for window in windows)
            for variant in range(len(object_type.variants)):
                tail = self._tail(number + 1 + variant, variant)
                store.insert_window(backfill.id, object_type.name, tail, fence)
                windows.append(tail)
        open_windows = [window for window in windows if not window.done]
        TypeRun(backfill, object_type, open_windows, self._lease, self._tools, store).run()
        store.publish(backfill.id, object_type.name, progress=1)

    def _record_events(self) -> list[str]:
        """What happened since the start goes the webhook's way: an event that arrived by itself is known already."""
        assert self._backfill.started is not None
        ledger = self._ledger()
        until: int | None = None
        try:
            for page in self._tools.source.events(gte=self._backfill.started - EVENTS_MARGIN_S):
                self._lease.check()
                until = page.as_of if until is None else until
                record_events(ledger, page.bodies)
        except StripeRejected as exc:
            if exc.status != _FORBIDDEN:
                raise
            log.warning("events.not_readable", reason=loggable_reason(exc))
            return [f"Changes made during the backfill may be missing, for the key may not read events: {exc.message}"]
        self.known_until = until
        return []

    def _apply_events(self) -> list[str]:
        """What failed earlier has one more attempt, and is no longer waited for than that: the status tells of it."""
        ledger, until = self._ledger(), self.known_until
        assert until is not None
        ledger.try_again(until, limit=_TRIED_AGAIN)
        give_up_at = time.monotonic() + _EVENTS_PATIENCE_S
        while pending := ledger.pending(until):
            self._check()
            tools = self._tools
            if not apply_batch(
                self._connection, self._backfill.team_id, tools.source, self._mirrored, connect=tools.connect
            ):
                if time.monotonic() > give_up_at:
                    return [f"{pending} events could not be applied yet; they are tried again by themselves."]
                time.sleep(0.5)
        return []

    def _ledger(self) -> Ledger:
        return Ledger(self._connection, self._backfill.team_id)

    def _missing_prices(self) -> list[str]:
        return self._store.missing_prices() if OBJECT_TYPES["price"] in self._types else []

    def _ask_for_suspects(self, object_type: ObjectType) -> None:
        after = ""
        while suspects := self._store.suspects(
            object_type, gte=self._backfill.gte, lt=END_OF_CREATED, after=after, limit=_SUSPECTS_AT_A_TIME
        ):
            self._refresh_all(object_type, suspects)
            after = suspects[-1]

    def _refresh_all(self, object_type: ObjectType, ids: list[str]) -> None:
        if ids:
            with ThreadPoolExecutor(_FETCHERS) as pool:
                shares = [ids[share::_FETCHERS] for share in range(_FETCHERS)]
                list(pool.map(lambda share: self._refresh_share(object_type, share), shares))

    def _refresh_share(self, object_type: ObjectType, ids: list[str]) -> None:
        if ids:
            store = MirrorStore(borrowing(self._tools.connect), self._backfill.team_id)
            for object_id in ids:
                self._check()
                refresh_or_reject(store, self._tools.source, object_type, object_id)

    def _rejects(self) -> list[str]:
        """One sentence a type, with its newest rejected objects as examples."""
        rejected: dict[str, list[str]] = {}
        for name, object_id, reason, count in self._store.rejects([object_type.name for object_type in self._types]):
            told = rejected.setdefault(name, [f"{count} {name} object{'s' if count > 1 else ''} could not be stored"])
            if len(told) <= _REJECTS_TOLD:
                told.append(f"{object_id} ({reason})")
        return [f"{told[0]}: {', '.join(told[1:])}." for told in rejected.values()]
