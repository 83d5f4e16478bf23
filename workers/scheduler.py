"""Every few seconds, enqueues work that no worker holds or that has come due. Several schedulers may run.

parts    of backfills whose holder died or whose job Redis lost
events   left in the ledger, and those that Stripe did not deliver
mirrors  due for their daily comparison with Stripe
ledger   deletes events too old to come again, and activity that no chart shows any more
counts   adds recent changes to the mirrors' row counts
workers  removes dead workers from RQ's records

Alerts are looked for and sent by a thread of their own (workers/alerts/sending.py).
"""

import itertools
import signal
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

import psycopg
import redis
import structlog

from sync.database import row_counts
from sync.database.leftovers import prune_leftovers
from sync.database.upgrade import upgrade_late_teams
from sync.errors import SchemaError
from sync.events.ledger import prune
from sync.teams.activity import prune_activity
from workers.alerts import sending
from workers.context import Context
from workers.jobs.reconcile import start_due_reconciles
from workers.queues import enqueue_due, enqueue_reconciles, enqueue_sweeps, wake_waiting
from workers.registry import Cleaner

# A dead worker's part must be taken over within ten seconds. This wait is part of them.
EVERY_S = 1.0
# Less urgent work is looked for at every third look.
_ALL_WITH_EVERY = 3
# At a time, so that no statement takes long. A busy ledger can shrink by more than a thousand events a second.
_PRUNED_AT_A_TIME = 5000
# The chart shows 30 days; the first one must be whole.
_ACTIVITY_KEPT = timedelta(days=32)

_Step = Callable[[Context], int]

log = structlog.get_logger()


def run(context: Context) -> None:
    """Runs until SIGTERM or SIGINT."""
    stopped = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopped.set())
    threading.Thread(target=sending.run, args=(context, stopped), name="alerts", daemon=True).start()
    log.info("scheduler.started")
    looks = itertools.count()
    while not stopped.wait(EVERY_S):
        run_once(context, _STEPS if next(looks) % _ALL_WITH_EVERY == 0 else _URGENT)


def run_once(context: Context, steps: Mapping[str, _Step] | None = None) -> dict[str, int]:
    """Returns how much each step found to do. A step that fails does not stop the others."""
    return {name: _take(name, step, context) for name, step in (steps or _STEPS).items()}


def _take(name: str, step: _Step, context: Context) -> int:
    try:
        return step(context)
    except (psycopg.Error, redis.RedisError, SchemaError) as exc:
        log.warning("scheduler.waits", step=name, reason=str(exc))
        return 0


def _upgrade_late_teams(context: Context) -> int:
    with context.pool.connection() as connection:
        return upgrade_late_teams(connection)


def _prune(context: Context) -> int:
    with context.pool.connection() as connection:
        prune_activity(connection, _ACTIVITY_KEPT)
        prune_leftovers(connection)
        return prune(connection, _PRUNED_AT_A_TIME)


def _fold_counts(context: Context) -> int:
    with context.pool.connection() as connection:
        return row_counts.fold(connection)


_URGENT: dict[str, _Step] = {"parts": enqueue_due, "waiting": wake_waiting}
_STEPS: dict[str, _Step] = {
    **_URGENT,
    "sweeps": enqueue_sweeps,
    "due": start_due_reconciles,
    "reconciles": enqueue_reconciles,
    "pruned": _prune,
    "upgraded": _upgrade_late_teams,
    "counted": _fold_counts,
    "workers": Cleaner().clean,
}
