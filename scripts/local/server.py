"""An embedded server: one child process with its own folder, which can be stopped, restarted and killed."""

import fcntl
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scripts.local import keeper
from scripts.local.private_log import open_private_log
from scripts.local.processes import Child, Steps, wait_until

# A recovery after `kill -9` replays the log since the last checkpoint: seconds, or more on a slow disk.
START_TIMEOUT_S = 60.0
# How long a new start waits for a server whose program was just killed, while the keeper stops it.
HANDOVER_S = 12.0
DYING_S = 1.0  # how long that program may still be visible
LOG_LINES_SHOWN = 8


class ServerError(Exception):
    """An embedded server cannot do what was asked. The text says why and where its log is."""


class EmbeddedServer:
    """Base of the Postgres and Valkey servers. As a context manager it starts on entry and stops on exit."""

    name: str  # for messages and files
    stop_steps: Steps

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / f"{self.name}.log"
        self._child: Child | None = None
        self._lock_fd: int | None = None

    @property
    def url(self) -> str:
        """Stays the same over restarts."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> None:
        """Returns once the server answers.

        Raises:
            ServerError: its folder is in use, or it did not start.
        """
        self._hold_lock()
        self._prepare()
        self._launch()

    def stop(self) -> None:
        """Stops the server properly and frees its folder. Does nothing if it is not running."""
        if self._child:
            self._child.stop()
            self._child = None
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def kill(self) -> None:
        """Sends `kill -9`. `restart` brings the server back."""
        self._running().kill()

    def has_died(self) -> bool:
        """Whether it ended without being stopped."""
        return self._child is not None and self._child.exit_code() is not None

    def restart(self) -> None:
        """Starts it again on the same data and address, after a proper stop or after `kill`."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        """Creates what the start needs: a data folder, a configuration file."""

    def _command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def _is_ready(self) -> bool:
        raise NotImplementedError

    def _environ(self) -> Mapping[str, str]:
        return os.environ

    def _account(self) -> dict[str, Any]:
        """Popen's user, group and extra_groups, if the server runs as another account."""
        return {}

    def _launch(self) -> None:
        assert self._lock_fd is not None
        with open_private_log(self.log) as log:
            self._child = Child(
                self._command(), env=self._environ(), cwd=self.home, output=log,
                pass_fds=(self._lock_fd,), stop_steps=self.stop_steps, **self._account(),
            )  # fmt: skip
        child = self._child
        wait_until(lambda: child.exit_code() is not None or self._is_ready(), START_TIMEOUT_S)
        if child.exit_code() is not None or not self._is_ready():
            child.stop()
            raise ServerError(f"{self.name} did not start; the end of {self.log}:\n{self._end_of_log()}")

    def _hold_lock(self) -> None:
        """Takes the folder's flock, which the server inherits. It is free once the last process of either is gone."""
        if self._lock_fd is not None:
            return
        fd = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        started = time.monotonic()
        while not try_flock(fd):
            owner = int(os.pread(fd, 32, 0) or 0)
            patience_s = DYING_S if keeper.is_running(owner) else HANDOVER_S
            if time.monotonic() - started > patience_s:
                os.close(fd)
                raise ServerError(f"{self.home} is in use: process {owner} runs {self.name} on it; stop that one first")
            time.sleep(0.1)
        os.pwrite(fd, f"{os.getpid():<10}".encode(), 0)
        self._lock_fd = fd

    def _running(self) -> Child:
        if self._child is None:
            raise ServerError(f"{self.name} is not running")
        return self._child

    def _end_of_log(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])


def try_flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
