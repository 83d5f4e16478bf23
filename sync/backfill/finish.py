"""The last part of a backfill. It brings in changes made while the windows were read, so that the mirror is true.

tail      objects created after the windows' fixed upper end, even in a test clock's future
events    changes and deletions since the start, replayed from Stripe through the ledger
prices    named by a subscription or an invoice but left out of Stripe's lists
parents   that are new or have changed: what Stripe lists under them is read again
suspects  mirrored rows that no list contained: each is fetched, and only Stripe's answer makes a tombstone
payouts   which balance transactions each is made of, if the team mirrors both types
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

import psycopg
import structlog

from sync.backfill.first_pages import FirstPages
from sync.backfill.lease import Lease
from sync.backfill.loop import Loop
from sync.backfill.parent_run import ParentRun
from sync.backfill.part_records import PartStore
from sync.backfill.records import Backfill, BackfillStore
from sync.backfill.tools import BackfillTools
from sync.backfill.type_run import TypeRun
from sync.backfill.windows import Window, first_window
from sync.database.borrowing import borrowing
from sync.error_text import loggable_reason
from sync.errors import StripeRejected, TurnOver
from sync.events.applying import apply_batch, record_events
from sync.events.ledger import Ledger
from sync.events.routing import Mirrored
from sync.mirror.parents import ParentStore
from sync.mirror.payouts import PAYOUT, TRANSACTION, PayoutStore, UnreadPayout, read_payout
from sync.mirror.refresh import refresh_or_reject
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES, ObjectType
from sync.stripe.lists import END_OF_CREATED
from sync.stripe.pages import Page
from sync.teams.mirrored_types import MirroredTypes

# Stripe records an event a little after its change.
EVENTS_MARGIN_S = 60
# For events that another worker has just claimed. If that worker dies, they come due again after a minute.
_EVENTS_PATIENCE_S = 90
# Failed events to retry. Each costs a request; more of them mean a problem with Stripe or the key.
_TRIED_AGAIN = 1000
_SUSPECTS_AT_A_TIME = 5000  # each time, all ids that were met are read
_PAYOUTS_AT_A_TIME = 1000
_FETCHERS = 8
_REJECTS_TOLD = 5  # for each type
_FORBIDDEN = 403
_LOOK_UP_EVERY_S = 0.2

log = structlog.get_logger()

Item = TypeVar("Item")


class Finish:
    """The holder of the part `finish` runs it. Every step may be repeated from its beginning."""

    def __init__(
        self,
        backfill: Backfill,
        types: list[ObjectType],
        mirrored: Mirrored,
        lease: Lease,
        tools: BackfillTools,
        connection: psycopg.Connection,
    ) -> None:
        self._backfill = backfill
        self._types = types
        self._mirrored = mirrored
        self._lease = lease
        self._tools = replace(tools, should_yield=lambda: False)  # half a tail would leave a hole in the mirror
        self._connection = connection
        self._store = MirrorStore(connection, backfill.team_id)
        self.known_until = backfill.started  # on Stripe's clock, until `run` has read the events since then

    def run(self) -> list[str]:
        """Returns warnings for the status. Raises the error that ended it: StripeError, LeaseLost, psycopg.Error."""
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
        self._refresh_all(OBJECT_TYPES["price"], self._missing_prices())  # named by objects created since
        for object_type in self._types:
            self._read_changed_parents(object_type)
        for object_type in self._types:
            self._ask_for_suspects(object_type)
        return warnings + self._read_payouts() + self._backwards() + self._rejects()

    def _check(self) -> None:
        """Raises LeaseLost, or TurnOver if the worker must stop. The finish then begins again elsewhere."""
        self._lease.check()
        if self._tools.is_stopping():
            raise TurnOver

    def _grown_types(self) -> list[ObjectType]:
        """The types with objects created after the windows' upper end. Usually none; one request per type tells."""
        grown: set[str] = set()

        def came(object_type: ObjectType, page: Page) -> None:
            if page.heads or page.odd or page.has_more:
                grown.add(object_type.name)

        def refused(object_type: ObjectType, _: StripeRejected) -> None:
            grown.add(object_type.name)  # reading its tail gets the same refusal and reports it

        with Loop(self._tools.source.caller, most_threads=_FETCHERS) as loop:
            pages = FirstPages(loop, self._tools.source)
            for object_type in self._types:
                # A list without `created` has no tail. Events tell what is new, or the whole of it is read again. Of a
                # type that is listed by parent, only changed parents are.
                if not object_type.is_by_time:
                    is_read_again = object_type.is_reread and not object_type.parent
                    grown.update([object_type.name] if is_read_again else [])
                    continue
                for variant in range(len(object_type.variants)):
                    pages.ask(
                        object_type,
                        self._tail(object_type, 1, variant),
                        partial(came, object_type),
                        partial(refused, object_type),
                    )
            while pages.unanswered:
                self._check()
                loop.wait(_LOOK_UP_EVERY_S)
        return [object_type for object_type in self._types if object_type.name in grown]

    def _tail(self, object_type: ObjectType, number: int, variant: int) -> Window:
        assert self._backfill.upper is not None
        start = max(self._backfill.gte, self._backfill.upper)
        return replace(first_window(object_type, variant, gte=start, lt=END_OF_CREATED), number=number)

    def _read_tails(self, object_types: list[ObjectType]) -> None:
        """Side by side, because each is only a request or two."""
        with ThreadPoolExecutor(len(object_types)) as pool:
            list(pool.map(self._read_tail, object_types))

    def _read_tail(self, object_type: ObjectType) -> None:
        """Reads everything created after the windows' upper end, even in a test clock's future."""
        store = BackfillStore(borrowing(self._tools.connect))
        windows = self._add_tails(store, object_type)
        TypeRun(self._backfill, object_type, windows, self._lease, self._tools, store).run()
        store.publish(self._backfill.id, object_type.name, progress=1)

    def _read_changed_parents(self, object_type: ObjectType) -> None:
        """Reads what parents list that were created or changed after the type's part had begun."""
        store = BackfillStore(borrowing(self._tools.connect))
        seen_from = store.snapshot(self._backfill.id, object_type.name) if object_type.parent else None
        parents = ParentStore(store.connection, self._backfill.team_id)
        if seen_from is None or not parents.parents_since(object_type, after="", limit=1, seen_from=seen_from):
            return
        windows = self._add_tails(store, object_type)
        lease, tools = self._lease, self._tools
        ParentRun(self._backfill, object_type, windows, lease, tools, store, seen_from=seen_from).run()
        store.publish(self._backfill.id, object_type.name, progress=1)

    def _add_tails(self, store: BackfillStore, object_type: ObjectType) -> list[Window]:
        """A new window for each variant."""
        backfill, fence = self._backfill, self._lease.fence
        with store.connection.transaction():
            PartStore(store.connection).hold(backfill.id, self._lease.part, fence)
            # Windows of an attempt that died:
            store.close_windows(backfill.id, object_type.name, gte=self._tail(object_type, 0, 0).gte)
            windows = store.take_windows(backfill.id, object_type.name, fence)
            number = max(window.number for window in windows)
            for variant in range(len(object_type.variants)):
                tail = self._tail(object_type, number + 1 + variant, variant)
                store.insert_window(backfill.id, object_type.name, tail, fence)
                windows.append(tail)
        return [window for window in windows if not window.done]

    def _record_events(self) -> list[str]:
        """Records events since the start as the webhook does. An event that was delivered is known already."""
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
            return [f"Changes during the backfill may be missing, because the key may not read events: {exc.message}"]
        self.known_until = until
        return []

    def _apply_events(self) -> list[str]:
        """Gives failed events one more attempt and waits no longer for them: the status reports them."""
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
                    return [f"{pending} events could not be applied yet. BillStack retries them by itself."]
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
        self._share(ids, partial(self._refresh_share, object_type))

    def _refresh_share(self, object_type: ObjectType, store: MirrorStore, ids: Sequence[str]) -> None:
        for object_id in ids:
            self._check()
            refresh_or_reject(store, self._tools.source, object_type, object_id)

    def _read_payouts(self) -> list[str]:
        """Those that Stripe knows by now. The others follow when they are reconciled (sync/events/reread.py)."""
        if not (PAYOUT in self._types or TRANSACTION in self._types):
            return []
        if not {PAYOUT.name, TRANSACTION.name} <= set(MirroredTypes(self._connection, self._backfill.team_id).names()):
            return []
        contents, asked = PayoutStore(self._store), set[UnreadPayout]()
        try:
            while unread := [each for each in contents.unread(limit=_PAYOUTS_AT_A_TIME) if each not in asked]:
                asked.update(unread)
                self._share(unread, self._read_share)
        except StripeRejected as exc:
            if exc.status != _FORBIDDEN:
                raise
            return [f"What payouts are made of is not known, because the key may not read it: {exc.message}"]
        return []

    def _read_share(self, store: MirrorStore, payouts: Sequence[UnreadPayout]) -> None:
        for payout in payouts:
            self._check()
            read_payout(store, self._tools.source, payout)

    def _share(self, items: Sequence[Item], work: Callable[[MirrorStore, Sequence[Item]], None]) -> None:
        """Lets several threads work on them, each with a store of its own."""
        shares = [share for at in range(_FETCHERS) if (share := items[at::_FETCHERS])]
        if shares:
            with ThreadPoolExecutor(len(shares)) as pool:
                list(pool.map(lambda share: work(self._own_store(), share), shares))

    def _own_store(self) -> MirrorStore:
        return MirrorStore(borrowing(self._tools.connect), self._backfill.team_id)

    def _backwards(self) -> list[str]:
        """Their windows were not split, so the counts are right; the rest relies on what only Stripe promises."""
        return [
            f"The list of {OBJECT_TYPES[name].title.lower()} is not newest first, as Stripe's are: is STRIPE_API_BASE"
            " the address of Stripe?"
            for name in BackfillStore(self._connection).backwards_types(self._backfill.id)
        ]

    def _rejects(self) -> list[str]:
        """One sentence per type, with its newest rejected objects as examples."""
        rejected: dict[str, list[str]] = {}
        for name, object_id, reason, count in self._store.rejects([object_type.name for object_type in self._types]):
            told = rejected.setdefault(name, [f"{count} {name} object{'s' if count > 1 else ''} could not be stored"])
            if len(told) <= _REJECTS_TOLD:
                told.append(f"{object_id} ({reason})")
        return [f"{told[0]}: {', '.join(told[1:])}." for told in rejected.values()]
