"""Settles doubt about one object by fetching it, whatever else writes its row in the meantime."""

from typing import Literal

import structlog

from sync.bounds import loggable
from sync.error_text import loggable_reason
from sync.errors import StripeUnavailable
from sync.mirror.parents import ParentStore
from sync.mirror.store import REFUSALS, MirrorStore, reason_of
from sync.object_types import ObjectType
from sync.stripe.answers import Answer
from sync.stripe.source import Source

RowOutcome = Literal["written", "equal", "deleted", "absent"]
# Each further round means that something else wrote the row during the fetch. That cannot happen this often.
_ROUNDS = 20

log = structlog.get_logger()


def refresh(
    store: MirrorStore,
    source: Source,
    object_type: ObjectType,
    object_id: str,
    *,
    parent_id: str = "",
    advance: bool = False,
) -> RowOutcome:
    """Updates one row to Stripe's present state. No transaction is open during a request to Stripe.

    The answer replaces the row as it was when the fetch began. A row that changed during the fetch may be newer than
    the answer, so then the object is fetched again. "absent": neither Stripe nor the mirror has it. `advance` is for
    events: an equal row takes the answer's time, so that an earlier event that arrives later counts as older.
    `parent_id` is only needed where there may be no row that names it. Raises StripeUnavailable also if the object
    changed during every fetch: later it may not.
    """
    for _ in range(_ROUNDS):
        version, parent_id = _known(store, object_type, object_id, parent_id)
        answer = source.fetch(object_type, object_id, parent_id)
        outcome = _put(store, object_type, object_id, answer, version, advance=advance)
        if outcome == "deleted":
            _ask_for_children(store, source, object_type, object_id, advance=advance)
        if outcome:
            log.debug("object.refreshed", type=object_type.name, id=loggable(object_id), outcome=outcome)
            return outcome
    raise StripeUnavailable(f"the {object_type.name} changed during each of {_ROUNDS} fetches")


def refresh_or_reject(
    store: MirrorStore, source: Source, object_type: ObjectType, object_id: str, *, parent_id: str = ""
) -> None:
    """`refresh` for a backfill, which one bad object must not stop.

    An object that Postgres refuses goes to the rejects.
    """
    try:
        refresh(store, source, object_type, object_id, parent_id=parent_id)
    except REFUSALS as exc:
        log.warning("object.rejected", type=object_type.name, id=loggable(object_id), reason=loggable_reason(exc))
        store.reject(object_type, object_id, reason_of(exc))


def _ask_for_children(
    store: MirrorStore, source: Source, object_type: ObjectType, object_id: str, *, advance: bool
) -> None:
    """What is listed under a deleted object is deleted too, as far as it is older than the answer.

    What an event brought during the request may be from before the deletion or, if the id is used again, from after it.
    """
    for child, child_id in ParentStore(store.connection, store.team_id).live_children(object_type, object_id):
        refresh(store, source, child, child_id, parent_id=object_id, advance=advance)


def _known(store: MirrorStore, object_type: ObjectType, object_id: str, parent_id: str) -> tuple[str | None, str]:
    if object_type.parent is None:
        return store.version(object_type, object_id), ""
    version, named = ParentStore(store.connection, store.team_id).version_and_parent(object_type, object_id)
    return version, named or parent_id


def _put(
    store: MirrorStore, object_type: ObjectType, object_id: str, answer: Answer, version: str | None, *, advance: bool
) -> RowOutcome | None:
    """None: the row changed during the fetch."""
    if answer.body:
        verdict = store.put_fetched(object_type, object_id, answer, version=version, advance=advance)
        return None if verdict == "changed" else verdict
    if version is None:
        return "absent" if store.version(object_type, object_id) is None else None
    return "deleted" if store.put_deleted(object_type, object_id, answer, version=version) else None
