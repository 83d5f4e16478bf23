"""Works on one part of a backfill (an object type or the finish), as the holder of its lease, and records its end."""

import contextlib
from collections.abc import Callable
from typing import Literal

import psycopg
import structlog

from sync.backfill.finish import Finish
from sync.backfill.lease import Lease
from sync.backfill.opening import Opening
from sync.backfill.parent_run import ParentRun
from sync.backfill.part_records import FINISH, OPENING, OPENING_FENCE, PartStore
from sync.backfill.records import Backfill, BackfillStore, TypeState
from sync.backfill.tools import BackfillTools
from sync.backfill.type_run import TypeRun
from sync.backfill.windows import first_window
from sync.database.schema import check_team
from sync.error_text import loggable_reason
from sync.errors import LeaseLost, SchemaError, StripeError, TurnOver
from sync.events.routing import Mirrored
from sync.mirror.store import LOSSES, MirrorStore
from sync.object_types import OBJECT_TYPES, ObjectType

Ended = Literal["not_ours", "yielded", "done", "waits"]

_LACKS_PARENTS = (
    "{} are read {parent} by {parent}, and the mirror does not have every {parent} yet. Start a backfill that names"
    " {parent}, too."
)

log = structlog.get_logger()


def run_of(object_type: ObjectType) -> type[TypeRun] | type[ParentRun]:
    return ParentRun if object_type.parent else TypeRun


