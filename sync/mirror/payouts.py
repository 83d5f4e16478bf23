"""Which balance transactions each payout is made of.

Stripe's objects do not say so. Only its list of balance transactions does, with the parameter `payout`, and only for an
automatic payout. Once the payout is reconciled, the list is complete
(https://docs.stripe.com/payouts/reconciliation). So it is read once for each payout, and again only if the payout itself
has changed since. The list contains the payout's own transaction, which takes out what the others brought in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import structlog
from psycopg import errors

from sync.bounds import loggable
from sync.error_text import loggable_reason
from sync.errors import CursorLost, StripeRejected
from sync.json_text import AsJsonb
from sync.mirror.listed import mirror_listed
from sync.mirror.page_writer import reject_all
from sync.mirror.store import REFUSALS, MirrorStore
from sync.object_types import OBJECT_TYPES
from sync.sql import BoundQueries, Queries
from sync.stripe.pages import Page
from sync.stripe.source import Source

PAYOUT, TRANSACTION = OBJECT_TYPES["payout"], OBJECT_TYPES["balance_transaction"]
# A refusal with one of these is about the payout, not about the key.
_ABOUT_THE_PAYOUT = (400, 404)

_QUERIES = Queries(Path(__file__).with_name("payouts.sql"))

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class UnreadPayout:
    """`as_of` is its row's `as_of_until`: another one means that the payout has changed."""

    id: str
    as_of: int


class PayoutStore:
    """On one connection, which must be in autocommit mode. The team must mirror both types."""

    def __init__(self, store: MirrorStore) -> None:
        self._connection = store.connection
        self._queries = _bound(store.schema)

    def unread(self, *, limit: int) -> list[UnreadPayout]:
        """The newest first. None if an older program has made the tables: the next init-db completes them."""
        try:
            return [UnreadPayout(*row) for row in self._run("unread", limit=limit).fetchall()]
        except errors.UndefinedTable:
            return []

    def unequal(self, page: Page) -> list[str]:
        """Ids of the page's objects that the mirror lacks or has otherwise."""
        try:
            return [object_id for (object_id,) in self._run("unequal", page=AsJsonb(page.answer.body)).fetchall()]
        except REFUSALS:
            # If Postgres cannot store one object, it cannot read the whole page.
            return [head.id for head in page.heads]

    def put_contents(self, payout: UnreadPayout, transactions: Sequence[str], *, refusal: str | None = None) -> bool:
        """Returns False if the payout has changed since: its list must be read again."""
        with self._connection.transaction():
            is_same = self._run("lock_payout", payout=payout.id, as_of=payout.as_of).fetchone() is not None
            if is_same:
                values = {"payout": payout.id, "as_of": payout.as_of, "transactions": list(transactions)}
                self._run("put_contents", refusal=refusal, **values)
        return is_same

    def _run(self, name: str, **params: Any) -> psycopg.Cursor[Any]:
        return self._connection.execute(self._queries[name], params)


def read_payout(store: MirrorStore, source: Source, payout: UnreadPayout) -> int:
    """Reads what it is made of. Returns how many balance transactions it wrote. Raises StripeError."""
    contents, written, ids = PayoutStore(store), 0, dict[str, None]()
    try:
        for page in _pages(source, payout.id):
            reject_all(store, TRANSACTION, page.odd)
            written += mirror_listed(store, source, TRANSACTION, page, only=set(contents.unequal(page)))
            ids |= dict.fromkeys([*(head.id for head in page.heads), *(odd.id for odd in page.odd)])
    except CursorLost:
        return written  # Stripe deletes no balance transaction; the list is read again later
    except StripeRejected as exc:
        if exc.status not in _ABOUT_THE_PAYOUT:
            raise
        log.warning("payout.not_told", id=loggable(payout.id), reason=loggable_reason(exc))
        contents.put_contents(payout, [], refusal=exc.message)
        return written
    contents.put_contents(payout, list(ids))
    return written


def _pages(source: Source, payout_id: str) -> Iterator[Page]:
    params: dict[str, str | int] = {"payout": payout_id}
    while True:
        page = source.page(TRANSACTION, params)
        yield page
        if not page.has_more or page.cursor is None:
            return
        params["starting_after"] = page.cursor


@cache
def _bound(schema: str) -> BoundQueries:
    return _QUERIES.bind(team=schema)
