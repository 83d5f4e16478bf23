"""Works on one part of a backfill, an object type or the finish, as the holder of its lease, and records how it ended."""

from collections.abc import Callable
from typing import Literal

import psycopg
import structlog

from sync.backfill import Tools, TypeRun
from sync.backfills import FINISH, Backfill, BackfillStore, TypeState
from sync.errors import LeaseLost, StripeError
from sync.events import Mirrored
from sync.finish import Finish
from sync.lease import Lease
from sync.object_types import OBJECT_TYPES
from sync.windows import Window

Ended = Literal["not_ours", "yielded", "done"]

log = structlog.get_logger()


class PartRun:
    """One turn on one part. `show` gets a type's state whenever what it says is durable."""

    def __init__(
        self, backfill: Backfill, part: str, mirrored: Mirrored, tools: Tools, show: Callable[[TypeState], None]
    ) -> None:
        self._backfill = backfill
        self._part = part
        self._mirrored = mirrored
        self._tools = tools
        self._show = show

    def run(self) -> Ended:
        """Stripe's errors and our own mistakes end the part and are kept as its error.

        Raises psycopg.OperationalError when Postgres is away: the lease then runs out, and the part goes on later.
        """
        with self._tools.connect() as connection:
            store = BackfillStore(connection)
            fence = store.acquire(self._backfill.id, self._part)
            if fence is None:
                return "not_ours"
            log.info("part.taken", fence=fence)
            lease = Lease(self._backfill.id, self._part, fence, connect=self._tools.connect, show=self._show)
            try:
                with lease:
                    done = self._work(store, lease)
            except LeaseLost as exc:
                log.info("part.lost", reason=exc.message)
                return "not_ours"
            store.give_back(self._backfill.id, self._part, fence, done=done)
            self._show_all(store)
            log.info("part.done" if done else "part.yielded")
            return "done" if done else "yielded"

    def _work(self, store: BackfillStore, lease: Lease) -> bool:
        work = self._finish if self._part == FINISH else self._mirror_type
        try:
            return work(store, lease)
        except (LeaseLost, psycopg.OperationalError):
            raise
        except StripeError as exc:
            log.warning("part.failed", reason=exc.message)
            self._fail(store, lease, _sentence(exc))
        except Exception:
            log.exception("part.broke")
            self._fail(
                store, lease, "BillStack itself failed here; the worker's log says how. Start the backfill again."
            )
        return True

    def _mirror_type(self, store: BackfillStore, lease: Lease) -> bool:
        """False: the turn is over, the type is not."""
        backfill, object_type = self._with_upper(store), OBJECT_TYPES[self._part]
        assert backfill.upper is not None
        with store.connection.transaction():
            store.hold(backfill.id, self._part, lease.fence)
            windows = store.take_windows(backfill.id, object_type.name, lease.fence)
            for variant in range(0 if windows else len(object_type.variants)):
                window = Window(variant + 1, variant, gte=backfill.gte, lt=backfill.upper, floor=backfill.gte)
                store.insert_window(backfill.id, object_type.name, window, lease.fence)
                windows.append(window)
        run = TypeRun(backfill, object_type, windows, lease, self._tools)
        lease.show_progress(run.progress)
        if run.run() == "yielded":
            return False
        store.end_type(backfill.id, object_type.name, lease.fence, status="ready")
        return True

    def _with_upper(self, store: BackfillStore) -> Backfill:
        """The upper end of all windows is fixed once, from Stripe's clock, before the first page is asked for."""
        if self._backfill.upper is None:
            store.fix_upper(self._backfill.id, self._tools.source.account().now)
        backfill = store.get(self._backfill.id)
        assert backfill is not None
        return backfill

    def _finish(self, store: BackfillStore, lease: Lease) -> bool:
        states = store.types(self._backfill.id)
        ready = [OBJECT_TYPES[state.type] for state in states if state.status == "ready"]
        warnings: list[str] = []
        if ready:
            warnings = Finish(self._backfill, ready, self._mirrored, lease, self._tools, store.connection).run()
        failed = [f"{state.type}: {state.error}" for state in states if state.status == "error"]
        store.end(
            self._backfill.id,
            lease.fence,
            state="error" if failed else "ready",
            error=" ".join(failed) or None,
            warnings=warnings,
        )
        return True

    def _fail(self, store: BackfillStore, lease: Lease, sentence: str) -> None:
        if self._part == FINISH:
            store.end(self._backfill.id, lease.fence, state="error", error=sentence, warnings=[])
        else:
            store.end_type(self._backfill.id, self._part, lease.fence, status="error", error=sentence)

    def _show_all(self, store: BackfillStore) -> None:
        for state in store.types(self._backfill.id):
            self._show(state)


def _sentence(exc: StripeError) -> str:
    """What Stripe said, and what to do where it is known."""
    if exc.status == 401:
        return f"Stripe refused the key: {exc.message} Connect the account again with a valid key."
    if exc.status == 403:
        return f"The key lacks a permission: {exc.message} Give the key that permission and start the backfill again."
    return exc.message