class PartRun:
    """One turn on one part. `show` gets a type's state whenever it is durable."""

    def __init__(
        self,
        backfill: Backfill,
        part: str,
        mirrored: Mirrored,
        tools: BackfillTools,
        show: Callable[[TypeState], None],
        connection: psycopg.Connection,
    ) -> None:
        self._backfill = backfill
        self._part = part
        self._mirrored = mirrored
        self._tools = tools
        self._show = show
        self._store = BackfillStore(connection)
        self._parts = PartStore(connection)

    def run(self) -> Ended:
        """Stripe's errors and our own mistakes end the part and are stored as its error.

        Raises one of LOSSES if Postgres is unavailable, full or read-only. The part is free again some seconds later.
        """
        if self._is_outdated():
            return "waits"
        if self._part == OPENING:
            return self._open()
        fence = self._parts.acquire(self._backfill.id, self._part)
        if fence is None:
            return "not_ours"
        log.info("part.taken", fence=fence)
        lease = Lease(self._backfill.id, self._part, fence, connect=self._tools.connect, show=self._show)
        try:
            with lease:
                done = self._work(lease)
        except LeaseLost as exc:
            log.info("part.lost", reason=exc.message)
            self._let_go(fence)  # it is still ours if Postgres has lost a page of it
            return "not_ours"
        except LOSSES:
            self._let_go(fence)
            raise
        self._parts.give_back(self._backfill.id, self._part, fence, done=done)
        self._show_types()
        log.info("part.done" if done else "part.yielded")
        return "done" if done else "yielded"

    def _open(self) -> Ended:
        """Opens all types at once, and reads their first pages."""
        opening = Opening(self._backfill, self._tools.source, self._store.connection, self._tools.is_stopping)
        try:
            if not opening.run():
                return "not_ours"
        except psycopg.OperationalError:
            self._let_go(OPENING_FENCE)
            raise
        self._show_types()
        return "done"

    def _show_types(self) -> None:
        for state in self._store.types(self._backfill.id):
            self._show(state)

    def _let_go(self, fence: int) -> None:
        """Best effort: if Postgres itself is gone, the lease's closed connection says the same."""
        with contextlib.suppress(psycopg.Error), self._tools.connect() as connection:
            PartStore(connection).let_go(self._backfill.id, self._part, fence)

    def _work(self, lease: Lease) -> bool:
        work = self._finish if self._part == FINISH else self._mirror_type
        try:
            return work(lease)
        except (LeaseLost, *LOSSES):
            raise
        except TurnOver:
            return False
        except StripeError as exc:
            log.warning("part.failed", reason=loggable_reason(exc))
            self._fail(lease, _sentence(exc))
        except Exception:
            if self._is_outdated():  # an upgrade changed the tables; a program that fits them continues
                return False
            log.exception("part.broke")
            self._fail(lease, "BillStack itself failed; the worker's log has the cause. Start the backfill again.")
        return True

    def _is_outdated(self) -> bool:
        """Whether the tables have another version than this program, as during a rolling deploy."""
        try:
            check_team(self._store.connection, self._backfill.team_id)
        except SchemaError as exc:
            log.warning("part.waits", reason=exc.message)
            return True
        return False

    def _mirror_type(self, lease: Lease) -> bool:
        """Returns False if the turn is over before the type is done."""
        backfill, object_type = self._with_upper(), OBJECT_TYPES[self._part]
        assert backfill.upper is not None
        if object_type.parent and not self._store.has_parents(backfill, object_type.parent.type):
            self._fail(lease, _LACKS_PARENTS.format(object_type.title, parent=object_type.parent.type))
            return True
        if object_type.parent:  # so that Postgres finds the next parents by their index
            self._analyze([OBJECT_TYPES[object_type.parent.type]])
        with self._store.connection.transaction():
            self._parts.hold(backfill.id, self._part, lease.fence)
            windows = self._store.take_windows(backfill.id, object_type.name, lease.fence)
            for variant in range(0 if windows else len(object_type.variants)):
                window = first_window(object_type, variant, gte=backfill.gte, lt=backfill.upper)
                self._store.insert_window(backfill.id, object_type.name, window, lease.fence)
                windows.append(window)
            if object_type.parent:
                self._store.take_snapshot(backfill.id, object_type.name, windows[0].number)
        run = run_of(object_type)(backfill, object_type, windows, lease, self._tools, self._store)
        lease.show_progress(run.progress)
        if run.run() == "yielded":
            return False
        self._store.end_type(backfill.id, object_type.name, lease.fence, status="ready")
        return True

    def _with_upper(self) -> Backfill:
        """Fixes the upper end of all windows once, on Stripe's clock, before the first page is requested."""
        if self._backfill.upper is None:
            self._store.fix_upper(self._backfill.id, self._tools.source.account().now)
        backfill = self._store.get(self._backfill.id)
        assert backfill is not None
        return backfill

    def _finish(self, lease: Lease) -> bool:
        states = self._store.types(self._backfill.id)
        ready = [OBJECT_TYPES[state.type] for state in states if state.status == "ready"]
        finish = Finish(self._backfill, ready, self._mirrored, lease, self._tools, self._store.connection)
        warnings = finish.run() if ready else []
        failed = [f"{state.type}: {state.error}" for state in states if state.status == "error"]
        self._store.end(
            self._backfill.id,
            lease.fence,
            state="error" if failed else "ready",
            error=" ".join(failed) or None,
            warnings=warnings,
            known_until=finish.known_until,
        )
        self._analyze(ready)
        return True

    def _analyze(self, object_types: list[ObjectType]) -> None:
        """Runs after the backfill's end. Nobody has to wait for it: nearly none of our statements needs it."""
        store = MirrorStore(self._store.connection, self._backfill.team_id)
        for object_type in store.grown(object_types):
            store.analyze(object_type)

    def _fail(self, lease: Lease, sentence: str) -> None:
        if self._part == FINISH:
            self._store.end(self._backfill.id, lease.fence, state="error", error=sentence, warnings=[])
        else:
            self._store.end_type(self._backfill.id, self._part, lease.fence, status="error", error=sentence)


def _sentence(exc: StripeError) -> str:
    """Stripe's sentence, and what to do about it if that is known."""
    if exc.status == 401:
        return f"Stripe refused the key: {exc.sentence} Connect the account again with a valid key."
    if exc.status == 403:
        return f"The key lacks a permission: {exc.sentence} Give the key that permission and start the backfill again."
    return exc.message
