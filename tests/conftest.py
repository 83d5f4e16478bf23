"""Real servers for the tests: one Postgres and one Valkey a test process, a fresh database a test."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import psycopg
import pytest
import redis
from psycopg import sql
from xdist.scheduler import LoadFileScheduling

from scripts.local.processes import wait_until
from scripts.local.servers import (
    EmbeddedPostgres,
    EmbeddedValkey,
    ExternalServer,
    at_database,
    embedded_postgres,
    embedded_valkey,
    temporary_state_dir,
)
from scripts.sandbox.running import SandboxProcess
from sync.database.upgrade import upgrade
from tests.end_to_end.product import Installation, running_installation

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
# The last of the sixteen databases of a Redis that is not ours; xdist's workers count down from it.
LAST_REDIS_DATABASE = 15

hypothesis.settings.register_profile("quick", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.register_profile("slow", deadline=None, max_examples=1000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--servers", action="store_true", help="also run on Debian's Postgres and through its PgBouncer")
    parser.addoption("--runslow", action="store_true", help="also run the tests that take minutes")


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("slow" if config.getoption("--runslow") else "quick")


# These take longest: whoever got them last would still be at it when all the others are done.
_FIRST = ("end_to_end", "browser", "scripts", "gateway_clients")
# The files of each share a running installation: one test process runs all of them.
_TOGETHER = ("end_to_end", "browser")


def _begins_late(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return _FIRST.index(folder) if folder in _FIRST else len(_FIRST)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_begins_late)
    run_slow = config.getoption("--runslow")
    for item in items:
        if "slow" in item.keywords and not run_slow:
            item.add_marker(pytest.mark.skip(reason="slow; ./scripts/test --runslow runs it"))


class _ByInstallation(LoadFileScheduling):  # xdist's own groups by mark do nothing with pytest 9.2
    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        folder = Path(file).parent.name
        return folder if folder in _TOGETHER else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return _ByInstallation(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A browser test without a browser is listed as not run; in CI, which installs one, it is a failure."""
    if "browser" not in item.keywords or find_chromium():
        return
    if os.environ.get("CI") == "true":
        pytest.fail("browser test, and there is no Chromium here; .ci/run installs it", pytrace=False)
    pytest.skip("browser test, and there is no Chromium here (apt install chromium)")


def find_chromium() -> str | None:
    return next((path for path in map(shutil.which, CHROMIUM_NAMES) if path), None)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser that tests with the marker `browser` start."""
    path = find_chromium()
    assert path, "mark the test with pytest.mark.browser"
    return path


@pytest.fixture(scope="session")
def state_dir() -> Iterator[Path]:
    """The folder of this test process' servers, removed at the end."""
    with temporary_state_dir() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_server(state_dir: Path) -> Iterator[EmbeddedPostgres | ExternalServer]:
    """The Postgres that all tests of this process share; they do not stop it."""
    with embedded_postgres(state_dir, durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def new_database(postgres_server: EmbeddedPostgres | ExternalServer) -> Iterator[Callable[[], str]]:
    """Makes a database with `schema.sql` applied, returns its URL: for the test that needs several or a wider scope."""
    prefix = f"billstack_test_{secrets.token_hex(4)}"
    created = [f"{prefix}_template"]
    execute(postgres_server.url, "CREATE DATABASE {}", created[0])
    with psycopg.connect(at_database(postgres_server.url, created[0])) as connection:
        upgrade(connection)

    def create() -> str:
        name = f"{prefix}_{len(created)}"
        # Since Postgres 15 the default goes through the WAL, which takes twice as long.
        execute(postgres_server.url, "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, created[0])
        created.append(name)
        return at_database(postgres_server.url, name)

    yield create
    for name in created:
        execute(postgres_server.url, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres | ExternalServer, new_database: Callable[[], str]) -> Iterator[str]:
    """A database of this test's own, with `schema.sql` applied and no rows."""
    url = new_database()
    yield url
    execute(postgres_server.url, "DROP DATABASE {} WITH (FORCE)", urlsplit(url).path.strip("/"))


@pytest.fixture(scope="session")
def redis_server(state_dir: Path) -> Iterator[EmbeddedValkey | ExternalServer]:
    """The Valkey that all tests of this process share; they do not stop it."""
    with embedded_valkey(state_dir, durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_database(redis_server: EmbeddedValkey | ExternalServer) -> str:
    """The database of it that the tests may empty: of a Redis that is not ours, one that holds nothing."""
    if isinstance(redis_server, EmbeddedValkey):
        return redis_server.url
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    url = at_database(redis_server.url, str(LAST_REDIS_DATABASE - int(worker)))
    with redis.Redis.from_url(url) as connection:
        assert connection.dbsize() == 0, f"the tests would empty a Redis database that is in use: {url}"
    return url


@pytest.fixture
def redis_url(redis_database: str) -> Iterator[str]:
    """An empty Redis database."""
    with redis.Redis.from_url(redis_database) as connection:
        connection.flushdb()
        yield redis_database
        connection.flushdb()


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    """A sandbox Stripe with its default data, in a process of its own; its account's key is sk_test_demo."""
    with SandboxProcess() as process:
        yield process


@pytest.fixture(scope="session")
def installation(state_dir: Path) -> Iterator[Installation]:
    """The Procfile's processes, which take ten seconds to start and stop; each file of tests has a team of its own there.

    The sandbox's account `demo` is small. Backfills are slow enough that a kill or a change falls into them.
    """
    with running_installation(
        state_dir / "product", "--scale", "0.3", settings={"STRIPE_ENDPOINT_RPS": "12"}
    ) as installation:
        # Its first process looks for users, and the tests sign some up.
        log = installation.stack.log_dir / "web.log"
        assert wait_until(lambda: '"set_up.waits"' in log.read_text(), timeout_s=60)
        yield installation


def execute(url: str, statement: str, *names: str) -> None:
    """Runs one statement that names databases."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
