"""Requests the first pages of several windows side by side."""

import time
from collections.abc import Callable
from typing import TypeVar

from sync.backfill.loop import Loop
from sync.backfill.type_run import params
from sync.backfill.windows import Window
from sync.errors import StripeRejected
from sync.object_types import ObjectType
from sync.stripe.answers import Read
from sync.stripe.pages import Page
from sync.stripe.source import Source

T = TypeVar("T")


class FirstPages:
    """Reads in one loop: first pages and what completes them. `unanswered` of them are in flight."""

    def __init__(self, loop: Loop, source: Source) -> None:
        self.unanswered = 0
        self._loop = loop
        self._source = source

    def ask(
        self,
        object_type: ObjectType,
        window: Window,
        came: Callable[[Page], None],
        refused: Callable[[StripeRejected], None],
    ) -> None:
        """Waits for its turn in the account's budget, then returns. The loop calls `came` or `refused`."""
        time.sleep(self._source.reserve(object_type).wait_s)
        self.read(self._source.page_read(object_type, params(object_type, window)), came, refused)

    def read(self, read: Read[T], came: Callable[[T], None], refused: Callable[[StripeRejected], None]) -> None:
        """Sends a read that already has its token."""
        self.unanswered += 1
        self._loop.read(read, lambda found: self._answered(came, found), lambda error: self._answered(refused, error))

    def _answered(self, tell: Callable[[T], None], found: T) -> None:
        tell(found)
        self.unanswered -= 1
