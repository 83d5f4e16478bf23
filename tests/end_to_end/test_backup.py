"""A backup and its restore, as docs/operations.md says: with the mirrors, or with nothing but what cannot be read again."""

import base64
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from scripts.api_client import ApiClient
from scripts.local.binaries import find_binaries
from scripts.local.servers import EmbeddedPostgres, temporary_state_dir
from scripts.local.stack import running_stack
from scripts.sandbox.running import SandboxProcess
from sync.database.schema import schema_name
from tests.end_to_end.product import FAST, PASSWORD, Product, sign_up

OURS = ("id", "projectId", "stripeCustomerId", "metadata", "createdAt")  # the rest follows Stripe's customer
COUNTS = {"customer": 300, "product": 5, "price": 10, "subscription": 200, "invoice": 300, "charge": 400}


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--schema=billstack"]], ids=["all of it", "without the mirrors"])
def test_what_is_restored_beside_an_empty_redis_is_exact_after_a_backfill(options: list[str]) -> None:
    with SandboxProcess() as sandbox, temporary_state_dir() as before, temporary_state_dir() as after:
        sandbox.add_account("kept", counts=COUNTS)
        settings = {
            **FAST,
            "BILLSTACK_SECRET_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "STRIPE_API_BASE": sandbox.url,
        }
        with running_stack(before, settings=settings) as stack:
            client, team_id = sign_up(stack, "owner@example.com", "Kept")
            product = Product(stack, sandbox, client, team_id, "kept")
            client.connect(team_id, product.key)
            assert product.backfill()["syncStatus"] == "ready"
            kept = make_customer(product)
            run(stack.postgres.url, "pg_dump", "--format=custom", f"--file={before / 'backup'}", *options)
            # Of the days that the backup does not know.
            sandbox.change(100, account="kept", seed=1)

        with EmbeddedPostgres(after) as server:
            run(
                server.url,
                "pg_restore",
                "--no-owner",
                "--exit-on-error",
                f"--dbname={server.url}",
                str(before / "backup"),
            )
            assert has_mirror(server.url, team_id) == (not options)
        with running_stack(after, settings=settings) as stack:  # runs init-db
            client = ApiClient(stack.url)
            client.sign_in("owner@example.com", PASSWORD)
            product = Product(stack, sandbox, client, team_id, "kept")
            status = client.status(team_id)
            assert status["connected"], status
            assert status["schemaExists"] == (not options), status
            assert status["mirror"]["customer"]["complete"] == (not options), status["mirror"]
            assert product.backfill()["syncStatus"] == "ready"
            assert product.differences() == []
            found = find_customer(product, kept)
            assert {name: found[name] for name in OURS} == {name: kept[name] for name in OURS}


def make_customer(product: Product) -> dict[str, Any]:
    """A project's customer: nothing at Stripe says whose it is."""
    teams = f"/api/billstack/teams/{product.team_id}"
    project = product.client.call("POST", f"{teams}/projects", {"name": "Shop"})["project"]
    made = product.client.call("POST", f"{teams}/projects/{project['id']}/customers", {"email": "kept@example.com"})
    found: dict[str, Any] = made["customer"]
    return found


def find_customer(product: Product, known: dict[str, Any]) -> dict[str, Any]:
    path = f"/api/billstack/teams/{product.team_id}/projects/{known['projectId']}/customers/{known['id']}"
    found: dict[str, Any] = product.client.call("GET", path)["customer"]
    return found


def has_mirror(url: str, team_id: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", (schema_name(team_id),)).fetchone()
    return row == (True,)


def run(url: str, program: str, *arguments: str) -> None:
    """One of Postgres' own programs, as whoever runs this test."""
    given = [f"--dbname={url}"] if program == "pg_dump" else []
    path: Path = find_binaries() / program
    done = subprocess.run([path, *given, *arguments], env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
