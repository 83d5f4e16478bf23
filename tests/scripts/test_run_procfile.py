"""The Procfile runner: real processes, small ones."""

import io
import os
import signal
import stat
import subprocess
import sys

import pytest

from scripts.local.keeper import is_running
from scripts.local.processes import wait_until
from scripts.run_procfile import ROOT, LogFiles, ProcfileRunner, Terminal, read_procfile

# Starts a grandchild in a process group of its own, as RQ's worker does with its work-horse.
WITH_GRANDCHILD = """sh -c 'set -m; sleep 600 & echo $! > "$PIDS"; wait'"""
RUN_AND_WAIT = """
import os, sys, time
from pathlib import Path
from scripts.run_procfile import ROOT, LogFiles, ProcfileRunner

with ProcfileRunner({"one": sys.argv[2]}, env=os.environ, output=LogFiles(Path(sys.argv[1])), on_event=print) as runner:
    print(runner.pids()["one"], flush=True)
    time.sleep(600)
"""


@pytest.fixture
def events():
    return []


@pytest.fixture
def run(tmp_path, events):
    def run(**commands):
        env = os.environ | {"PIDS": str(tmp_path / "pids")}
        return ProcfileRunner(commands, env=env, output=LogFiles(tmp_path), on_event=events.append)

    return run


def grandchild(tmp_path):
    pids = tmp_path / "pids"
    assert wait_until(lambda: pids.exists() and pids.read_text().strip(), timeout_s=30)
    return int(pids.read_text())


def test_the_procfile_names_the_contracts_processes():
    assert list(read_procfile()) == ["web", "worker", "events", "scheduler"]


def test_a_procfile_is_names_and_commands_and_other_lines_are_comments(tmp_path):
    file = tmp_path / "Procfile"
    file.write_text('# web: no\n\nweb: serve --on "a: b"  \r\n_job-2:run\n indented: no\nempty:\nno colon\n')

    assert read_procfile(file) == {"web": 'serve --on "a: b"', "_job-2": "run"}


def test_a_procfile_with_a_name_twice_is_refused(tmp_path):
    (tmp_path / "Procfile").write_text("web: one\nweb: two\n")

    with pytest.raises(ValueError, match="Procfile names web twice"):
        read_procfile(tmp_path / "Procfile")


def test_a_killed_process_is_started_again(run, events):
    with run(one="sleep 600", two="sleep 600") as runner:
        before = runner.pids()

        runner.kill("one")

        assert wait_until(lambda: runner.pids().get("one", before["one"]) != before["one"], timeout_s=30)
        assert runner.pids()["two"] == before["two"]
        assert events == ["one was ended by SIGKILL; restarting it in 0.2 s"]


def test_what_a_killed_process_had_started_ends_before_its_successor_starts(run, tmp_path):
    with run(one=WITH_GRANDCHILD) as runner:
        before, child = runner.pids()["one"], grandchild(tmp_path)

        runner.kill("one")

        assert wait_until(lambda: runner.pids().get("one", before) != before, timeout_s=30)
        assert not is_running(child)


def test_stopping_leaves_no_process(run, tmp_path):
    with run(one=WITH_GRANDCHILD, two="sleep 600") as runner:
        pids = [*runner.pids().values(), grandchild(tmp_path)]

    assert not any(map(is_running, pids))


def test_what_a_dead_process_left_in_the_background_ends_too(run, tmp_path):
    with run(one="sh -c 'sleep 600 & echo $! > $PIDS; exit 0'") as runner:
        left = grandchild(tmp_path)

        assert wait_until(lambda: runner.given_up() or not is_running(left), timeout_s=10)

    assert not is_running(grandchild(tmp_path))


def test_a_process_that_cannot_start_is_named_with_its_log(run, tmp_path):
    with run(one="sh -c 'echo no such thing; exit 3'", two="sleep 600") as runner:
        assert wait_until(runner.given_up, timeout_s=10)
        sentence = runner.given_up()

    assert sentence == f"one ended 3 times right after its start; its log is {tmp_path}/one.log"
    assert (tmp_path / "one.log").read_text().startswith("no such thing\n")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_processes_do_not_outlive_their_runner(how, tmp_path):
    program = [sys.executable, "-c", RUN_AND_WAIT, str(tmp_path), WITH_GRANDCHILD]
    env = os.environ | {"PIDS": str(tmp_path / "pids")}
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=env) as parent:
        pids = [int(parent.stdout.readline()), grandchild(tmp_path)]

        parent.send_signal(how)

    assert wait_until(lambda: not any(map(is_running, pids)), timeout_s=15)


def test_lines_carry_the_name_of_their_process():
    stream = io.StringIO()
    commands = {"a": "sh -c 'echo first; sleep 600'", "longer": "sh -c 'echo second >&2; sleep 600'"}

    with ProcfileRunner(commands, env=os.environ, output=Terminal(stream, list(commands)), on_event=print):
        wait_until(lambda: stream.getvalue().count("\n") == 2, timeout_s=30)

    assert sorted(stream.getvalue().splitlines()) == ["a      | first", "longer | second"]


def test_missing_settings_are_said_once_and_nothing_is_started():
    env = {"PATH": os.environ["PATH"], "REDIS_URL": "redis://localhost"}

    done = subprocess.run(
        [sys.executable, "-m", "scripts.run_procfile"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert [line.split()[0] for line in done.stderr.splitlines()] == [
        "run_procfile:", "DATABASE_URL", "BILLSTACK_SECRET_KEY", "BILLSTACK_PUBLIC_URL"
    ]  # fmt: skip


def test_log_files_are_for_their_owners_eyes(tmp_path):
    """Also one that an older version left readable."""
    (tmp_path / "old.log").touch(mode=0o644)
    umask = os.umask(0)
    try:
        for name in ("old", "new"):
            LogFiles(tmp_path).open(name).close()
    finally:
        os.umask(umask)

    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "old.log": 0o600,
        "new.log": 0o600,
    }
