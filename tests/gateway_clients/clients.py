"""The releases of Stripe's libraries that make the calls of calls.json, installed once beside the packages of .venv."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
_CACHE = Path(sys.prefix) / "stripe-libraries"
_INSTALL_TIMEOUT_S = 180
CALLS_TIMEOUT_S = 120
_NODE_AT_LEAST = 20


class NotInstallable(Exception):
    """What is missing on this machine, and what helps."""


@dataclass(frozen=True, slots=True)
class Client:
    """`release` is "newest" or "older", which pins an API version before ours.

    `mirror_speaks` is the API version that the team has chosen for its connection; None: ours.
    """

    language: str
    release: str
    mirror_speaks: str | None = None

    @property
    def name(self) -> str:
        return f"{self.language}-{self.release}"

    def command(self) -> tuple[list[str], dict[str, str]]:
        """What to run, without the address and the key, and what to add to the environment. Raises NotInstallable."""
        if self.language == "node":
            library = installed("node", HERE / "package-lock.json", npm)
            return [node(), str(HERE / "drive.mjs"), str(library / "node_modules" / f"stripe-{self.release}")], {}
        python = [sys.executable, str(HERE / "drive.py")]
        if self.release == "newest":
            return python, {}
        return python, {"PYTHONPATH": str(installed("python", HERE / "older-stripe-python.txt", pip))}


# One of the older releases finds a mirror that speaks its version, the other has all it asks forwarded.
CLIENTS = [
    Client("node", "newest"),
    Client("node", "older", mirror_speaks="2023-10-16"),
    Client("python", "newest"),
    Client("python", "older"),
]


def installed(language: str, locked: Path, install: Callable[[Path, Path], None]) -> Path:
    """The folder of what `locked` names, made by whichever test comes first."""
    target = _CACHE / f"{language}-{hashlib.sha256(locked.read_bytes()).hexdigest()[:16]}"
    if target.exists():
        return target
    _CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        install(locked, made)
        try:
            made.rename(target)
        except OSError:
            if not target.exists():  # another process was first
                raise
    return target


def npm(locked: Path, folder: Path) -> None:
    command = shutil.which("npm")
    node()
    if command is None:
        raise NotInstallable("there is no npm here (apt install npm)")
    for name in ("package.json", locked.name):
        shutil.copy(locked.with_name(name), folder)
    _run([command, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)


def node() -> str:
    command = shutil.which("node")
    if command is None:
        raise NotInstallable("there is no Node.js here (apt install nodejs npm)")
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < _NODE_AT_LEAST:
        raise NotInstallable(f"stripe-node needs Node.js {_NODE_AT_LEAST}, and this is {version.strip()}")
    return command


def pip(locked: Path, folder: Path) -> None:
    """With what made .venv: uv's has no pip of its own. What has hashes has no dependencies of its own, too."""
    command = [sys.executable, "-m", "pip"] if find_spec("pip") else [shutil.which("uv") or "uv", "pip"]
    options = ("--require-hashes", "--no-deps") if "--hash" in locked.read_text() else ()
    _run([*command, "install", "-q", *options, "--target", str(folder), "-r", str(locked)], folder)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NotInstallable(f"{command[0]} did not run: {exc}") from exc
    if done.returncode:
        raise NotInstallable(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")


def run(command: list[str], environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [*command, *arguments],
        env={**os.environ, "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=CALLS_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
