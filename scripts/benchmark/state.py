"""The folder for a benchmark's server data, on the checkout's disk, like a user's."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.benchmark import processes
from scripts.local.servers import EmbeddedPostgres, EmbeddedValkey
from scripts.run_procfile import ROOT

STATE_DIR = ROOT / ".billstack" / "bench"


class BenchError(Exception):
    """The benchmark cannot continue. The text is for the person at the terminal."""


def refuse_foreign_servers() -> None:
    if not processes.is_readable():
        raise BenchError("processor time and memory come from /proc, so the benchmark runs on Linux only")
    for name in ("DATABASE_URL", "REDIS_URL"):
        if os.environ.get(name):
            raise BenchError(f"the benchmark fills and measures servers of its own: run it without {name}")


@contextmanager
def fresh_state_dir(postgres: type[EmbeddedPostgres]) -> Iterator[Path]:
    """Empty at first. The logs remain at the end.

    Raises:
        BenchError: another benchmark uses it.
    """
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    with (STATE_DIR / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError("another benchmark runs in this checkout") from None
        shutil.rmtree(STATE_DIR / "logs", ignore_errors=True)
        forget_data(postgres)
        try:
            yield STATE_DIR
        finally:
            forget_data(postgres)


def forget_data(postgres: type[EmbeddedPostgres]) -> None:
    for server in (postgres(STATE_DIR), EmbeddedValkey(STATE_DIR)):
        server.stop()  # it never started, but its socket may have a folder of its own
        shutil.rmtree(server.home)
