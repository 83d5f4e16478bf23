"""The copy of the Postgres binaries that programs of root make for another account, however many of them at once."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts.local.binaries import ABANDONED_AFTER_S, shared_copy
from scripts.local.server import ServerError
from scripts.local.servers import temporary_state_dir
from scripts.run_procfile import ROOT

MAKE_A_COPY = """
import sys, time
from pathlib import Path
from scripts.local.binaries import shared_copy

time.sleep(max(0.0, float(sys.argv[3]) - time.time()))
print(shared_copy([Path(sys.argv[1])], "copy", Path(sys.argv[2])))
"""
START_POSTGRES = """
import sys
from pathlib import Path
from scripts.local.postgres import EmbeddedPostgres

with EmbeddedPostgres(Path(sys.argv[1])) as server:
    print(server.home)
"""


@pytest.fixture
def package(tmp_path):
    package = tmp_path / "package"
    (package / "bin").mkdir(parents=True)
    for number in range(200):
        (package / "bin" / f"file{number}").write_text("x" * 10_000)
    return package


@pytest.fixture
def homes(tmp_path):
    (tmp_path / "homes").mkdir()
    return tmp_path / "homes"


def run_python(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_programs_that_start_at_the_same_moment_make_one_copy_and_leave_nothing_else(package, homes):
    moment = time.time() + 3
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: run_python(MAKE_A_COPY, package, homes, moment), range(6)))

    assert [one.stderr for one in done] == [""] * 6
    assert {one.stdout.strip() for one in done} == {str(path) for path in homes.iterdir()}
    assert len(list(next(homes.iterdir()).rglob("file*"))) == 200


def test_other_content_at_the_same_path_gets_a_copy_of_its_own(package, homes):
    before = shared_copy([package], "copy", homes)
    (package / "bin" / "file0").write_text("y" * 10_000)

    after = shared_copy([package], "copy", homes)

    assert before != after
    assert (after / "package" / "bin" / "file0").read_text().startswith("y")


def test_what_a_killed_start_left_behind_is_removed_once_it_is_old(package, homes):
    name = shared_copy([package], "copy", homes).name
    (homes / name).rename(homes / f"{name}.old")
    (homes / f"{name}.young").mkdir()
    long_ago = time.time() - ABANDONED_AFTER_S - 1
    os.utime(homes / f"{name}.old", (long_ago, long_ago))

    shared_copy([package], "copy", homes)

    assert {path.name for path in homes.iterdir()} == {name, f"{name}.young"}


def test_a_copy_that_is_not_a_folder_of_ours_is_refused(package, homes):
    copy = shared_copy([package], "copy", homes)
    copy.rename(homes / "elsewhere")
    copy.symlink_to(homes / "elsewhere")

    with pytest.raises(ServerError, match="remove it"):
        shared_copy([package], "copy", homes)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives Postgres another account")
def test_two_first_starts_in_a_folder_that_only_root_can_enter_agree_on_where_the_data_are():
    with temporary_state_dir() as folder:
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda _: run_python(START_POSTGRES, closed / "state"), range(2)))
        (link,) = (closed / "state").iterdir()
        home = link.readlink()
        subprocess.run(["rm", "-r", home], check=True)

    # One of them may find the other's server running there; both look in the same place.
    assert {one.stdout.strip() for one in done if not one.returncode} == {str(home)}
    assert all(f"{home} is in use" in one.stderr for one in done if one.returncode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives Postgres another account")
def test_a_removed_state_folder_begins_again_also_where_the_data_are_elsewhere():
    with temporary_state_dir() as folder:
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        first = run_python(START_POSTGRES, closed / "state").stdout.strip()
        subprocess.run(["rm", "-r", closed / "state"], check=True)

        second = run_python(START_POSTGRES, closed / "state").stdout.strip()

        assert first
        assert second
        assert first != second
    for home in (first, second):
        subprocess.run(["rm", "-r", Path(home)], check=True)
