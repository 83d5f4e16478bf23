"""The commands that manage people: create-user, operator, set-up-link, reset-link."""

import json
import sys

import click
from flask.cli import with_appcontext
from marshmallow import ValidationError

from api.http.context import current_context
from api.http.fields import Body, Email, NewEmail, Text
from api.operate.command_line import connect_checked
from api.people import People, Role, User
from api.people.audit_store import AuditLog, Entry
from api.people.links import NEW_PASSWORD, Links
from api.people.passwords import hash_new_password, is_password
from api.people.set_up import new_set_up_link
from sync.errors import BadRequest

_SHOWN = "warning: every user of this machine can see --password; without it, the command asks for the password"


class _Email(Body):
    email = Email(required=True)


class _NewEmail(Body):
    email = NewEmail(required=True)


class _UserAndTeam(_Email):
    password = Text(shortest=8, longest=1024)
    team = Text(longest=100, required=True)


@click.command("create-user")
@click.option("--email", required=True)
@click.option(
    "--password",
    help="At least 8 characters. A known user gets it as the new password. Without it, the command asks or "
    "reads standard input: other users of this machine can see options.",
)
@click.option("--team", default="Default", show_default=True, help="The team's name. Created if no team has it.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    help="The role in the team. Without it, a new member is an owner.",
)
@click.option("--operator", "is_operator", is_flag=True, help="Also make them an operator of this server.")
@with_appcontext
def create_user(email: str, password: str | None, team: str, role: str | None, is_operator: bool) -> None:
    """Create or update a user and their team, and print {"userId", "teamId"}.

    A known user keeps their password if standard input is empty.
    """
    is_shown = password is not None
    password = password if is_shown else _ask()
    _check(_UserAndTeam(), {"email": email, "team": team} | ({} if password is None else {"password": password}))
    with connect_checked() as connection, connection.transaction():
        people = People(connection)
        people.lock_people()
        user_id = _ensure_user(people, email, password)
        team_id = people.find_team(team) or people.create_team(team)
        people.add_member(team_id, user_id, Role(role) if role else None)
        granted = is_operator and people.set_operator(user_id, is_operator=True)
        audit = AuditLog(connection)
        told = {"email": email, "team": team} | ({"role": role} if role else {})
        audit.record(Entry(action="user.ensured", team_id=team_id, target=user_id, details=told))
        if granted:
            audit.record(Entry(action="operator.granted", target=user_id, details={"email": email}))
    click.echo(json.dumps({"userId": user_id, "teamId": team_id}))
    if is_shown:
        click.echo(_SHOWN, err=True)


@click.command("operator")
@click.option("--email", required=True)
@click.option("--revoke", is_flag=True, help="End it: the user is no longer an operator.")
@with_appcontext
def operator(email: str, revoke: bool) -> None:
    """Make a user an operator of this server, or end that, and print {"userId", "isOperator"}.

    Operators see /operators and /rq: the queues, workers and budgets of all teams.
    """
    _check(_Email(), {"email": email})
    with connect_checked() as connection, connection.transaction():
        people = People(connection)
        user = _known(people, email)
        if people.set_operator(user.id, is_operator=not revoke):
            action = "operator.revoked" if revoke else "operator.granted"
            AuditLog(connection).record(Entry(action=action, target=user.id, details={"email": user.email}))
    click.echo(json.dumps({"userId": user.id, "isOperator": not revoke}))


@click.command("set-up-link")
@with_appcontext
def set_up_link() -> None:
    """Print a one-time address that creates the first user. It is valid for seven days."""
    with connect_checked() as connection:
        address = new_set_up_link(connection, current_context().settings.public_url)
    if address is None:
        raise click.ClickException(
            "BillStack is set up already: create further users with `flask --app api create-user`"
        )
    click.echo(address)


@click.command("reset-link")
@click.option("--email", required=True)
@with_appcontext
def reset_link(email: str) -> None:
    """Print a one-time address where a user sets a new password. It is valid for a day.

    Setting the password ends all of their sessions.
    """
    _check(_Email(), {"email": email})
    with connect_checked() as connection, connection.transaction():
        user = _known(People(connection), email)
        token = Links(connection).create(NEW_PASSWORD, user.id)
        AuditLog(connection).record(Entry(action="password.reset_link", target=user.id, details={"email": user.email}))
    click.echo(NEW_PASSWORD.address(current_context().settings.public_url, token))


COMMANDS = (create_user, operator, set_up_link, reset_link)


def _ask() -> str | None:
    """The password; None if standard input is empty."""
    if sys.stdin.isatty():
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return asked
    return sys.stdin.readline().rstrip("\r\n") or None


def _check(schema: Body, values: dict[str, str]) -> None:
    try:
        schema.load(values)
    except ValidationError as exc:
        problems = (f"--{name} {text}" for name, (text, *_) in exc.messages_dict.items())
        raise click.UsageError("; ".join(problems)) from exc


def _hashed(password: str, email: str) -> str:
    try:
        return hash_new_password(password, email=email)
    except BadRequest as exc:
        raise click.UsageError(f"--{exc.message}") from exc


def _known(people: People, email: str) -> User:
    user = people.find_user(email)
    if user is None:
        raise click.ClickException(f"there is no user {email}: create one with `flask --app api create-user`")
    return user


def _ensure_user(people: People, email: str, password: str | None) -> str:
    known = people.find_user(email)
    if known is None:
        if password is None:
            raise click.UsageError("--password is missing: give it on standard input")
        _check(_NewEmail(), {"email": email})
        return people.create_user(email, _hashed(password, email))
    if password is not None and not is_password(password, known.password_hash):
        people.set_password(known.id, _hashed(password, email))
        people.delete_sessions_of_user(known.id)  # signs out everybody who knew the old password
    return known.id
