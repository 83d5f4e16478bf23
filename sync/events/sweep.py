"""Reads from /v1/events what Stripe did not deliver, so that an outage of the webhook heals by itself.

Every second of Stripe's clock is read once it is over, whether or not later events were delivered; what is in the ledger
already costs one look-up. So it also keeps a mirror whose account has no webhook at all, a few minutes behind.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sync.errors import StripeRejected
from sync.event_types import LISTENED_TYPES
from sync.events.applying import record_events
from sync.events.ledger import Ledger
from sync.stripe.source import Source
from sync.teams.connections import Connections

# Stripe lists an event a little after its second.
OVERLAP_S = 600
# `now` is rounded down, and what has just happened is welcome too.
LEAD_S = 10
# As long as Stripe keeps events, less an hour for those that leave the list while it is read.
REACH_S = 30 * 86_400 - 3600
# Read and remembered at a time, so that a sweep after a long outage may stop in between.
SLICE_S = 6 * 3600
TYPES_AT_A_TIME = 20  # the most that Stripe takes of `types[]`
_GROUPS = [LISTENED_TYPES[at : at + TYPES_AT_A_TIME] for at in range(0, len(LISTENED_TYPES), TYPES_AT_A_TIME)]
_LISTENED = frozenset(LISTENED_TYPES)


@dataclass(frozen=True, slots=True)
class Swept:
    """How many events were new, and whether all was read."""

    new: int
    complete: bool


def sweep(ledger: Ledger, connections: Connections, source: Source, *, is_over: Callable[[], bool]) -> Swept:
    """Records the events since the last sweep; stops after a slice once `is_over`. Raises StripeError.

    A key that may not read events is remembered for the status, and so are events that Stripe had forgotten by now.
    """
    team_id, new = ledger.team_id, 0
    swept_until = connections.swept_until(team_id)
    if swept_until is None:
        return Swept(0, complete=True)
    try:
        now = source.account().now
        if swept_until < now - REACH_S:
            connections.set_unread(team_id, now - REACH_S)
        start = max(swept_until - OVERLAP_S, now - REACH_S)
        while start < now:
            end = min(start + SLICE_S, now)
            new += record_between(ledger, source, gte=start, lte=end + LEAD_S)
            connections.set_swept(team_id, end)
            start = end
            if is_over():
                break
    except StripeRejected as exc:
        connections.set_sweep_error(team_id, f"Events that were not delivered stay unknown: {exc.message}")
        raise
    return Swept(new, complete=start >= now)


def record_between(ledger: Ledger, source: Source, *, gte: int, lte: int) -> int:
    """All events of our types from and to these seconds; returns how many were new.

    Most accounts have few others, and one list of all events costs less than a list for each twenty types.
    """
    new = 0
    for number, page in enumerate(source.events(gte=gte, lte=lte), start=1):
        new += record_events(ledger, page.bodies, types=_LISTENED)
        if number == len(_GROUPS):
            break
    else:
        return new
    pages = (page for group in _GROUPS for page in source.events(gte=gte, lte=lte, types=group))
    return new + sum(record_events(ledger, page.bodies) for page in pages)
