"""./scripts/demo as a person runs it: the real processes, in a state folder of the test's own."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest

from scripts.keepsakes import DemoError, Keepsakes
from scripts.local.keeper import is_running, read_stat
from scripts.local.postgres import command_line
from scripts.local.processes import wait_until
from scripts.local.servers import EmbeddedPostgres, temporary_state_dir
from scripts.local.stack import answers, listen
from scripts.run_procfile import ROOT

READY_TIMEOUT_S = 120


@pytest.fixture
def folder():
    with temporary_state_dir() as folder:
        yield folder


def command(folder, *arguments):
    return [sys.executable, "-m", "scripts.demo", "--state-dir", str(folder), "--scale", "0.05", *arguments]


def run_once(folder):
    done = subprocess.run(
        command(folder, "--once"), cwd=ROOT, capture_output=True, text=True, check=False, timeout=READY_TIMEOUT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def staying_demo(folder):
    """Yields the process once it has printed all it has to say, and that text."""
    with subprocess.Popen(command(folder), cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo:
        try:
            lines = []
            while not lines or "Ctrl-C stops everything" not in lines[-1]:
                lines.append(demo.stdout.readline())
                assert lines[-1], f"the demo ended: {''.join(lines)}"
            yield demo, "".join(lines)
        finally:
            demo.kill()


def descendants(pid):
    parents = {int(entry): read_stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
    children = {child for child, stat in parents.items() if stat and int(stat[1]) == pid}
    return children | {grandchild for child in children for grandchild in descendants(child)}


def program_of(pid):
    """Its name; nothing if it has ended."""
    return os.path.basename(command_line(pid).decode().split("\0")[0])


def last_writes(folder):
    with EmbeddedPostgres(folder) as postgres, psycopg.connect(postgres.url) as connection:
        (schema,) = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'stripe\\_%'").fetchone()
        return connection.execute(f'SELECT id, xmin::text FROM "{schema}".invoices ORDER BY id').fetchall()  # noqa: S608


def assert_none_outlives(demo, how):
    pids = descendants(demo.pid)

    demo.send_signal(how)
    demo.wait(timeout=30)

    assert len(pids) > 8  # Postgres, Valkey, sandbox, keeper, web with its workers, three kinds of workers
    assert wait_until(lambda: not any(map(is_running, pids)), timeout_s=20)


def kill_servers(demo, first):
    """Returns once the demo works again, and what it said."""
    for pid in descendants(demo.pid):  # among them programs that end by themselves
        stat = read_stat(pid)
        if stat and stat[1] == str(demo.pid) and program_of(pid).startswith(("postgres", "valkey", "redis")):
            os.kill(pid, signal.SIGKILL)
    said = [demo.stdout.readline() for _ in range(2)]
    url = re.search(r"Dashboard +(\S+)/\n", first)[1]
    assert wait_until(lambda: answers(f"{url}/readyz"), timeout_s=30)
    return sorted(line.strip() for line in said)


def test_a_demo_stays_until_ctrl_c_and_the_second_finds_its_data_and_changes_none(folder):
    with staying_demo(folder) as (demo, first):
        beside = subprocess.run(command(folder), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        said = kill_servers(demo, first)
        assert_none_outlives(demo, signal.SIGINT)
    rows = last_writes(folder)

    second = run_once(folder)

    assert (beside.returncode, beside.stdout) == (1, "BillStack demo\n")
    assert beside.stderr == (
        f"demo: process {demo.pid} runs a demo on {folder} already; "
        "stop that one first, or start this one with --state-dir DIR\n"
    )
    assert demo.returncode == 0
    assert said == ["Postgres has died; it is started again", "Valkey has died; it is started again"]
    assert re.search(r"Dashboard +http://127\.0\.0\.1:\d+/\n +Sign-in +demo@example\.com", first)
    for output in (first, second):
        assert re.search(r"invoice +160 compared: all equal", output)
        assert "the mirror equals the sandbox" in output
        assert "sk_test" not in output
    assert last_writes(folder) == rows


def test_data_of_another_scale_is_named_at_once_with_what_to_do(folder):
    kept = Keepsakes.load(folder / "demo.json", scale=0.1, types="six")

    done = subprocess.run(command(folder), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (1, "BillStack demo\n")
    assert done.stderr == (
        f"demo: {folder} has the data of a demo with --scale 0.1. At --scale 0.05 the sandbox is another account, and the"
        " backfill would have to look up each old object; start with --scale 0.1, use another folder with"
        f" --state-dir DIR, or delete {folder} first\n"
    )
    assert Keepsakes.load(folder / "demo.json", scale=0.1, types="six") == kept
    assert {entry.name for entry in folder.iterdir()} == {"demo.json", "demo.lock"}, "nothing was started"


def test_a_demo_that_had_all_types_has_them_from_then_on(folder):
    path = folder / "demo.json"
    first = Keepsakes.load(path, scale=1, types="six")

    assert Keepsakes.load(path, scale=1, types="all") == replace(first, types="all")
    assert Keepsakes.load(path, scale=1, types="six").types == "all"


def test_the_data_of_a_demo_that_stored_no_scale_is_used(folder):
    path = folder / "demo.json"
    path.write_text(json.dumps({"secret_key": "k", "password": "p", "sandbox_until": 5}))

    assert Keepsakes.load(path, scale=2, types="six") == Keepsakes("k", "p", 5, scale=2, types="six")
    with pytest.raises(DemoError, match="with --scale 2"):
        Keepsakes.load(path, scale=1, types="six")


@pytest.mark.slow  # test_servers.py and test_run_procfile.py kill programs that start the same kinds of processes
def test_no_process_outlives_a_demo_that_is_killed(folder):
    with staying_demo(folder) as (demo, _):
        assert_none_outlives(demo, signal.SIGKILL)


def test_a_port_is_taken_before_anybody_accepts_on_it():
    with listen() as listener, pytest.raises(OSError, match="in use"):
        listen(listener.getsockname()[1])


@pytest.mark.parametrize("option", ["--scale=0", "--scale=-1", "--scale=nan", "--port=-1", "--port=70000"])
def test_a_number_that_makes_no_sense_is_refused_before_anything_starts(folder, option):
    done = subprocess.run(command(folder, option), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"./scripts/demo: error: argument {option.partition('=')[0]}: ")
    assert list(folder.iterdir()) == []
