"""All of BillStack on this machine: servers, database, web and workers. For the demo, end-to-end tests and bench."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from scripts.local.servers import EmbeddedPostgres, EmbeddedValkey, ExternalServer, embedded_postgres, embedded_valkey
from scripts.run_procfile import ROOT, LogFiles, ProcfileRunner, read_procfile

READY_TIMEOUT_S = 60.0
POLL_S = 0.1
LOOPBACK = "127.0.0.1"  # for this machine only


Between = Callable[[EmbeddedPostgres | ExternalServer], AbstractContextManager[Mapping[str, str]]]


class StackError(Exception):
    """A part did not start or work. The text is for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The running parts. `env` is the environment of its processes, for `flask --app api ...`."""

    url: str
    postgres: EmbeddedPostgres | ExternalServer
    redis: EmbeddedValkey | ExternalServer
    processes: ProcfileRunner
    env: Mapping[str, str]
    log_dir: Path

    def flask(self, *arguments: str, says: str = "") -> str:
        """Runs `flask --app api ARGUMENTS` with `says` as its standard input, and returns its output."""
        return run_flask(self.env, *arguments, says=says)


@contextmanager
def running_stack(
    state_dir: Path,
    *,
    settings: Mapping[str, str],
    listener: socket.socket | None = None,
    durable: bool = True,
    postgres_kind: type[EmbeddedPostgres] = EmbeddedPostgres,
    gunicorn: str = "",
    between: Between = lambda _: nullcontext({}),
    on_event: Callable[[str], None] = print,
) -> Iterator[Stack]:
    """Starts everything, waits until it answers, and stops it at the end.

    Args:
        settings: the settings other than addresses: BILLSTACK_SECRET_KEY, STRIPE_API_BASE...
        listener: the socket that the web accepts on, closed at the end; by default on a free port.
        gunicorn: further command-line options of the web.
        between: starts a pooler for Postgres, or another Redis, and returns the settings with their addresses.
        on_event: gets a sentence when a process has died and is being restarted.

    Raises:
        StackError, ServerError: a part does not start.
    """
    with (
        listener or listen() as listening,
        embedded_postgres(state_dir, durable, kind=postgres_kind) as postgres,
        embedded_valkey(state_dir, durable) as redis,
        between(postgres) as addresses,
    ):
        servers = {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url, **addresses}
        env = {**os.environ, **settings, **servers, **web_settings(listening, gunicorn)}
        run_flask(env, "init-db")
        url, logs = env["BILLSTACK_PUBLIC_URL"], LogFiles(state_dir / "logs")
        fds = {"web": [listening.fileno()]}
        with ProcfileRunner(read_procfile(), env=env, output=logs, on_event=on_event, pass_fds=fds) as processes:
            wait_until_ready(url, processes)
            yield Stack(url, postgres, redis, processes, env, state_dir / "logs")


def web_settings(listening: socket.socket, gunicorn: str = "") -> dict[str, str]:
    """The web's own part of the environment."""
    port = listening.getsockname()[1]
    return {
        "PORT": str(port),
        "BILLSTACK_PUBLIC_URL": f"http://{LOOPBACK}:{port}",
        "GUNICORN_CMD_ARGS": f"--bind fd://{listening.fileno()} {gunicorn}",
    }


def listen(port: int = 0) -> socket.socket:
    """Takes a port of this machine (0: a free one) at once: until the web starts, somebody else might take it.

    Raises:
        OSError: it is taken.
    """
    return socket.create_server((LOOPBACK, port), backlog=2048)  # gunicorn's own number; it does not set it again


def run_flask(env: Mapping[str, str], *arguments: str, says: str = "") -> str:
    command: Sequence[str] = [sys.executable, "-m", "flask", "--app", "api", *arguments]
    done = subprocess.run(command, env=env, cwd=ROOT, input=says, capture_output=True, text=True, check=False)
    if done.returncode:
        # Only the name: arguments may be confidential.
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise StackError(f"flask --app api {arguments[0]} failed: {reason[0]}")
    return done.stdout


def wait_until_ready(url: str, processes: ProcfileRunner) -> None:
    """Returns when /readyz answers 200.

    Raises:
        StackError: a process cannot start, or it takes too long.
    """
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not answers(f"{url}/readyz"):
        if problem := processes.given_up():
            raise StackError(problem)
        if time.monotonic() > deadline:
            raise StackError(f"{url}/readyz did not answer 200 within {READY_TIMEOUT_S:.0f} s")
        time.sleep(POLL_S)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
