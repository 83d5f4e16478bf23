"""The jobs of the queue `events`. They are thin and quick: every team's events wait behind them."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import structlog

from sync.database.borrowing import borrowing
from sync.database.schema import check_versions, versions_call
from sync.error_text import loggable_reason
from sync.errors import SchemaError, StripeError, StripeRejected
from sync.events.applying import apply_next
from sync.events.fetches import UNAUTHORIZED
from sync.events.ledger import Ledger
from sync.events.reread import reread
from sync.events.sweep import sweep
from sync.round_trip import RoundTrips
from sync.stripe.retries import FAIL_FAST_ATTEMPTS
from sync.stripe.source import Source
from sync.teams.connections import Connection, Connections
from workers.context import Context
from workers.jobs import backfill as jobs
from workers.jobs.side_by_side import SideBySide
from workers.queues import EVENTS, take_waiting_events, wake_events, wake_mark
from workers.stripe_account import open_source

# The longest turn of a job. It ends earlier if the worker stops.
TURN_S = 20.0
# Each account has its own budget, so several sweeps wait for Stripe side by side.
SWEPT_TOGETHER = 4

log = structlog.get_logger()


def apply_events(team_id: str) -> int:
    """Drains one team's ledger, and those of waiting teams beside it, for one turn. Returns how many events it settled.

    Two events of a small team take less time than a job does.
    """
    with jobs.job_context(team=team_id) as context:
        context.redis.delete(wake_mark(team_id))
        turn = jobs.turn(context, EVENTS, longest_s=TURN_S, while_others_wait_s=TURN_S)
        teams = SideBySide(
            lambda team_id: _apply(context, team_id, turn),
            lambda: take_waiting_events(context),
            lambda facts: wake_events(context, facts["team"], request_id=facts.get("request_id")),
            turn.is_over,
        )
        return teams.run({"team": team_id})


def _apply(context: Context, team_id: str, turn: jobs.Turn) -> int:
    connected = _connection_of(context, team_id)
    if connected is None:
        return 0
    settled, report = 0, context.meter.events
    # Few attempts: an event whose object cannot be fetched comes due again later, and the others do not wait for it.
    source = open_source(context, connected, attempts=FAIL_FAST_ATTEMPTS)
    refused = _refused(connected)
    while True:
        applied = apply_next(
            borrowing(context.pool.connection),
            team_id,
            source,
            jobs.mirrored(connected),
            connect=context.pool.connection,
            report=report,
            refused=refused,
        )
        if applied.outcomes:
            settled += sum(applied.outcomes.values())
            log.info("events.applied", **applied.outcomes)
        if applied.is_last:
            break
        present = _connection_of(context, team_id)
        refused = _refused(present)
        has_changed = present is None or present.api_version != connected.api_version
        if turn.is_over() or has_changed:  # the next job reads in the new version
            wake_events(context, team_id)
            break
    return settled


def sweep_due() -> int:
    """Sweeps all due teams, several side by side, until an event waits to be applied. Returns how many it swept."""
    swept = 0
    with jobs.job_context() as context, ThreadPoolExecutor(SWEPT_TOGETHER) as pool:
        turn = jobs.turn(context, EVENTS, while_others_wait_s=0.0)
        while not turn.is_over():
            with context.pool.connection() as connection:
                due = Connections(connection, context.box).claim_sweeps(SWEPT_TOGETHER)
            if not due:
                break
            swept += len(due)
            list(pool.map(partial(_sweep_safely, context), due))
    return swept


def _sweep_safely(context: Context, team_id: str) -> None:
    """One team's failure does not stop the others."""
    with structlog.contextvars.bound_contextvars(team=team_id):
        try:
            _sweep(context, team_id)
        except Exception:
            log.exception("events.sweep_broke")


def sweep_events(team_id: str) -> int:
    """Reads events from Stripe that were not delivered. Returns how many were new."""
    with jobs.job_context(team=team_id) as context:
        return _sweep(context, team_id)


def _sweep(context: Context, team_id: str) -> int:
    connected = _connection_of(context, team_id)
    if connected is None:
        return 0
    over_at = time.monotonic() + TURN_S
    source = open_source(context, connected, attempts=FAIL_FAST_ATTEMPTS)
    connection = borrowing(context.pool.connection)
    ledger, connections = Ledger(connection, team_id), Connections(connection, context.box)
    try:
        swept = sweep(ledger, connections, source, is_over=lambda: time.monotonic() > over_at)
    except StripeError as exc:
        log.warning("events.not_swept", reason=loggable_reason(exc))
        return 0
    if not swept.complete:
        connections.sweep_again(team_id)
    if swept.new:
        connections.webhook_missed(team_id)
    written = _reread(connection, team_id, source, lambda: time.monotonic() > over_at)
    log.info("events.swept", written=written, new=swept.new, complete=swept.complete)
    if swept.new:
        wake_events(context, team_id)
    return swept.new


def _reread(connection: psycopg.Connection, team_id: str, source: Source, is_over: Callable[[], bool]) -> int:
    try:
        return reread(connection, team_id, source, is_over=is_over)
    except StripeError as exc:
        log.warning("types.not_reread", reason=loggable_reason(exc))
        return 0


def _refused(connected: Connection | None) -> StripeRejected | None:
    """After Stripe has refused a key, only the sweep uses it, every few minutes, until Stripe accepts it again."""
    if connected is None or connected.key_valid:
        return None
    return StripeRejected("Stripe refuses the stored key.", status=UNAUTHORIZED)


def _connection_of(context: Context, team_id: str) -> Connection | None:
    """None once the team is disconnected.

    Also None while the team's tables are of another version than this program, as during a rolling deploy. Then its
    events stay in the ledger, and the scheduler wakes us again.
    """
    with context.pool.connection() as connection:
        connections = Connections(connection, context.box)
        rows, versions = RoundTrips(connection).run_all([connections.call(team_id), versions_call(team_id)])
    try:
        check_versions(team_id, versions)
    except SchemaError as exc:
        log.warning("events.wait", reason=exc.message)
        return None
    connected = connections.opened(rows)
    return connected if connected and connected.secret_key else None
