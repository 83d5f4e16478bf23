"""The embedded servers: real ones, started, restarted, killed and abandoned."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis

from scripts.local.keeper import is_running
from scripts.local.processes import wait_until
from scripts.local.servers import (
    EmbeddedPostgres,
    EmbeddedValkey,
    ServerError,
    embedded_postgres,
    embedded_valkey,
    temporary_state_dir,
)

BOTH = pytest.mark.parametrize("make", [EmbeddedPostgres, EmbeddedValkey])
HEED_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
START_BOTH_AND_WAIT = """
import sys, time
from pathlib import Path
from scripts.local.servers import EmbeddedPostgres, EmbeddedValkey

with EmbeddedPostgres(Path(sys.argv[1])) as postgres, EmbeddedValkey(Path(sys.argv[1])) as valkey:
    print(postgres.pid, valkey.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def new_folder():
    """With nothing in it."""
    with temporary_state_dir() as folder:
        yield folder


@pytest.fixture(scope="module")
def prepared_folder():
    """With a Postgres' empty database, whose making takes ten times as long as a copy."""
    with temporary_state_dir() as folder:
        with EmbeddedPostgres(folder):
            pass
        yield folder


@pytest.fixture
def folder(new_folder, prepared_folder):
    """As an earlier start left it."""
    subprocess.run(["cp", "-a", f"{prepared_folder}/.", str(new_folder)], check=True)
    return new_folder


def write(server):
    if isinstance(server, EmbeddedPostgres):
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'value' AS key")
    else:
        with redis.Redis.from_url(server.url) as connection:
            connection.set("key", "value")


def read(server):
    if isinstance(server, EmbeddedPostgres):
        with psycopg.connect(server.url) as connection:
            return connection.execute("SELECT key FROM kept").fetchone()[0]
    with redis.Redis.from_url(server.url, decode_responses=True) as connection:
        return connection.get("key")


def test_each_test_gets_a_database_with_the_schema(database_url):
    with psycopg.connect(database_url) as connection:
        (tables,) = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'billstack'").fetchone()
        connection.execute("CREATE TABLE left_behind ()")

    assert tables > 0


def test_the_next_test_does_not_see_the_last_ones_tables(database_url):
    with psycopg.connect(database_url) as connection:
        left = connection.execute("SELECT to_regclass('left_behind')").fetchone()

    assert left == (None,)


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_an_empty_redis(redis_url, turn):
    with redis.Redis.from_url(redis_url) as connection:
        size = connection.dbsize()
        connection.set("left", turn)

    assert size == 0


@BOTH
def test_a_restart_keeps_data_and_address(make, folder):
    with make(folder) as server:
        write(server)
        before = server.pid, server.url

        server.restart()

        assert server.url == before[1]
        assert server.pid != before[0]
        assert read(server) == "value"


@BOTH
def test_a_killed_server_comes_back_with_its_data(make, folder):
    with make(folder) as server:
        write(server)
        server.kill()

        server.restart()

        assert read(server) == "value"


def test_valkey_is_ready_when_it_has_read_its_data(folder):
    # As many commands to read again. In steps: one script for all keeps the client waiting too long on a busy machine.
    fill = "for number = ARGV[1], ARGV[1] + 9999 do redis.call('SET', 'key' .. number, number) end"
    with EmbeddedValkey(folder) as server, redis.Redis.from_url(server.url, decode_responses=True) as connection:
        for start in range(0, 300_000, 10_000):
            connection.eval(fill, 0, start)

        server.restart()

        assert connection.get("key299999") == "299999"


@BOTH
def test_the_next_program_finds_the_data(make, new_folder):
    with make(new_folder) as server:
        write(server)

    with make(new_folder) as server:
        assert read(server) == "value"


@BOTH
def test_a_stopped_server_leaves_no_process(make, folder):
    with make(folder) as server:
        pid = server.pid

    assert not is_running(pid)


@BOTH
def test_a_second_start_on_a_live_folder_says_who_has_it(make, folder):
    with (
        make(folder) as server,
        pytest.raises(ServerError, match=f"is in use: process {os.getpid()} runs {server.name}"),
        make(folder),
    ):
        pytest.fail("two servers share one folder")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_do_not_outlive_their_program(how, folder):
    # A shell that starts the tests with & has SIGINT ignored, and children inherit that.
    program = [sys.executable, "-c", HEED_SIGINT + START_BOTH_AND_WAIT, str(folder)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        alive_before = [is_running(pid) for pid in pids]

        parent.send_signal(how)

    assert alive_before == [True, True]
    assert wait_until(lambda: not any(map(is_running, pids)), timeout_s=30)


def test_a_folder_is_free_for_the_next_program_right_after_the_last_was_killed(folder):
    program = [sys.executable, "-c", START_BOTH_AND_WAIT, str(folder)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        parent.stdout.readline()
        parent.kill()

        with EmbeddedPostgres(folder) as postgres, EmbeddedValkey(folder) as valkey:
            write(postgres)
            write(valkey)


def test_a_stranger_with_the_old_pid_does_not_block_postgres(folder):
    with EmbeddedPostgres(folder) as server:
        pid_file = next(folder.glob("*/data/postmaster.pid"))
        text = pid_file.read_text()
        server.kill()
        with subprocess.Popen(["sleep", "60"]) as stranger:
            pid_file.write_text(re.sub(r"^\d+", str(stranger.pid), text))

            server.restart()

            stranger.kill()
        assert server.pid != stranger.pid


@BOTH
def test_an_odd_locale_and_a_space_in_the_path_do_not_matter(make, new_folder, monkeypatch):
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    monkeypatch.setenv("LANG", "xx_XX")

    with make(new_folder / "with a space") as server:
        write(server)
        assert read(server) == "value"


def test_postgres_folds_the_case_of_letters_beyond_ascii(folder):
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT lower('É')").fetchone() == ("é",)


def test_a_long_path_still_has_a_socket(new_folder):
    with EmbeddedPostgres(new_folder / ("long" * 30)) as server:
        write(server)
        socket_folder = Path(server.url.rpartition("host=")[2].replace("%2F", "/"))
        assert read(server) == "value"

    assert not socket_folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives Postgres another account")
def test_postgres_runs_for_root_without_opening_roots_folders(new_folder):
    closed = new_folder / "closed"
    closed.mkdir(mode=0o700)

    with EmbeddedPostgres(closed / "state") as server:
        write(server)
        assert read(server) == "value"
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        modes = closed.stat().st_mode & 0o777, server.home.stat().st_mode & 0o777

    shutil.rmtree(server.home)
    assert modes == (0o700, 0o700)


def test_valkey_refuses_whoever_has_no_password(new_folder):
    with EmbeddedValkey(new_folder) as server:
        without_password = re.sub(r":[^@/]+@", "", server.url, count=1)

        with redis.Redis.from_url(without_password) as connection, pytest.raises(redis.AuthenticationError):
            connection.ping()


def test_addresses_in_the_environment_take_the_servers_place(new_folder, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/app")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere/3")

    with embedded_postgres(new_folder) as postgres, embedded_valkey(new_folder) as valkey:
        urls = postgres.url, valkey.url

    assert urls == ("postgresql://elsewhere/app", "redis://elsewhere/3")
    assert not list(new_folder.iterdir())
