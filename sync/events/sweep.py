"""Reads undelivered events from /v1/events, so that the mirror recovers from a webhook outage by itself.

It reads every second of Stripe's clock once that second is over, whether or not later events were delivered. An event
that is already in the ledger costs one look-up. So a mirror without any webhook also stays only a few minutes behind.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sync.errors import StripeRejected
from sync.event_types import listened_types
from sync.events.applying import record_events
from sync.events.ledger import Ledger
from sync.stripe.source import Source
from sync.teams.connections import Connections
from sync.teams.mirrored_types import MirroredTypes

# Stripe lists an event a little after its second.
OVERLAP_S = 600
# `now` is rounded down, and events that just happened are welcome too.
LEAD_S = 10
# As long as Stripe keeps events, minus an hour for events that leave the list while it is being read.
REACH_S = 30 * 86_400 - 3600
# Read and recorded at a time, so that a sweep after a long outage can stop in between.
SLICE_S = 6 * 3600
TYPES_AT_A_TIME = 20  # Stripe's limit for `types[]`


@dataclass(frozen=True, slots=True)
class Swept:
    """How many events were new, and whether everything was read."""

    new: int
    complete: bool


def sweep(ledger: Ledger, connections: Connections, source: Source, *, is_over: Callable[[], bool]) -> Swept:
    """Records the events since the last sweep. Stops after a slice once `is_over`. Raises StripeError.

    If the key may not read events, or if Stripe has already forgotten some, the status will say so.
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
        connections.set_sweep_error(team_id, f"BillStack cannot read undelivered events: {exc.message}")
        raise
    return Swept(new, complete=start >= now)


def record_between(ledger: Ledger, source: Source, *, gte: int, lte: int) -> int:
    """Records all events of our types between these seconds, inclusive. Returns how many were new.

    Most accounts have few other events, so one list of all events costs less than a list for each twenty types.
    """
    new = 0
    listened = listened_types(MirroredTypes(ledger.connection, ledger.team_id).names())
    groups = [listened[at : at + TYPES_AT_A_TIME] for at in range(0, len(listened), TYPES_AT_A_TIME)]
    for number, page in enumerate(source.events(gte=gte, lte=lte), start=1):
        new += record_events(ledger, page.bodies, types=frozenset(listened))
        if number == len(groups):
            break
    else:
        return new
    pages = (page for group in groups for page in source.events(gte=gte, lte=lte, types=group))
    return new + sum(record_events(ledger, page.bodies) for page in pages)
