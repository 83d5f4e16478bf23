"""The whole product on this machine for tests: the Procfile's processes, a sandbox Stripe, and signed-in users' teams."""

import base64
import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import urllib3

from api.people import People, Role
from api.people.passwords import hash_password
from scripts.api_client import ApiClient, ApiError
from scripts.benchmark.processes import children
from scripts.comparison import compare_with_sandbox
from scripts.local.servers import EmbeddedPostgres
from scripts.local.stack import Between, Stack, running_stack
from scripts.sandbox.running import SandboxProcess
from sync.database.schema import schema_name

PASSWORD = "correct horse battery"
# Much above what a sandbox without limits needs: the tests are about truth, not about speed.
FAST = {"STRIPE_ACCOUNT_RPS": "2000", "STRIPE_ENDPOINT_RPS": "1000"}


@dataclass(slots=True)
class Product:
    """One team, connected to an account of the sandbox, and its owner's client."""

    stack: Stack
    sandbox: SandboxProcess
    client: ApiClient
    team_id: str
    account: str = "demo"
    email: str = "owner@example.com"

    @property
    def key(self) -> str:
        return f"sk_test_{self.account}"

    def backfill(self, timeout_s: float = 120, **request: Any) -> dict[str, Any]:
        """Starts one and waits for its end; returns the last status."""
        self.client.start_backfill(self.team_id, **request)
        return self.wait_while_syncing(timeout_s)

    def wait_while_syncing(self, timeout_s: float = 120) -> dict[str, Any]:
        return self.wait_for(lambda status: status["syncStatus"] != "syncing", timeout_s)

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 60) -> dict[str, Any]:
        """Polls like a dashboard does: a web that is being restarted, or says 503, is asked again."""
        deadline = time.monotonic() + timeout_s
        while (status := self._status()) is None or not condition(status):
            assert time.monotonic() < deadline, f"waited {timeout_s} s; the status is {json.dumps(status)}"
            time.sleep(0.1)
        return status

    def _status(self) -> dict[str, Any] | None:
        try:
            return self.client.status(self.team_id)
        except urllib3.exceptions.HTTPError:
            return None
        except ApiError as error:
            if error.status == 503:
                return None
            raise

    def differences(self) -> list[str]:
        """Empty when the mirror equals the sandbox object for object."""
        compared = compare_with_sandbox(self.stack.postgres.url, self.team_id, self.sandbox.url, self.account)
        return [f"{each.object_type}: {each}" for each in compared if not each.is_equal]

    def stripe(self, method: str, path: str, **fields: str) -> dict[str, Any]:
        """A request to the sandbox as the merchant would make it."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/x-www-form-urlencoded"}
        answer = urllib3.request(method, self.sandbox.url + path, body=urlencode(fields), headers=headers)
        assert answer.status == 200, answer.data
        found: dict[str, Any] = answer.json()
        return found

    def slow_stripe(self, latency_ms: int) -> None:
        self.sandbox.call("PUT", "latency", ms=latency_ms)

    def sql(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """`{team}` in the statement is the team's schema."""
        with psycopg.connect(self.stack.postgres.url, autocommit=True) as connection:
            text = statement.replace("{team}", schema_name(self.team_id))
            cursor = connection.execute(text.encode(), params)
            return cursor.fetchall() if cursor.description else []

    def work_horses(self) -> list[int]:
        """The processes that work on a backfill at this moment, of the pool's workers' children."""
        workers = children(self.stack.processes.pids()["worker"])
        holders = self.sql("SELECT holder FROM billstack.leases WHERE held AND NOT done ORDER BY renewed_at DESC")
        at_work = [int(holder.rpartition(":")[2]) for (holder,) in holders]
        horses = {horse for worker in workers for horse in children(worker)}
        return [pid for pid in dict.fromkeys(at_work) if pid in horses]

    def kill_work_horse(self) -> bool:
        """`kill -9` of one of them; False when none runs."""
        horses = self.work_horses()
        if horses:
            os.kill(horses[0], signal.SIGKILL)
        return bool(horses)


@dataclass(frozen=True, slots=True)
class Installation:
    """What teams share."""

    stack: Stack
    sandbox: SandboxProcess

    def new_team(self, name: str, **recipe: Any) -> Product:
        """A team of that name, connected to an account of that name, which the sandbox makes up by the recipe."""
        self.sandbox.add_account(name, **recipe)
        return self.connect_team(name, account=name)

    def connect_team(self, name: str, account: str) -> Product:
        """A team of that name, connected to an account that is there."""
        email = f"{name}@example.com"
        client, team_id = sign_up(self.stack, email, name)
        product = Product(self.stack, self.sandbox, client, team_id, account, email)
        client.connect(team_id, product.key)
        return product


@contextmanager
def running_installation(
    state_dir: Path,
    *sandbox_arguments: str,
    settings: dict[str, str] | None = None,
    gunicorn: str = "",
    postgres_kind: type[EmbeddedPostgres] = EmbeddedPostgres,
    between: Between = lambda _: nullcontext({}),
) -> Iterator[Installation]:
    """Starts everything."""
    with SandboxProcess(*sandbox_arguments) as sandbox:
        environment = {
            **FAST,
            **(settings or {}),
            "BILLSTACK_SECRET_KEY": new_secret_key(),
            "STRIPE_API_BASE": sandbox.url,
        }
        with running_stack(
            state_dir, settings=environment, gunicorn=gunicorn, postgres_kind=postgres_kind, between=between
        ) as stack:
            yield Installation(stack, sandbox)


def new_secret_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


@contextmanager
def running_product(state_dir: Path, *sandbox_arguments: str, **options: Any) -> Iterator[Product]:
    """An installation for one test alone, with a team on the account `demo`."""
    with running_installation(state_dir, *sandbox_arguments, **options) as installation:
        yield installation.connect_team("owner", account="demo")


def sign_up(stack: Stack, email: str, team: str) -> tuple[ApiClient, str]:
    """A signed-in owner and the team's id. Without `flask create-user`, which takes a second to start."""
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        people = People(connection)
        team_id = people.create_team(team)
        people.add_member(team_id, people.create_user(email, hash_password(PASSWORD)), Role.OWNER)
    client = ApiClient(stack.url)
    client.sign_in(email, PASSWORD)
    return client, team_id
