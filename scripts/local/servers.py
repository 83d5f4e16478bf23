"""The Postgres and the Redis for the demo, the tests and the benchmark.

`DATABASE_URL` and `REDIS_URL` in the environment replace the embedded servers:

    with embedded_postgres(state_dir) as postgres, embedded_valkey(state_dir) as redis:
        use(postgres.url, redis.url)
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from scripts.local.binaries import SHARED_HOMES
from scripts.local.postgres import DebianPostgres, EmbeddedPostgres
from scripts.local.server import ServerError
from scripts.local.valkey import EmbeddedValkey

__all__ = [
    "DebianPostgres",
    "EmbeddedPostgres",
    "EmbeddedValkey",
    "ExternalServer",
    "ServerError",
    "at_database",
    "embedded_postgres",
    "embedded_valkey",
    "temporary_state_dir",
]


@dataclass(frozen=True, slots=True)
class ExternalServer:
    """A server that somebody else runs. It has an address, and we must not stop it."""

    url: str


@contextmanager
def embedded_postgres(
    state_dir: Path,
    durable: bool = True,
    settings: Mapping[str, str] | None = None,
    kind: type[EmbeddedPostgres] = EmbeddedPostgres,
) -> Iterator[EmbeddedPostgres | ExternalServer]:
    """Postgres on the data in `state_dir`. `settings` are lines of postgresql.conf."""
    if url := os.environ.get("DATABASE_URL"):
        yield ExternalServer(url)
        return
    with kind(state_dir, durable=durable, settings=settings) as server:
        yield server


@contextmanager
def embedded_valkey(state_dir: Path, durable: bool = True) -> Iterator[EmbeddedValkey | ExternalServer]:
    """Valkey on the data in `state_dir`."""
    if url := os.environ.get("REDIS_URL"):
        yield ExternalServer(url)
        return
    with EmbeddedValkey(state_dir, durable=durable) as server:
        yield server


@contextmanager
def temporary_state_dir() -> Iterator[Path]:
    """A state folder with a short path that Postgres' account can enter. Removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="billstack-", dir=SHARED_HOMES if os.geteuid() == 0 else None))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def at_database(url: str, name: str) -> str:
    """The URL of another database on the same server: a Postgres database's name or a Redis database's number."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()
