"""The set-up's choices and the sentences it ends with; no test here installs anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import bootstrap
from scripts.bootstrap import LOCKS, Bootstrap, SetupError, has_modules, pip_environment

ROOT = Path(__file__).resolve().parents[2]
SETUP = ROOT / "scripts" / "setup"


def executable(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run_setup(path_folder):
    return subprocess.run(
        [str(SETUP)], env={"PATH": str(path_folder)}, capture_output=True, text=True, check=False, timeout=60
    )


def checkout(folder):
    for name, lock in LOCKS.items():
        (folder / lock).write_text(f"# nothing for {name}\n")
    return folder


def test_an_old_python_is_named_together_with_what_is_needed(tmp_path):
    executable(tmp_path / "python3", 'case "$*" in *-V) echo "Python 3.8.10" ;; *) exit 1 ;; esac')

    done = run_setup(tmp_path)

    assert done.returncode == 1
    assert "BillStack needs Python 3.11 or newer; python3 here is Python 3.8.10" in done.stderr


def test_a_newer_python_beside_an_old_python3_is_taken(tmp_path):
    executable(tmp_path / "python3", "exit 1")
    executable(tmp_path / "python3.12", 'case "$*" in *bootstrap.py) echo "taken" ;; esac')

    done = run_setup(tmp_path)

    assert (done.returncode, done.stdout) == (0, "taken\n")


def test_no_python_at_all_is_said(tmp_path):
    done = run_setup(tmp_path)

    assert done.returncode == 1
    assert done.stderr == "setup: BillStack needs Python 3.11 or newer, and there is no python3 on PATH.\n"


def test_without_uv_venv_and_pip_the_apt_line_is_printed(tmp_path):
    bootstrap = Bootstrap(checkout(tmp_path), {"PATH": str(tmp_path)}, has_modules=lambda *names: False)

    with pytest.raises(SetupError, match=rf"apt install python3\.{sys.version_info.minor}-venv"):
        bootstrap.run()


def test_a_failed_route_is_followed_by_the_next(tmp_path, capsys):
    executable(tmp_path / "uv", "echo 'error: no index'; exit 2")
    bootstrap = Bootstrap(
        checkout(tmp_path), {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, has_modules=lambda *names: "pip" in names
    )

    bootstrap.run()

    assert "uv could not install the dependencies:\nerror: no index" in capsys.readouterr().err
    assert (tmp_path / ".venv" / "bin" / "python").exists()


@pytest.fixture
def fake_uv(tmp_path):
    """A uv that makes an empty .venv and notes each call and its lock; returns the environment that finds it, and the notes."""
    make = f'{sys.executable} -m venv --without-pip "$(eval echo \\${{$#}})"'
    note = f'echo "$1" >> "{tmp_path}/calls"; for lock; do :; done'
    note_lock = f'echo "${{lock##*/}}" >> "{tmp_path}/locks"'
    executable(tmp_path / "uv", f'{note}; if [ "$1" = pip ]; then {note_lock}; else {make}; fi')

    def calls(of="call"):
        notes = tmp_path / f"{of}s"
        return notes.read_text().split() if notes.exists() else []

    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, calls


def test_a_second_setup_does_nothing_and_a_new_lock_file_is_installed_into_the_same_venv(tmp_path, fake_uv):
    environ, calls = fake_uv
    bootstrap = Bootstrap(checkout(tmp_path), environ, has_modules)

    bootstrap.run()
    bootstrap.run()
    calls_before = calls()
    (tmp_path / "requirements.lock").write_text("# changed\n")
    bootstrap.run()

    assert calls_before == ["venv", "pip"]
    assert calls() == ["venv", "pip", "pip"]


@pytest.fixture
def set_up(tmp_path, fake_uv):
    """Sets up a checkout; returns the lock files that this installed."""
    environ, calls = fake_uv
    checkout(tmp_path)

    def set_up(asked):
        before = len(calls("lock"))
        Bootstrap(tmp_path, environ, has_modules, asked).run()
        return calls("lock")[before:]

    return set_up


def test_nothing_but_what_the_product_runs_on_is_installed_unasked(set_up):
    assert set_up("product") == ["requirements.lock"]


def test_a_larger_set_is_added_to_the_same_venv(set_up, tmp_path, fake_uv):
    set_up("product")
    made_at = (tmp_path / ".venv" / "pyvenv.cfg").stat().st_mtime_ns

    assert set_up("demo") == ["requirements-demo.lock"]
    assert set_up("tests") == ["requirements-tests.lock"]
    assert (tmp_path / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == made_at


@pytest.mark.parametrize("asked", ["product", "demo", "tests"])
def test_a_venv_that_has_more_is_left_as_it_is(set_up, asked):
    set_up("tests")

    assert set_up(asked) == []


def test_a_venv_that_has_more_is_kept_whole_when_the_locks_change(set_up, tmp_path):
    set_up("tests")
    for lock in LOCKS.values():
        (tmp_path / lock).write_text("# changed\n")

    assert set_up("product") == ["requirements-tests.lock"]
    assert set_up("demo") == []


def test_another_sets_lock_may_change_without_a_new_installation(set_up, tmp_path):
    set_up("demo")
    (tmp_path / "requirements-tests.lock").write_text("# changed\n")

    assert set_up("demo") == []


def test_two_set_ups_at_once_leave_the_larger_set(tmp_path, fake_uv):
    environ, calls = fake_uv
    checkout(tmp_path)
    code = (
        "import os, sys; from pathlib import Path; from scripts.bootstrap import Bootstrap, has_modules;"
        "Bootstrap(Path(sys.argv[1]), os.environ, has_modules, sys.argv[2]).run()"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), asked], env=environ | {"PYTHONPATH": str(ROOT)})
        for asked in ("tests", "demo")
    ]

    assert [one.wait(timeout=60) for one in both] == [0, 0]
    assert calls("lock") in (["requirements-tests.lock"], ["requirements-demo.lock", "requirements-tests.lock"])
    assert (tmp_path / ".venv" / ".billstack-setup").read_text().splitlines()[-1].startswith("tests ")


def test_an_installation_that_failed_is_tried_again(set_up, tmp_path, fake_uv):
    set_up("product")
    works = (tmp_path / "uv").read_text()
    executable(tmp_path / "uv", "echo 'error: no index'; exit 2")
    (tmp_path / "requirements-tests.lock").write_text("nothing-by-this-name==1 --hash=sha256:00\n")
    with pytest.raises(SetupError):
        Bootstrap(tmp_path, fake_uv[0], lambda *names: False, "tests").run()
    (tmp_path / "uv").write_text(works)

    assert set_up("product") == []
    assert set_up("tests") == ["requirements-tests.lock"]


@pytest.mark.parametrize(
    ("script", "asked"),
    [("demo", "demo"), ("bench", "demo"), ("test", "tests"), ("lint", "tests"), ("screenshots", "tests")],
)
def test_each_command_asks_for_what_it_needs(script, asked):
    assert f"\n./scripts/setup --with {asked}\n" in (SETUP.parent / script).read_text()


def test_an_unknown_set_is_refused_with_those_that_there_are(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SETUP.parent / "bootstrap.py"), "--with", "everything"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "choose from" in done.stderr
    assert "demo" in done.stderr
    assert "tests" in done.stderr


def test_a_venv_that_is_a_link_is_refused_and_what_it_leads_to_is_kept(tmp_path, fake_uv):
    somebodys = tmp_path / "somebodys"
    (somebodys / "bin").mkdir(parents=True)
    (somebodys / "bin" / "python").symlink_to(sys.executable)
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / ".venv").symlink_to(somebodys)

    with pytest.raises(SetupError, match=f"a link to {somebodys}: remove the link"):
        Bootstrap(checkout(folder), fake_uv[0], has_modules).run()

    assert (somebodys / "bin" / "python").exists()


def test_a_moved_checkout_is_set_up_again(tmp_path, fake_uv):
    environ, calls = fake_uv
    (tmp_path / "old").mkdir()
    Bootstrap(checkout(tmp_path / "old"), environ, has_modules).run()
    (tmp_path / "old").rename(tmp_path / "new")

    Bootstrap(tmp_path / "new", environ, has_modules).run()

    assert calls() == ["venv", "pip"] * 2


def test_a_users_pip_configuration_keeps_only_where_packages_come_from(tmp_path):
    (tmp_path / "pip.conf").write_text(
        "[global]\nuser = true\ntarget = /elsewhere\nindex-url = https://mirror.example/simple\n"
        "extra-index-url =\n    https://one.example/simple\n    https://two.example/simple\n"
        "[install]\nno-binary = :all:\n"
    )
    environ = {
        "PATH": os.environ["PATH"],
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_USER": "1",
        "PIP_PROXY": "p",
    }

    kept = pip_environment([sys.executable, "-m", "pip"], environ)

    expected = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://one.example/simple https://two.example/simple",
        "PIP_PROXY": "p",
    }
    assert {key: kept[key] for key in expected} == expected
    assert not {"PIP_USER", "PIP_TARGET", "PIP_NO_BINARY"} & kept.keys()


def test_a_long_installation_says_in_between_what_it_is_at(capfd, monkeypatch):
    monkeypatch.setattr(bootstrap, "LINE_EVERY_S", 0.1)
    pip = "import time; print('Collecting flask==3.1 (from -r lock)', flush=True); time.sleep(0.5)"

    bootstrap.run([sys.executable, "-c", pip], os.environ)

    assert "s, fetched 1: flask\n" in capfd.readouterr().err


def test_the_installer_is_named_together_with_how_much_it_fetches(tmp_path, fake_uv, capsys):
    environ, _ = fake_uv
    (tmp_path / "requirements.lock").write_text("# made by uv\none==1 \\\n    --hash=sha256:0\n    # via two\ntwo==2\n")

    Bootstrap(tmp_path, environ, has_modules).run()

    assert "installing 2 locked packages into .venv with uv" in capsys.readouterr().err
