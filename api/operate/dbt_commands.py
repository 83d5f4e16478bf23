"""The command `flask --app api dbt-views`, which makes the views that dbt's package for Stripe reads."""

import json

import click
from flask.cli import with_appcontext

from api.operate.command_line import connect_checked
from api.operate.event_commands import find_team
from api.people.audit_store import AuditLog, Entry
from sync.database.schema import drop_dbt_views, make_dbt_views
from sync.errors import SchemaError


@click.command("dbt-views")
@click.option("--team", required=True, help="The team's id, or its name.")
@click.option("--remove", is_flag=True, help="Drop the schema with its views, and with whatever depends on them.")
@with_appcontext
def dbt_views(team: str, remove: bool) -> None:
    """Make a schema with the views that dbt's package for Stripe reads, and print {"schema"}.

    Safe to repeat. init-db keeps the views from then on.
    """
    with connect_checked() as connection:
        team_id = find_team(connection, team)
        try:
            with connection.transaction():
                made = None if remove else make_dbt_views(connection, team_id)
                removed = remove and drop_dbt_views(connection, team_id)
        except SchemaError as exc:
            raise click.ClickException(exc.message) from exc
        action = "access.dbt_views_removed" if remove else "access.dbt_views_made"
        AuditLog(connection).record(Entry(action=action, team_id=team_id, target=made))
    click.echo(json.dumps({"removed": removed} if remove else {"schema": made}))


COMMANDS = (dbt_views,)
