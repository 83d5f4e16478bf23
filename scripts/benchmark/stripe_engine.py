"""@stripe/sync-engine, Stripe's own successor of the other peer, on the same sandbox and Postgres."""

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from scripts.benchmark.peer import FOLDER, OBJECTS, Peer
from scripts.sandbox.running import SandboxClient

# Of each type, to learn which fields it has.
SAMPLE = 300
JSON_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
HOW_RUN = (
    "@stripe/sync-engine: as its command line does it for the six types, with 50 workers and 25 requests/s. Its invoices",
    "keep 10 lines: with its autoExpandLists it would ask for the refunds of each charge. It makes its tables from",
    "Stripe's OpenAPI file, which it fetches from GitHub; here from a file with the fields of the sandbox's objects.",
)


class StripeEngine(Peer):
    """Mirrors each account into its own database."""

    name = "stripe"
    folder = FOLDER / "stripe"
    driver = Path(__file__).with_name("stripe_engine.cjs")
    packages: Mapping[str, str] = {"@stripe/sync-engine": "1.0.32"}  # the latest when this was written

    def __init__(self, server_url: str, sandbox_url: str, timeout_s: float) -> None:
        super().__init__(server_url, sandbox_url, timeout_s)
        self._sandbox = SandboxClient(sandbox_url)

    def prepare(self, account: str, *, as_shipped: bool = False) -> None:
        """Creates a fresh database with its tables."""
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database(account))))
        spec = self.folder / "openapi.json"
        spec.write_text(json.dumps(described(self._sandbox, account)))
        self._migrate(account, spec=str(spec))


def described(sandbox: SandboxClient, account: str) -> dict[str, Any]:
    """An OpenAPI file with what the engine reads of one: each type's fields."""
    schemas = {
        name: {"type": "object", "x-resourceId": name, "properties": _fields(sandbox, account, name)}
        for name in OBJECTS
    }
    return {"openapi": "3.0.0", "info": {"version": "2020-08-27"}, "paths": {}, "components": {"schemas": schemas}}


def _fields(sandbox: SandboxClient, account: str, name: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for each in islice(sandbox.objects(name, account=account), SAMPLE):
        found |= {
            key: {"type": JSON_TYPES.get(type(value), "object")} for key, value in each.items() if value is not None
        }
    return found
