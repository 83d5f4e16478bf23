"""Starts and stops child processes so that neither they nor their children outlive this program."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from scripts.local import keeper

# Waits for one line, then becomes the command. Until the keeper knows the session, nothing runs in it. If this program
# dies in between, `read` meets the end of the pipe and the shell exits.
WAIT_FOR_GO = 'read -r go || exit 1; exec "$@" </dev/null'
Steps = Sequence[tuple[signal.Signals, float]]  # signals in turn, and the seconds each one gets
TERM_THEN_KILL: Steps = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0))


class Keeper:
    """The process that ends our children if we are killed. It starts with the first child and ends with us."""

    def __init__(self) -> None:
        self._pipe: IO[str] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def guard(self, session: int, stop_signal: int) -> None:
        self._tell(f"+{session} {int(stop_signal)}\n")

    def forget(self, session: int) -> None:
        self._tell(f"-{session}\n")

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._pipe is None or self._owner != os.getpid():
                self._start()
            assert self._pipe
            self._pipe.write(line)
            self._pipe.flush()

    def _start(self) -> None:
        command = [sys.executable, "-I", "-S", keeper.__file__]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
        self._pipe = process.stdin
        self._owner = os.getpid()
        atexit.register(self._close, process, self._owner)

    @staticmethod
    def _close(process: "subprocess.Popen[str]", owner: int) -> None:
        """Lets it end what is left, and waits. Does nothing in a fork of ours, which shares the pipe."""
        if owner == os.getpid():
            process.communicate()


KEEPER = Keeper()


class Child:
    """One child process, the leader of its own session."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: IO[bytes] | int | None = None,
        pass_fds: Sequence[int] = (),
        stop_steps: Steps = TERM_THEN_KILL,
        **account: Any,
    ) -> None:
        """Starts it. `output` takes stdout and stderr. `account` has Popen's user, group and extra_groups."""
        self._stop_steps = stop_steps
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", WAIT_FOR_GO, "sh", *map(str, command)],
            env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT if output else None,
            pass_fds=pass_fds, start_new_session=True, **account,
        )  # fmt: skip
        KEEPER.guard(self.pid, stop_steps[0][0])
        assert self._process.stdin
        self._process.stdin.write(b"go\n")
        self._process.stdin.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> IO[bytes]:
        """Its output, if it was started with `output=subprocess.PIPE`."""
        assert self._process.stdout
        return self._process.stdout

    def exit_code(self) -> int | None:
        """None while it runs. The negative signal number if a signal ended it."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        return self._process.wait(timeout_s)

    def signal(self, signal_number: int) -> None:
        self._process.send_signal(signal_number)

    def kill(self) -> None:
        """Sends `kill -9` to the process alone, as a test or the kernel would. Its children are not touched."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Sends each signal of its stop steps until the process has ended, then ends its children."""
        for signal_number, patience_s in self._stop_steps:
            if self.exit_code() is not None:
                break
            self.signal(signal_number)
            try:
                self.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        self.clear_session()

    def clear_session(self) -> None:
        """For a process that has ended: ends the rest of its session and stops guarding it."""
        keeper.kill_sessions({self.pid})
        KEEPER.forget(self.pid)


def wait_until(condition: Callable[[], object], timeout_s: float, poll_s: float = 0.02) -> bool:
    """Returns whether the condition became true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True
