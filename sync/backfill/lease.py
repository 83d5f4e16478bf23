"""The right to work on one part of a backfill.

It is renewed twice a second, and lost once another worker takes over.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

import psycopg
import structlog

from sync.backfill.part_records import PartStore
from sync.backfill.records import BackfillStore, TypeState
from sync.errors import LeaseLost

RENEW_EVERY_S = 0.5

log = structlog.get_logger()


class Lease:
    """As a context manager, renews itself in a thread.

    Each renewal is a synchronous commit: when it returns, every page committed before it is durable. Only then does
    `show` get the counts that the renewal read.
    """

    def __init__(
        self,
        backfill_id: str,
        part: str,
        fence: int,
        *,
        connect: Callable[[], AbstractContextManager[psycopg.Connection]],
        show: Callable[[TypeState], None],
    ) -> None:
        self.part = part
        self.fence = fence
        self._backfill_id = backfill_id
        self._connect = connect
        self._show = show
        self._progress: Callable[[], float] | None = None
        self._error: Exception | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def show_progress(self, progress: Callable[[], float]) -> None:
        """From now on, renewals publish the type's count with this share of its work."""
        self._progress = progress

    def check(self) -> None:
        """Raises LeaseLost, or the database's error, once a renewal has failed."""
        if self._error:
            raise self._error

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join()

    def _keep(self) -> None:
        try:
            # Most parts of small accounts are over by then and need no connection for it.
            if self._stopped.wait(RENEW_EVERY_S):
                return
            with self._connect() as connection:
                self._renew(connection)
                while not self._stopped.wait(RENEW_EVERY_S):
                    self._renew(connection)
        except Exception as exc:
            log.warning("lease.lost" if isinstance(exc, LeaseLost) else "lease.not_renewed", reason=str(exc))
            self._error = exc

    def _renew(self, connection: psycopg.Connection) -> None:
        state = None
        with connection.transaction():
            PartStore(connection).renew(self._backfill_id, self.part, self.fence)
            if self._progress:
                state = BackfillStore(connection).publish(self._backfill_id, self.part, self._progress())
        if state:
            self._show(state)
