"""The servers that people have: the embedded Postgres, and with `--servers` Debian's beside it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.binaries import debian_folders
from scripts.servers import DebianPostgres, EmbeddedPostgres, temporary_state_dir

KINDS = {"embedded": EmbeddedPostgres, "debian": DebianPostgres}


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
