"""Runs every process of the Procfile on one machine, restarts those that die, and leaves nothing behind.

    .venv/bin/python -m scripts.run_procfile [--log-dir DIR]

honcho stops everything when one process dies. Here a killed worker comes back, as under systemd or on a platform.
The environment provides the settings (DATABASE_URL, REDIS_URL...). `.venv/bin` comes first on PATH.
"""

import argparse
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from scripts.local.private_log import open_private_log
from scripts.local.processes import Child, Steps
from sync.errors import ConfigError
from workers.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
# RQ and gunicorn finish their current work. What a job loses after that is in its checkpoint.
STOP_STEPS: Steps = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
POLL_S = 0.1
# A process that lived shorter than this did not start properly. Each further try waits longer.
STARTED_AFTER_S = 10.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
TRIES_BEFORE_GIVEN_UP = 3
COLOURS = (36, 33, 32, 35, 34, 31)
PROCFILE_LINE = re.compile(r"([A-Za-z0-9_-]+):[ \t]*(\S.*)")  # all other lines are comments


class Output(Protocol):
    """Where the processes' lines go."""

    def open(self, name: str) -> IO[bytes] | int: ...

    def follow(self, name: str, child: Child) -> None: ...

    def place(self, name: str) -> str: ...


class LogFiles:
    """A file per process, `NAME.log`, which only its owner can read. A restart appends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def open(self, name: str) -> IO[bytes]:
        return open_private_log(self._path(name))

    def follow(self, name: str, child: Child) -> None:
        """Does nothing: the process writes the file itself."""

    def place(self, name: str) -> str:
        return f"its log is {self._path(name)}"

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.log"


class Terminal:
    """All lines on one stream, each prefixed with its process' name."""

    def __init__(self, stream: IO[str], names: list[str]) -> None:
        self._stream = stream
        self._width = max(map(len, names))
        self._coloured = stream.isatty() and not os.environ.get("NO_COLOR")
        self._colours = dict(zip(names, itertools.cycle(COLOURS), strict=False))

    def open(self, name: str) -> int:
        return subprocess.PIPE

    def follow(self, name: str, child: Child) -> None:
        threading.Thread(target=self._copy, args=(name, child), daemon=True).start()

    def place(self, name: str) -> str:
        return "the reason is above"

    def _copy(self, name: str, child: Child) -> None:
        for line in child.output:
            self.write(name, line.decode(errors="replace").rstrip())

    def write(self, name: str, line: str) -> None:
        prefix = f"{name:<{self._width}} |"
        if self._coloured:
            prefix = f"\033[{self._colours[name]}m{prefix}\033[0m"
        print(f"{prefix} {line}", file=self._stream, flush=True)


class Managed:
    """One line of the Procfile and its current process."""

    def __init__(self, name: str, command: str) -> None:
        self.name = name
        self.command = command
        self.child: Child | None = None
        self.started_at = 0.0
        self.quick_deaths = 0
        self.start_again_at = 0.0

    def note_death(self, now: float) -> float:
        """Returns the pause before the next start."""
        self.child = None
        self.quick_deaths = 0 if now - self.started_at > STARTED_AFTER_S else self.quick_deaths + 1
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** max(0, self.quick_deaths - 1))
        self.start_again_at = now + pause_s
        return pause_s


