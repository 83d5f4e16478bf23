"""How fast one web process takes events in, measured beside what an fsync costs on this disk at the same time."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from scripts.local.servers import embedded_postgres, embedded_valkey, temporary_state_dir
from scripts.local.stack import answers, run_flask
from scripts.local.valkey import free_port
from scripts.run_procfile import ROOT
from scripts.sandbox.courier import signature
from sync.teams.connections import Connections
from sync.teams.secrets import SecretBox
from tests.factories import charge, encoded, event

SECRET, BOX_KEY = "whsec_speed", b"k" * 32
CONNECTIONS = 32
LASTS_S = 10


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with temporary_state_dir() as folder:
        yield folder


@pytest.fixture(scope="module")
def web(folder) -> Iterator[tuple[str, str]]:
    """The address of a web of one process, on servers that fsync, and a connected team's id."""
    port = free_port()
    with embedded_postgres(folder) as postgres, embedded_valkey(folder) as valkey:
        env = {
            **os.environ,
            "DATABASE_URL": postgres.url,
            "REDIS_URL": valkey.url,
            "BILLSTACK_SECRET_KEY": base64.b64encode(BOX_KEY).decode(),
            "BILLSTACK_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "PORT": str(port),
        }
        run_flask(env, "init-db")
        team_id = json.loads(run_flask(env, "create-user", "--email", "a@x.org", "--password", "correct horse"))[
            "teamId"
        ]
        connect(postgres.url, team_id)
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--config",
            "api/gunicorn.py",
            "--workers",
            "1",
            "api:create_app()",
        ]
        with (folder / "web.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stderr=log)
            while not answers(f"http://127.0.0.1:{port}/readyz"):
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}", team_id
            process.terminate()
            process.wait(30)


def connect(database_url: str, team_id: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        Connections(connection, SecretBox((BOX_KEY,))).put(
            team_id,
            account_id="acct_1Test",
            account_name=None,
            livemode=False,
            secret_key="sk_test_demo",
            publishable_key=None,
            webhook_secret=SECRET,
        )


@pytest.mark.slow
def test_one_process_takes_500_events_a_second(web, record_property):
    seconds, latencies = deliver(web, events=500 * LASTS_S, per_second=None)

    rate = len(latencies) / seconds
    record_property("events_per_second", rate)
    assert rate >= 500


@pytest.mark.slow
def test_at_200_a_second_p99_is_20_ms_and_two_fsyncs(web, folder, record_property):
    fsyncs = Fsyncs(folder)

    _, latencies = deliver(web, events=200 * LASTS_S, per_second=200)

    fsync_ms, found_ms = p99_ms(fsyncs.stop()), p99_ms(latencies)
    record_property("p50_ms", sorted(latencies)[len(latencies) // 2] * 1e3)
    assert found_ms <= 20 + 2 * fsync_ms, f"p99 {found_ms:.1f} ms, fsync p99 {fsync_ms:.1f} ms"


class Fsyncs:
    """Writes and syncs a few hundred bytes every 20 ms, on the disk of Postgres, until it is stopped."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "fsync").open("wb", buffering=0)
        self._stopped = threading.Event()
        self._took_s: list[float] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(0.02):
            self._file.write(b"x" * 500)
            began = time.perf_counter()
            os.fdatasync(self._file.fileno())
            self._took_s.append(time.perf_counter() - began)

    def stop(self) -> list[float]:
        self._stopped.set()
        self._thread.join()
        self._file.close()
        return self._took_s


def p99_ms(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)] * 1e3


def deliver(web: tuple[str, str], *, events: int, per_second: float | None) -> tuple[float, list[float]]:
    """How long all of it took, and the latency of each; due at even distances when `per_second` is given."""
    url, team_id = web
    address = urlsplit(url)
    made = [request_of(encoded(event(charge(), id=f"evt_{time.time_ns()}")), team_id) for _ in range(events)]
    return asyncio.run(_deliver(address.hostname or "", address.port or 0, made, per_second))


def request_of(body: bytes, team_id: str) -> bytes:
    head = (
        f"POST /api/webhooks/stripe/{team_id} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Stripe-Signature: {signature(body, SECRET, int(time.time()))}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _deliver(host: str, port: int, made: list[bytes], per_second: float | None) -> tuple[float, list[float]]:
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    latencies: list[float] = []

    async def post() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        while True:
            due, request = await waiting.get()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            latencies.append(time.perf_counter() - due)
            waiting.task_done()

    clients = [asyncio.create_task(post()) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for number, request in enumerate(made):
        if per_second:
            await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
        waiting.put_nowait((time.perf_counter(), request))
    await waiting.join()
    took_s = time.perf_counter() - began
    for client in clients:
        client.cancel()
    return took_s, latencies
