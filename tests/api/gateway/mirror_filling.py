"""Fills a team's mirror with what a sandbox account holds, as a backfill would, and serves the application."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from flask import Flask
from psycopg import sql
from werkzeug.serving import make_server

from api import create_app
from api.http.context import EXTENSION
from scripts.sandbox.running import SandboxClient
from sync.database.schema import create_team_schema, schema_name
from sync.object_types import BY_STRIPE_OBJECT, OBJECT_TYPES
from sync.teams.connections import Connections
from sync.teams.mirrored_types import MirroredTypes
from workers.settings import Settings

AS_OF = 1_700_000_000
PROVEN_AT = "2026-01-02T03:04:05Z"


def database_url_of(connection: psycopg.Connection) -> str:
    info = connection.info
    return f"postgresql://{info.user}:{info.password}@/{info.dbname}?host={info.host}&port={info.port}"


def create_gateway(connection: psycopg.Connection, redis_url: str, stripe_url: str, **settings: str) -> Flask:
    """The application on these servers. `settings` are more of them, or others."""
    environment = {
        "DATABASE_URL": database_url_of(connection),
        "REDIS_URL": redis_url,
        "BILLSTACK_SECRET_KEY": base64.b64encode(b"k" * 32).decode(),
        "BILLSTACK_PUBLIC_URL": "http://billstack.test",
        "STRIPE_API_BASE": stripe_url,
        "LOG_LEVEL": "ERROR",
    }
    return create_app(Settings.from_env(environment | settings))


def connect_team(connection: psycopg.Connection, team_id: str) -> None:
    """Without asking Stripe."""
    connection.execute(
        "INSERT INTO billstack.connections (team_id, account_id, livemode, secret_key) VALUES (%s, 'acct_1', false, '')",
        (team_id,),
    )
    with connection.transaction():
        create_team_schema(connection, team_id)
        MirroredTypes(connection, team_id).add(OBJECT_TYPES)


def connect_with_key(app: Flask, connection: psycopg.Connection, team_id: str, secret_key: str) -> None:
    """So that requests reach the sandbox that STRIPE_API_BASE names."""
    put_key(app, connection, team_id, secret_key)
    with connection.transaction():
        create_team_schema(connection, team_id)
        MirroredTypes(connection, team_id).add(OBJECT_TYPES)


def put_key(app: Flask, connection: psycopg.Connection, team_id: str, secret_key: str) -> None:
    """As connecting does with a key of the same account, without asking Stripe."""
    Connections(connection, app.extensions[EXTENSION].box).put(
        team_id,
        account_id="acct_1",
        account_name=None,
        livemode=False,
        secret_key=secret_key,
        publishable_key=None,
        webhook_secret=None,
    )


def fill_mirror(connection: psycopg.Connection, team_id: str, sandbox: SandboxClient, account: str) -> None:
    for object_type in OBJECT_TYPES.values():
        raws = [json.dumps(each) for each in sandbox.objects(object_type.name, account=account, full="true")]
        put_objects(connection, team_id, object_type.table, raws)


def put_objects(connection: psycopg.Connection, team_id: str, table: str, raws: list[str]) -> None:
    statement = sql.SQL("INSERT INTO {} (id, raw, as_of, as_of_until) VALUES (%s, %s, %s, %s)")
    with connection.cursor() as cursor:
        cursor.executemany(
            statement.format(sql.Identifier(schema_name(team_id), table)),
            [(json.loads(raw)["id"], raw, AS_OF, AS_OF) for raw in raws],
        )


def put_tombstone(connection: psycopg.Connection, team_id: str, gone: dict[str, Any]) -> None:
    statement = sql.SQL("INSERT INTO {} (id, raw, as_of, as_of_until, deleted_at) VALUES (%s, %s, 1, 1, now())")
    table = BY_STRIPE_OBJECT[gone["object"]].table
    named = statement.format(sql.Identifier(schema_name(team_id), table))
    connection.execute(named, (gone["id"], json.dumps(gone)))


def finish_backfill(connection: psycopg.Connection, team_id: str) -> None:
    """So that the mirror counts as read."""
    connection.execute(
        "INSERT INTO billstack.backfills (id, team_id, objects, state, finished_at)"
        " VALUES ('bf_' || %s, %s, %s, 'ready', %s)",
        (team_id, team_id, list(OBJECT_TYPES), PROVEN_AT),
    )
    connection.execute(
        "INSERT INTO billstack.backfill_types (backfill_id, type, status) SELECT 'bf_' || %s, unnest(%s::text[]), 'ready'",
        (team_id, list(OBJECT_TYPES)),
    )
    prove(connection, team_id, list(OBJECT_TYPES))


def prove(connection: psycopg.Connection, team_id: str, types: list[str]) -> None:
    """So that the mirror can vouch for these types: all that had happened by PROVEN_AT is in it."""
    connection.execute(
        "INSERT INTO billstack.type_proofs (team_id, type, completed_at, known_until)"
        " SELECT %s, unnest(%s::text[]), %s, extract(epoch FROM %s::timestamptz) ON CONFLICT DO NOTHING",
        (team_id, types, PROVEN_AT, PROVEN_AT),
    )


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """The address of a real server, for clients that speak HTTP."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
