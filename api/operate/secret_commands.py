"""The command `flask --app api reseal-secrets`, which completes a rotation of BILLSTACK_SECRET_KEY."""

import json

import click
from flask.cli import with_appcontext

from api.http.context import current_context
from api.operate.command_line import connect_checked
from api.people.audit_store import AuditLog, Entry
from sync.alerts.store import AlertStore
from sync.errors import ConfigError
from sync.teams.connections import Connections

_DONE = (
    "Every secret is encrypted with the first key of BILLSTACK_SECRET_KEY. If all processes already run with that key "
    "first, remove the others. If not, restart them, run this command again, then remove the others."
)


@click.command("reseal-secrets")
@with_appcontext
def reseal_secrets() -> None:
    """Encrypt every stored secret with the first key, and print {"teams", "resealed", "unopened"}.

    Safe while BillStack runs, and safe to repeat. Exits with 1 while a team's secrets open with none of the keys.
    """
    resealed, unopened = 0, []
    with connect_checked() as connection:
        connections = Connections(connection, current_context().box)
        teams = connections.sealed_teams()
        for team_id in teams:
            try:
                with connection.transaction():
                    resealed += connections.reseal(team_id)
            except ConfigError as exc:
                click.echo(f"{team_id}: {exc.message}", err=True)
                unopened.append(team_id)
        try:
            resealed += AlertStore(connection, current_context().box).reseal()
        except ConfigError as exc:
            click.echo(f"alerts: {exc.message}", err=True)
            unopened.append("alerts")
        told = {"teams": len(teams), "resealed": resealed, "unopened": unopened}
        AuditLog(connection).record(Entry(action="secrets.resealed", details=told))
    click.echo(json.dumps(told))
    if unopened:
        raise click.ClickException("add the keys that encrypted the rest, or connect those teams again")
    click.echo(_DONE, err=True)


COMMANDS = (reseal_secrets,)
