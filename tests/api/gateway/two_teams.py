"""An application with two connected teams, whose mirrors hold what each one's account at the sandbox has."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from flask import Flask

from api.http.context import EXTENSION
from api.people import People
from api.projects.key_store import KeyStore, Scope
from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox
from sync.teams.own_keys import OwnKeys
from tests.api.gateway.mirror_filling import (
    connect_with_key,
    create_gateway,
    fill_mirror,
    finish_backfill,
)

# In every object of the other team that a caller could be shown.
SECRET_OF_OTHERS = "nothing-of-the-other-teams"
ALL = tuple(Scope)


@dataclass(frozen=True, slots=True)
class Team:
    id: str
    account: str
    ids: dict[str, str]  # an object's id by type

    @property
    def stripe_key(self) -> str:
        return f"sk_test_{self.account}"


@dataclass(frozen=True, slots=True)
class TwoTeams:
    app: Flask
    connection: psycopg.Connection[Any]
    ours: Team
    others: Team

    def key(self, *scopes: Scope, team: Team | None = None, project_id: str | None = None) -> tuple[str, str]:
        """Its id and the key itself."""
        names = [scope.value for scope in scopes]
        created, raw = KeyStore(self.connection).create_key(
            (team or self.ours).id, "k", project_id=project_id, scopes=names, expires_at=None
        )
        return created.id, raw

    def let_in(self, team: Team) -> None:
        """The team's own Stripe key counts at the gateway."""
        OwnKeys(self.connection, self.app.extensions[EXTENSION].box).open(team.id, team.stripe_key)


@contextmanager
def two_teams(new_database: Callable[[], str], redis_url: str) -> Iterator[TwoTeams]:
    with (
        SandboxThread(Sandbox()) as sandbox,
        psycopg.connect(new_database(), autocommit=True) as connection,
    ):
        settings = {"STRIPE_ACCOUNT_RPS": "100000", "STRIPE_ENDPOINT_RPS": "100000", "LOG_LEVEL": "DEBUG"}
        app = create_gateway(connection, redis_url, sandbox.url, **settings)
        teams = [_team(app, connection, sandbox, account) for account in ("our_own_company", "another_company")]
        yield TwoTeams(app, connection, *teams)
        app.extensions[EXTENSION].close()


def _team(app: Flask, connection: psycopg.Connection[Any], sandbox: SandboxThread, account: str) -> Team:
    sandbox.add_account(account, scale=0.01, counts={"product": 3, "price": 6, "invoice": 12})
    if account.startswith("another"):
        state = sandbox.sandbox.tenant(account).account
        for name in ("customer", "product", "price", "subscription", "invoice", "charge"):
            for each in state.objects(name):
                state.update(name, each["id"], metadata={"note": SECRET_OF_OTHERS})
    team_id = People(connection).create_team(account)
    connect_with_key(app, connection, team_id, f"sk_test_{account}")
    fill_mirror(connection, team_id, sandbox, account)
    finish_backfill(connection, team_id)
    names = ("customer", "product", "price", "subscription", "invoice", "charge")
    ids = {name: next(iter(sandbox.objects(name, account=account)))["id"] for name in names}
    return Team(team_id, account, ids)
