"""A Postgres that takes no changes: what changes is 503 with a code that says why, and reads go on."""

from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from api.http.context import EXTENSION
from tests.api.conftest import PASSWORD
from workers.redis.trouble import FULL


@pytest.fixture
def read_only(app, owner, new_member, database_url):
    """As a standby does, or `ALTER SYSTEM SET default_transaction_read_only = on`; for connections from now on."""
    database = sql.Identifier(urlsplit(database_url).path.strip("/"))
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(database))
        app.extensions[EXTENSION].pool.drain()
        yield
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(database))
        # Also a connection that the pool was just opening: no later test is to get a read-only one.
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        app.extensions[EXTENSION].pool.drain()


@pytest.mark.usefixtures("read_only")
def test_not_ready_and_says_why(client):
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json["details"] == {"postgres": "Postgres is read-only: a standby, or set so", "redis": "ok"}


@pytest.mark.usefixtures("read_only")
def test_what_changes_is_unavailable(client, owner):
    sign_in = client.post("/api/auth/sign-in", json={"email": owner.email, "password": PASSWORD})
    backfill = owner.client.post(f"{owner.stripe}/backfill", json={})

    for answer in (sign_in, backfill):
        assert (answer.status_code, answer.json["code"]) == (503, "postgres_read_only")
        assert answer.headers["Retry-After"]


@pytest.mark.usefixtures("read_only")
def test_reads_go_on_though_a_session_cannot_be_extended(owner, database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("UPDATE billstack.sessions SET last_seen_at = now() - interval '1 hour'")

    assert owner.client.get("/api/auth/session").status_code == 200


def test_a_full_disk_is_unavailable_and_not_ready_for_a_while(app, owner, client):
    with psycopg.connect(app.extensions[EXTENSION].settings.database_url, autocommit=True) as admin:
        admin.execute(
            "CREATE FUNCTION billstack.full() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$"
        )
        admin.execute("CREATE TRIGGER full_disk BEFORE INSERT ON billstack.sessions EXECUTE FUNCTION billstack.full()")
        try:
            answer = client.post("/api/auth/sign-in", json={"email": owner.email, "password": PASSWORD})
        finally:
            admin.execute("DROP FUNCTION billstack.full CASCADE")
    ready = client.get("/readyz")
    app.extensions[EXTENSION].redis.delete(f"billstack:trouble:{FULL}")

    assert (answer.status_code, answer.json["code"]) == (503, "postgres_full")
    assert (ready.status_code, ready.json["details"]["redis"]) == (503, "ok")
    assert ready.json["details"]["postgres"] == "Postgres' disk is full"
    assert client.get("/readyz").status_code == 200
