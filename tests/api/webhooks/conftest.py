"""A connected team, to which deliveries come."""

import psycopg
import pytest

from sync.ids import new_id
from sync.teams.connections import Connections
from sync.teams.secrets import SecretBox

SECRET = "whsec_" + "s" * 32


@pytest.fixture
def team_id(database: psycopg.Connection, settings) -> str:
    """A connected team, whose webhook secret was pasted."""
    team_id = new_id("team")
    database.execute("INSERT INTO billstack.teams (id, name) VALUES (%s, 'Acme')", (team_id,))
    paste_secret(database, settings, team_id, SECRET)
    return team_id


def paste_secret(database: psycopg.Connection, settings, team_id: str, secret: str | None) -> None:
    Connections(database, SecretBox(settings.secret_keys)).put(
        team_id,
        account_id="acct_1Test",
        account_name=None,
        livemode=False,
        secret_key="sk_test_demo",
        publishable_key=None,
        webhook_secret=secret,
    )
