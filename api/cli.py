"""The commands of `flask --app api`."""

import click
from flask import Flask
from flask.cli import with_appcontext

from api.gateway import commands as gateway_commands
from api.operate import dbt_commands, event_commands, secret_commands
from api.operate.command_line import connect
from api.people import commands
from sync.database.schema import SCHEMA_VERSION
from sync.database.upgrade import upgrade
from sync.errors import SchemaError


def install(app: Flask) -> None:
    app.cli.add_command(init_db)
    for command in (
        *commands.COMMANDS,
        *event_commands.COMMANDS,
        *secret_commands.COMMANDS,
        *dbt_commands.COMMANDS,
        *gateway_commands.COMMANDS,
    ):
        app.cli.add_command(command)


@click.command("init-db")
@with_appcontext
def init_db() -> None:
    """Create or upgrade the database. Safe at every deploy and from several hosts at once."""
    with connect() as connection:
        try:
            upgrade(connection, tell=lambda line: click.echo(f"{line} ...", err=True))
        except SchemaError as exc:
            raise click.ClickException(exc.message) from exc
    click.echo(f"The database has schema version {SCHEMA_VERSION}.")