class ProcfileRunner:
    """Starts the processes on entry, keeps them running in a thread, and stops them on exit."""

    def __init__(
        self,
        commands: Mapping[str, str],
        *,
        env: Mapping[str, str],
        output: Output,
        on_event: Callable[[str], None],
        pass_fds: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """`on_event` gets a sentence whenever a process has died.

        `pass_fds` are files that a process inherits, by the process' name.
        """
        self._managed = {name: Managed(name, command) for name, command in commands.items()}
        self._env = dict(env) | {"PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"}
        self._output = output
        self._on_event = on_event
        self._pass_fds = pass_fds or {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="procfile", daemon=True)

    def __enter__(self) -> Self:
        for managed in self._managed.values():
            self._start(managed)
        self._supervisor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def pids(self) -> dict[str, int]:
        """The currently running processes, by the names of their Procfile lines."""
        with self._lock:
            return {name: one.child.pid for name, one in self._managed.items() if one.child}

    def kill(self, name: str) -> None:
        """Sends `kill -9` to one process, which is restarted at once."""
        self.signal(name, signal.SIGKILL)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to one process. If it ends, it is restarted."""
        os.kill(self.pids()[name], number)

    def given_up(self) -> str | None:
        """A sentence about a process that cannot start, or None."""
        for one in self._managed.values():
            if one.quick_deaths >= TRIES_BEFORE_GIVEN_UP:
                return (
                    f"{one.name} ended {one.quick_deaths} times right after its start; {self._output.place(one.name)}"
                )
        return None

    def stop(self) -> None:
        """Tells all of them to end at once, and waits."""
        self._stopping.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        running = [one.child for one in self._managed.values() if one.child]
        with ThreadPoolExecutor(len(self._managed)) as pool:
            list(pool.map(Child.stop, running))
        for one in self._managed.values():
            one.child = None

    def _start(self, managed: Managed) -> None:
        target = self._output.open(managed.name)
        command = ["/bin/sh", "-c", f"exec {managed.command}"]
        pass_fds = self._pass_fds.get(managed.name, ())
        child = Child(command, env=self._env, cwd=ROOT, output=target, stop_steps=STOP_STEPS, pass_fds=pass_fds)
        if not isinstance(target, int):
            target.close()
        self._output.follow(managed.name, child)
        managed.started_at = time.monotonic()
        with self._lock:
            managed.child = child

    def _supervise(self) -> None:
        while not self._stopping.wait(POLL_S):
            for managed in self._managed.values():
                if managed.child is None:
                    if time.monotonic() >= managed.start_again_at:
                        self._start(managed)
                elif (code := managed.child.exit_code()) is not None:
                    self._bury(managed, managed.child, code)

    def _bury(self, managed: Managed, child: Child, code: int) -> None:
        child.clear_session()  # children of the dead process would run beside its successor
        with self._lock:
            pause_s = managed.note_death(time.monotonic())
        self._on_event(f"{managed.name} {describe_exit(code)}; restarting it in {pause_s:g} s")


def describe_exit(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def read_procfile(path: Path = ROOT / "Procfile") -> dict[str, str]:
    """Command by name, in the file's order.

    Raises:
        ValueError: two lines have the same name.
    """
    commands: dict[str, str] = {}
    for found in filter(None, map(PROCFILE_LINE.fullmatch, path.read_text().splitlines())):
        name, command = found.groups()
        if name in commands:
            raise ValueError(f"{path.name} names {name} twice")
        commands[name] = command.rstrip()
    return commands


def main() -> int:
    parser = argparse.ArgumentParser(prog="run_procfile", description="Runs the Procfile's processes on this machine.")
    parser.add_argument("--log-dir", type=Path, help="write NAME.log files there instead of to the terminal")
    arguments = parser.parse_args()
    try:
        Settings.from_env(os.environ)
    except ConfigError as error:  # said once here, not by each process again and again
        problems = "\n  ".join(error.message.split("; "))
        print(f"run_procfile: nothing was started\n  {problems}", file=sys.stderr)
        return 1
    asked_to_stop = threading.Event()
    for stop_signal in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop_signal, lambda *_: asked_to_stop.set())
    commands = read_procfile()
    output = LogFiles(arguments.log_dir) if arguments.log_dir else Terminal(sys.stdout, list(commands))
    with ProcfileRunner(commands, env=os.environ, output=output, on_event=print_event):
        asked_to_stop.wait()
    return 0


def print_event(sentence: str) -> None:
    print(f"run_procfile: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
