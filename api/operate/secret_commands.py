"""The command of `flask --app api` that completes a rotation of BILLSTACK_SECRET_KEY: reseal-secrets."""

import json

import click
from flask.cli import with_appcontext

from api.http.context import current_context
from api.operate.command_line import connect_checked
from api.people.audit_store import AuditLog, Entry
from sync.errors import ConfigError
from sync.teams.connections import Connections

_DONE = (
    "Every secret is sealed with the first key of BILLSTACK_SECRET_KEY. If all processes run with that key in front "
    "already, the others may go; else restart them, run this again, then take the others out."
)


@click.command("reseal-secrets")
@with_appcontext
def reseal_secrets() -> None:
    """Seal every stored secret with the first key, and print {"teams", "resealed", "unopened"}.

    Safe beside a product at work, and to repeat. Exits with 1 while a team's secrets open with no key at all.
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
        told = {"teams": len(teams), "resealed": resealed, "unopened": unopened}
        AuditLog(connection).record(Entry(action="secrets.resealed", details=told))
    click.echo(json.dumps(told))
    if unopened:
        raise click.ClickException("add the keys that the rest was sealed with, or connect those teams again")
    click.echo(_DONE, err=True)


COMMANDS = (reseal_secrets,)
