"""`flask --app api gateway-shadow`: proof, before a program is pointed at the gateway."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

import click
import psycopg
from flask import current_app
from flask.cli import with_appcontext

from api.gateway.shadow import Compared, Shadow, requests_in
from api.gateway.views import forwarder_of
from api.http.context import current_context
from api.operate.event_commands import find_team
from sync.errors import BillStackError
from sync.teams.connections import Connections
from workers.stripe_account import make_limiter

_MOST_SHOWN = 5  # differences of one request


@click.command("gateway-shadow")
@click.option("--team", required=True, help="The team's id, or its name.")
@click.option(
    "--requests",
    "recorded",
    required=True,
    type=click.File(),
    help="A file with a request a line, like GET /v1/customers?limit=3, or any log that names them; - for standard input.",
)
@with_appcontext
def gateway_shadow(team: str, recorded: TextIO) -> None:
    """Ask the mirror and Stripe the recorded GETs, and print what differs. Exits with 1 if something does."""
    context = current_context()
    try:
        with context.pool.connection() as connection:
            connected = Connections(connection, context.box).connected(find_team(connection, team))
        shadow = Shadow(context, connected, forwarder_of(current_app), make_limiter(context))
        found = [_told(shadow.compare(*asked)) for asked in requests_in(recorded)]
    except psycopg.OperationalError as exc:
        raise click.ClickException(f"Postgres cannot be reached through DATABASE_URL: {exc}") from exc
    except BillStackError as exc:
        raise click.ClickException(exc.message) from exc
    for line in _summary(found):
        click.echo(line)
    if any(each.outcome == "differs" for each in found):
        raise click.exceptions.Exit(1)


def _told(compared: Compared) -> Compared:
    if compared.outcome == "differs":
        click.echo(f"differs  {compared.target}")
        for each in compared.differences[:_MOST_SHOWN]:
            click.echo(f"         {each.where}: mirror {each.mirror}, Stripe {each.stripe}")
        if (more := len(compared.differences) - _MOST_SHOWN) > 0:
            click.echo(f"         and {more} more")
    elif compared.outcome == "stripe":
        click.echo(f"stripe   {compared.target}: {compared.reason}")
    return compared


def _summary(found: Sequence[Compared]) -> list[str]:
    outcomes = Counter(each.outcome for each in found)
    lines = [
        f"{len(found)} requests: the mirror answers {outcomes['same'] + outcomes['differs']} of them,"
        f" {outcomes['differs']} differently from Stripe; {outcomes['stripe']} go to Stripe"
    ]
    if answered := [(each.mirror_s, each.stripe_s) for each in found if each.mirror_s and each.stripe_s]:
        mirror_ms, stripe_ms = (statistics.median(times) * 1000 for times in zip(*answered, strict=True))
        lines.append(f"median time: mirror {mirror_ms:.1f} ms, Stripe {stripe_ms:.1f} ms")
    return lines


COMMANDS = (gateway_shadow,)
