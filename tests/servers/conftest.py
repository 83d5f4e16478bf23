"""The servers that people have: the embedded Postgres, and with `--servers` Debian's beside it."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg import sql

from scripts.local.binaries import debian_folders
from scripts.local.processes import wait_until
from scripts.local.servers import DebianPostgres, EmbeddedPostgres, ExternalServer, at_database, temporary_state_dir

POOL_SIZE = 2  # fewer than the clients of any test, so that they share
KINDS = {"embedded": EmbeddedPostgres, "debian": DebianPostgres}


@dataclass(frozen=True)
class Pooler:
    """A database's address through a pooler, and past it."""

    url: str
    direct_url: str


@pytest.fixture(scope="session", params=sorted(KINDS, reverse=True))
def any_postgres(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """Each Postgres at hand, in its default configuration but for autovacuum: statistics are as a test leaves them."""
    if request.param == "debian":
        require_servers(request.config, "Debian's Postgres (apt install postgresql)", bool(debian_folders()))
    with temporary_state_dir() as folder, KINDS[request.param](folder, settings={"autovacuum": "off"}) as server:
        yield server


def require_servers(config: pytest.Config, what: str, found: bool) -> None:
    """Lists the test as not run unless `--servers` asks for it and the server is here; in CI a missing one is a failure."""
    if not config.getoption("--servers"):
        pytest.skip(f"needs {what}; ./scripts/test --servers runs it")
    if not found and os.environ.get("CI") == "true":
        pytest.fail(f"needs {what}, which is not here", pytrace=False)
    if not found:
        pytest.skip(f"needs {what}, which is not here")


def find_program(*candidates: str) -> Path | None:
    return next((path for path in map(Path, candidates) if path.exists()), None)


def pgbouncer(config: pytest.Config) -> Path:
    program = find_program("/usr/sbin/pgbouncer")
    require_servers(config, "PgBouncer (apt install pgbouncer)", program is not None)
    assert program
    return program


@pytest.fixture
def pooler(
    request: pytest.FixtureRequest,
    postgres_server: EmbeddedPostgres | ExternalServer,
    new_database: Callable[[], str],
    tmp_path: Path,
) -> Iterator[Pooler]:
    """Debian's PgBouncer before a database of the test's own, in the mode that the test asks for by its parameter."""
    program = pgbouncer(request.config)
    database = urlsplit(new_database()).path.strip("/")
    if isinstance(postgres_server, ExternalServer):
        pytest.skip("needs a Postgres of the test's own")
    with (
        temporary_state_dir() as folder,
        running_pooler(program, folder, postgres_server, database, request.param) as found,
    ):
        yield found


@contextmanager
def running_pooler(
    program: Path, folder: Path, server: EmbeddedPostgres, database: str, mode: str, *, size: int = POOL_SIZE
) -> Iterator[Pooler]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    hosts = parse_qs(urlsplit(server.url).query)["host"][0]
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": mode,
        "default_pool_size": size,
        "max_client_conn": 100,
    }
    lines = [f"{name} = {value}" for name, value in settings.items()]
    target = f"{database} = host={hosts} dbname={database} user=postgres"
    config = folder / "pgbouncer.ini"
    config.write_text("\n".join(["[databases]", target, "[pgbouncer]", *lines, ""]))
    config.chmod(0o644)
    account = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, config], stdout=log, stderr=log, **account)
    url = f"postgresql://postgres@127.0.0.1:{port}/{database}"
    set_default(at_database(server.url, database), "synchronous_commit", "on")  # the tests' own is off
    try:
        wait_until(lambda: answers(url) or process.poll() is not None, 10)
        assert process.poll() is None, (folder / "log").read_text()
        yield Pooler(url, at_database(server.url, database))
    finally:
        process.terminate()
        process.wait(10)


def set_default(url: str, setting: str, value: str) -> None:
    """Of the database, for connections from now on."""
    with psycopg.connect(url, autocommit=True) as connection:
        database = sql.Identifier(connection.info.dbname)
        statement = sql.SQL("ALTER DATABASE {} SET {} = {}")
        connection.execute(statement.format(database, sql.Identifier(setting), sql.Literal(value)))


def answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2, autocommit=True) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
