"""Comparisons of mirrors with Stripe.

The API, the command line or the schedule starts them; workers run them in turns.
"""

import time
from collections.abc import Callable, Sequence

import psycopg
import redis
import structlog

from sync.database.schema import check_team
from sync.error_text import loggable_reason
from sync.errors import Conflict, LeaseLost, SchemaError, StripeError, StripeRejected
from sync.events.applying import apply_batch
from sync.events.ledger import Ledger
from sync.events.sweep import sweep
from sync.reconcile.records import ReconcileStore, Work
from sync.reconcile.run import ReconcileRun, ReconcileTools
from sync.stripe.source import Source
from sync.teams.connections import Connection, Connections
from workers.context import Context
from workers.jobs import backfill as jobs
from workers.queues import enqueue_reconciles
from workers.stripe_account import open_source

# Time for another worker to apply events that it has just claimed.
_CATCH_UP_S = 10.0

log = structlog.get_logger()


def start_reconcile(context: Context, team_id: str, request_id: str | None) -> tuple[str, bool]:
    """Returns the id of a new comparison, or of the running one, and whether it ran already.

    Raises Conflict `not_connected` or `backfill_in_progress`.
    """
    with context.pool.connection() as connection, connection.transaction():
        connections = Connections(connection, context.box)
        connections.lock(team_id)
        connections.connected(team_id)
        started = ReconcileStore(connection).start(team_id, request_id=request_id)
    try:
        enqueue_reconciles(context)
    except redis.RedisError as exc:
        # It is recorded, so the scheduler enqueues it as soon as Redis is back.
        log.warning("reconcile.not_enqueued", reconcile=started[0], reason=str(exc))
    return started


def start_due_reconciles(context: Context) -> int:
    """Starts one for each team whose last comparison or backfill is a day old."""
    with context.pool.connection() as connection:
        store = ReconcileStore(connection)
        due = store.due_teams()
        for team_id in due:
            try:
                store.start(team_id, request_id=None)
            except Conflict:
                log.info("reconcile.not_started", team=team_id)
    return len(due)


def work_on_reconcile(reconcile_id: str) -> str:
    """The job: runs one turn and returns how it ended, for rq-dashboard."""
    with jobs.job_context(reconcile=reconcile_id) as context:
        # People wait for backfills, nobody for a comparison: it continues only while no backfill waits for a worker.
        turn = jobs.turn(context, while_others_wait_s=0.0)
        ended = take_turn(context, reconcile_id, turn.is_over)
        if ended != "waits":  # else the scheduler enqueues it again, and not at once
            enqueue_reconciles(context)
        return ended


def take_turn(context: Context, reconcile_id: str, should_yield: Callable[[], bool]) -> str:
    """Works until the comparison is over or `should_yield`. Returns "not_ours" if another worker holds it.

    Returns "waits" if the team's tables have another version than this program.
    """
    with jobs.connect(context) as connection:
        store = ReconcileStore(connection)
        work = store.acquire(reconcile_id)
        if work is None:
            return "not_ours"
        try:
            return _work(context, connection, work, should_yield)
        except LeaseLost as exc:
            log.info("reconcile.lost", reason=exc.message)
            return "not_ours"
        except Exception:
            if not _is_outdated(connection, work.team_id):
                raise
            store.give_back(work)
            return "waits"


def _is_outdated(connection: psycopg.Connection, team_id: str) -> bool:
    try:
        check_team(connection, team_id)
    except SchemaError as exc:
        log.warning("reconcile.waits", reason=exc.message)
        return True
    return False


def _work(context: Context, connection: psycopg.Connection, work: Work, should_yield: Callable[[], bool]) -> str:
    store = ReconcileStore(connection)
    check_team(connection, work.team_id)
    connected = Connections(connection, context.box).get(work.team_id)
    if connected is None or connected.secret_key is None:
        store.end(work, "canceled", "the team was disconnected")
        return "canceled"
    source = open_source(context, connected)
    events = _Events(context, connection, connected, source)
    try:
        ended = ReconcileRun(
            connection, work, ReconcileTools(source, events.catch_up, events.changed_since, should_yield)
        ).run()
    except StripeError as exc:
        log.warning("reconcile.failed", reason=loggable_reason(exc))
        store.end(work, "error", exc.message)
        return "error"
    if ended == "yielded":
        store.give_back(work)
    else:
        store.end(work, ended, "a backfill began, which repairs as much" if ended == "canceled" else None)
    log.info("reconcile.turn_over", ended=ended)
    return ended


class _Events:
    """The events of the compared team, if its key may read them."""

    def __init__(self, context: Context, connection: psycopg.Connection, connected: Connection, source: Source) -> None:
        self._connection = connection
        self._connected = connected
        self._connections = Connections(connection, context.box)
        self._ledger = Ledger(connection, connected.team_id)
        self._source = source

    def catch_up(self) -> int:
        until = self._source.account().now
        self._sweep()
        give_up_at = time.monotonic() + _CATCH_UP_S
        while self._ledger.pending(until) and time.monotonic() < give_up_at:  # failed ones come due by themselves
            if not apply_batch(self._connection, self._connected.team_id, self._source, jobs.mirrored(self._connected)):
                time.sleep(0.2)
        return until

    def changed_since(self, ids: Sequence[str], second: int) -> set[str]:
        self._sweep()
        return self._ledger.mentioned(ids, since=second)

    def _sweep(self) -> None:
        try:
            sweep(self._ledger, self._connections, self._source, is_over=lambda: False)
        except StripeRejected as exc:
            log.info("events.not_swept", reason=loggable_reason(exc))
