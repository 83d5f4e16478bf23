"""The `flask --app api` commands for a mirror that may have missed changes: replay-events, reconcile."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import click
import psycopg
import redis
from flask.cli import with_appcontext

from api.http.context import current_context
from api.people import People
from sync.errors import BillStackError
from sync.events.ledger import Ledger
from sync.reconcile.records import ReconcileStore
from workers.context import Context
from workers.jobs.reconcile import start_reconcile, take_turn
from workers.queues import wake_events

_LOOK_S = 0.5


class _Moment(click.ParamType[datetime]):
    """An ISO 8601 date or date-time. Without an offset it is UTC."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is not an ISO 8601 date or date-time, like 2026-01-31 or 2026-01-31T12:00:00Z", param, ctx
            )
        return moment.replace(tzinfo=moment.tzinfo or UTC)


@click.command("replay-events")
@click.option("--team", required=True, help="The team's id, or its name.")
@click.option("--type", "event_type", help="Only events of this type, like invoice.paid.")
@click.option("--id", "event_id", help="Only this event.")
@click.option("--since", type=_Moment(), help="Only events since then.")
@click.option("--failed", is_flag=True, help="Only events that could not be applied.")
@with_appcontext
def replay_events(
    team: str, event_type: str | None, event_id: str | None, since: datetime | None, failed: bool
) -> None:
    """Apply recorded events again, and print {"replayed"}. An event older than its row has no effect."""
    context = current_context()
    created = int(since.timestamp()) if since else None
    try:
        with context.pool.connection() as connection:
            team_id = find_team(connection, team)
            replayed = Ledger(connection, team_id).replay(type=event_type, id=event_id, since=created, failed=failed)
        wake_events(context, team_id)
    except psycopg.OperationalError as exc:
        raise click.ClickException(f"Postgres cannot be reached through DATABASE_URL: {exc}") from exc
    except redis.RedisError as exc:
        click.echo(f"Redis is unavailable ({exc}): the scheduler applies them once it is back.", err=True)
    click.echo(json.dumps({"replayed": replayed}))


@click.command("reconcile")
@click.option("--team", required=True, help="The team's id, or its name.")
@with_appcontext
def reconcile(team: str) -> None:
    """Compare every object of a mirror with Stripe, repair what differs, and print what it was."""
    context = current_context()
    try:
        with context.pool.connection() as connection:
            team_id = find_team(connection, team)
        reconcile_id, _ = start_reconcile(context, team_id, None)
        state, error, found = _wait_for(context, reconcile_id)
    except psycopg.OperationalError as exc:
        raise click.ClickException(f"Postgres cannot be reached through DATABASE_URL: {exc}") from exc
    except BillStackError as exc:
        raise click.ClickException(exc.message) from exc
    click.echo(json.dumps({"reconcileId": reconcile_id, "status": state, "result": found, "error": error}))
    if state != "done":
        raise click.exceptions.Exit(1)


def _wait_for(context: Context, reconcile_id: str) -> tuple[str, str | None, dict[str, Any]]:
    """Runs the comparison here if no worker does."""
    while True:
        take_turn(context, reconcile_id, lambda: False)
        with context.pool.connection() as connection:
            found = ReconcileStore(connection).get(reconcile_id)
        if found is None:
            raise click.ClickException("the team was removed while this ran")
        if found[0] != "running":
            return found
        time.sleep(_LOOK_S)


def find_team(connection: psycopg.Connection, team: str) -> str:
    """The team's id, found by its id or its name."""
    known = connection.execute("SELECT id FROM billstack.teams WHERE id = %s", (team,)).fetchone()
    team_id = known[0] if known else People(connection).find_team(team)
    if team_id is None:
        raise click.ClickException(f"there is no team {team!r}")
    return str(team_id)


COMMANDS = (replay_events, reconcile)
