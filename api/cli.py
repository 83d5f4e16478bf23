"""The commands of `flask --app api`."""

import json
from typing import Any

import click
import psycopg
from flask import Flask
from flask.cli import with_appcontext
from marshmallow import ValidationError

from api import event_commands
from api.context import current_context
from api.fields import Body, Email, Text
from api.people import People, Role
from api.people.passwords import hash_password, is_password
from sync.errors import SchemaError
from sync.schema import SCHEMA_VERSION, check_version, upgrade


def install(app: Flask) -> None:
    app.cli.add_command(init_db)
    app.cli.add_command(create_user)
    for command in event_commands.COMMANDS:
        app.cli.add_command(command)


class _NewUser(Body):
    email = Email(required=True)
    password = Text(shortest=8, longest=1024, required=True)
    team = Text(longest=100, required=True)


@click.command("init-db")
@with_appcontext
def init_db() -> None:
    """Create or upgrade the database. Safe at every deploy and from several hosts at once."""
    with _connect() as connection:
        try:
            upgrade(connection)
        except SchemaError as exc:
            raise click.ClickException(exc.message) from exc
    click.echo(f"The database has schema version {SCHEMA_VERSION}.")


@click.command("create-user")
@click.option("--email", required=True)
@click.option("--password", required=True, help="At least 8 characters. A known user gets it as the new password.")
@click.option("--team", default="Default", show_default=True, help="The team's name; made if there is none of it.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    help="In the team. A new member is an owner if it is left out.",
)
@with_appcontext
def create_user(email: str, password: str, team: str, role: str | None) -> None:
    """Create a user and their team, or bring both to what is said here, and print {"userId", "teamId"}."""
    _check({"email": email, "password": password, "team": team})
    with _connect() as connection:
        try:
            check_version(connection)
        except SchemaError as exc:
            raise click.ClickException(exc.message) from exc
        with connection.transaction():
            people = People(connection)
            people.lock_people()
            user_id = _ensure_user(people, email, password)
            team_id = people.find_team(team) or people.create_team(team)
            people.add_member(team_id, user_id, Role(role) if role else None)
    click.echo(json.dumps({"userId": user_id, "teamId": team_id}))


def _check(values: dict[str, str]) -> None:
    try:
        _NewUser().load(values)
    except ValidationError as exc:
        problems = (f"--{name} {text}" for name, (text, *_) in exc.messages_dict.items())
        raise click.UsageError("; ".join(problems)) from exc


def _ensure_user(people: People, email: str, password: str) -> str:
    known = people.find_user(email)
    if known is None:
        return people.create_user(email, hash_password(password))
    if not is_password(password, known.password_hash):
        people.set_password(known.id, hash_password(password))
        people.delete_sessions_of_user(known.id)  # whoever had the old password is out
    return known.id


def _connect() -> psycopg.Connection[Any]:
    """Not from the pool, which would wait for a Postgres that is away instead of saying so."""
    url = current_context().settings.database_url
    try:
        return psycopg.connect(url, autocommit=True, application_name="billstack-cli")
    except psycopg.OperationalError as exc:
        raise click.ClickException(f"Postgres cannot be reached through DATABASE_URL: {exc}") from exc
