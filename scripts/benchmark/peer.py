"""A peer, installed from npm into an ignored folder, on the same sandbox and Postgres: @supabase/stripe-sync-engine."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from scripts.benchmark.rig import secret_key
from scripts.benchmark.sides import Attempt, Place
from scripts.benchmark.state import BenchError
from scripts.local.servers import at_database
from scripts.run_procfile import ROOT

FOLDER = ROOT / ".billstack" / "peers"
PACKAGES = {"@supabase/stripe-sync-engine": "0.48.5", "stripe": "23.1.0"}  # the latest when this was written
DRIVER = Path(__file__).with_name("supabase.cjs")
SCHEMA = "stripe"  # the only one that its migrations support
OLDEST_NODE = 18
INSTALL_TIMEOUT_S = 300.0
MIGRATE_TIMEOUT_S = 60.0
# In the order of its own `all`, which also includes types that the sandbox lacks.
OBJECTS = ("product", "price", "customer", "subscription", "invoice", "charge")
# Its tables abort a run at the first amount above 2^31, and the sandbox has some. This lets us compare the rest:
WIDEN = """
DO $$
DECLARE narrow record;
BEGIN
    FOR narrow IN
        SELECT table_name, column_name
        FROM information_schema.columns
        WHERE table_schema = 'stripe' AND data_type = 'integer' AND table_name <> 'migrations'
    LOOP
        EXECUTE format('ALTER TABLE stripe.%I ALTER COLUMN %I TYPE bigint', narrow.table_name, narrow.column_name);
    END LOOP;
END
$$
"""
HOW_RUN = (
    "The peer: `syncBackfill` of its README for each of the six types, autoExpandLists (else its invoices keep 10 lines)",
    "on, backfillRelatedEntities (its server's default) on in turn and off side by side, where it costs more than it gives;",
    "a pool of 10, stripe-node's own API version and retries, the client's address set to the sandbox, a database of its",
    "own on the same Postgres. Its migrations ran before, and its integer columns were widened to bigint (not for the last",
    "check), for it ends at the first amount above 2^31.",
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What Node itself reports at its end."""

    cpu_s: float
    peak_mb: float


class Peer:
    """Mirrors each account into its own database."""

    name = "supabase"
    folder = FOLDER
    driver = DRIVER
    packages: Mapping[str, str] = PACKAGES

    def __init__(self, server_url: str, sandbox_url: str, timeout_s: float, *, side_by_side: bool = False) -> None:
        self._server_url = server_url
        self._sandbox_url = sandbox_url
        self._timeout_s = timeout_s
        self._side_by_side = side_by_side
        self.cost = Cost(0.0, 0.0)

    def prepare(self, account: str, *, as_shipped: bool = False) -> None:
        """Creates a fresh database with its tables. Unless `as_shipped`, they can hold amounts above 2^31."""
        name = sql.Identifier(self._database(account))
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        self._migrate(account)
        if not as_shipped:
            with psycopg.connect(self.place(account).database_url) as connection:
                connection.execute(WIDEN)

    def _migrate(self, account: str, **wishes: Any) -> None:
        attempt = self._run(account, MIGRATE_TIMEOUT_S, **wishes)
        if attempt.problem:
            raise BenchError(f"the migrations of {self.name} failed: {attempt.problem}")

    def mirror(self, account: str) -> Attempt:
        return self._run(account, self._timeout_s, objects=OBJECTS, sideBySide=self._side_by_side)

    def place(self, account: str) -> Place:
        return Place(at_database(self._server_url, self._database(account)), SCHEMA)

    def _database(self, account: str) -> str:
        return f"{self.name}_{account}_{'side_by_side' if self._side_by_side else 'in_turn'}"

    def _run(self, account: str, timeout_s: float, **wishes: Any) -> Attempt:
        given = {
            "databaseUrl": self.place(account).database_url,
            "stripeUrl": self._sandbox_url,
            "secretKey": secret_key(account),
            **wishes,
        }
        command = ["node", str(self.driver), str(self.folder), json.dumps(given)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired:
            return Attempt(f"not done after {timeout_s:g} s", timeout_s)
        lines = done.stdout.splitlines()
        if not lines:
            raise BenchError(f"the peer said nothing: {done.stderr.strip()[-500:]}")
        said = json.loads(lines[-1])
        self.cost = Cost(said["cpuSeconds"], said["peakMb"])
        return Attempt(said["error"], said["seconds"])


def install(peer: type[Peer] = Peer) -> None:
    """Does nothing if it is installed already.

    Raises:
        BenchError: Node is too old or missing, npm is missing, or npm failed.
    """
    refuse_old_node()
    if all(installed_version(peer.folder, name) == version for name, version in peer.packages.items()):
        return
    peer.folder.mkdir(parents=True, exist_ok=True)
    (peer.folder / "package.json").write_text(json.dumps({"private": True, "dependencies": peer.packages}))
    npm(peer.folder, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")


def refuse_old_node() -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        raise BenchError(f"--peers needs Node {OLDEST_NODE} or newer, and npm")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        raise BenchError(f"--peers needs Node {OLDEST_NODE} or newer; here is {version}")


def installed_version(folder: Path, name: str) -> str | None:
    try:
        described: Mapping[str, str] = json.loads((folder / "node_modules" / name / "package.json").read_text())
    except OSError:
        return None
    return described["version"]


def npm(folder: Path, *arguments: str) -> None:
    command: Sequence[str] = ["npm", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    if done.returncode:
        raise BenchError(f"npm could not install the peer: {done.stderr.strip()[-500:]}")
