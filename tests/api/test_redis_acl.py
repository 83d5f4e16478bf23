"""The line of docs/operations.md for Redis' ACL file is enough for the whole product, and lets its user do no more."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox

ROOT = Path(__file__).parent.parent.parent
LINE = re.compile(r"^user billstack on >PASSWORD (.*)$", re.MULTILINE)
FINISHED_WITHIN_S = 60


@pytest.fixture
def administrator(redis_url):
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


@pytest.fixture
def environment(environment, administrator, redis_url):
    """Of the user whom the page describes."""
    rules = LINE.search((ROOT / "docs/operations.md").read_text())
    administrator.execute_command("ACL", "SETUSER", "billstack", "reset", "on", ">PASSWORD", *rules[1].split())
    administrator.acl_log_reset()
    whole = urlsplit(redis_url)
    url = whole._replace(netloc=f"billstack:PASSWORD@{whole.netloc.rpartition('@')[2]}").geturl()
    with SandboxThread(Sandbox()) as sandbox:
        sandbox.add_account("demo", scale=0.01)
        yield environment | {"REDIS_URL": url, "STRIPE_API_BASE": sandbox.url}
    administrator.execute_command("ACL", "DELUSER", "billstack")


@pytest.fixture
def workers(environment):
    """The worker lines of the Procfile."""
    env = {"PATH": os.environ["PATH"]} | environment
    lines = [[sys.executable, "-m", "workers", role] for role in ("backfills", "events", "scheduler")]
    processes = [subprocess.Popen(line, cwd=ROOT, env=env, stderr=subprocess.DEVNULL) for line in lines]
    yield
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(20)


def test_a_backfill_and_the_operators_pages_need_no_more(new_member, administrator, workers):
    owner, operator = new_member(), new_member("viewer", is_operator=True)
    assert owner.client.post(f"{owner.stripe}/connect", json={"secretKey": "sk_test_demo"}).status_code == 200
    assert owner.client.post(f"{owner.stripe}/backfill", json={}).status_code == 202

    ends = time.monotonic() + FINISHED_WITHIN_S
    while (status := owner.client.get(f"{owner.stripe}/status").json)["syncStatus"] != "ready":
        assert time.monotonic() < ends, status
        time.sleep(0.2)
    for page in ("/operators", "/rq/0/view/jobs", "/rq/0/view/workers", "/metrics", "/readyz"):
        assert operator.client.get(page).status_code == 200, page

    refused = [entry for entry in administrator.acl_log() if entry["username"] == "billstack"]
    assert refused == []


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET dir",
        "KEYS *",
        "GET foreign",
        "PUBLISH other x",
        "CLIENT KILL ID 1",
        "ACL LIST",
    ],
)
def test_its_user_may_not(environment, command):
    with (
        redis.Redis.from_url(environment["REDIS_URL"]) as connection,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        connection.execute_command(*command.split())
