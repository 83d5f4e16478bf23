"""Redis behind Sentinels: when the master dies, web, workers and scheduler go on with the next one."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from scripts.local.processes import wait_until
from scripts.local.servers import temporary_state_dir
from tests.end_to_end.product import running_installation
from tests.servers.conftest import find_program, require_servers

MASTER, PASSWORD = "billstack", "a-password"
COUNTS = {"customer": 600, "product": 5, "price": 10, "subscription": 500, "invoice": 600, "charge": 800}


class Servers:
    """A master, its replica and three Sentinels, Debian's, in a folder."""

    def __init__(self, folder: Path, programs: tuple[Path, Path], stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._server, self._sentinel = programs
        self.redis_ports = [free_port() for _ in range(2)]
        self.sentinel_ports = [free_port() for _ in range(3)]
        own = ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--save", "", "--bind", "127.0.0.1"]
        replica = ["--replicaof", "127.0.0.1", str(self.redis_ports[0])]
        self.processes = [
            self._start(self._server, "--port", str(port), *own, *(replica if number else ()))
            for number, port in enumerate(self.redis_ports)
        ]
        for port in self.sentinel_ports:
            self._start(self._sentinel, str(self._config(port)))

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)
        return f"redis+sentinel://:{PASSWORD}@{hosts}/{MASTER}"

    def are_ready(self) -> bool:
        """A failover needs Sentinels that know of each other and of the replica."""
        try:
            found = [self._known(port) for port in self.sentinel_ports]
        except redis.RedisError:
            return False
        return found == [(1, 2)] * 3

    def _known(self, port: int) -> tuple[int, int]:
        with redis.Redis(port=port) as client:
            state = client.sentinel_masters()[MASTER]
        return state["num-slaves"], state["num-other-sentinels"]

    def kill_master(self) -> None:
        self.processes[0].send_signal(signal.SIGKILL)

    def _config(self, port: int) -> Path:
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f"dir {self._folder}",
            f"sentinel monitor {MASTER} 127.0.0.1 {self.redis_ports[0]} 2",
            f"sentinel auth-pass {MASTER} {PASSWORD}",
            f"sentinel down-after-milliseconds {MASTER} 1000",
            f"sentinel failover-timeout {MASTER} 5000",
        ]
        path = self._folder / f"sentinel-{port}.conf"
        path.write_text("\n".join([*lines, ""]))
        return path

    def _start(self, *command: object) -> "subprocess.Popen[bytes]":
        log = self._stack.enter_context((self._folder / "redis.log").open("ab"))
        process = subprocess.Popen([str(each) for each in command], stdout=log, stderr=log, cwd=self._folder)
        self._stack.callback(process.wait, 10)
        self._stack.callback(process.kill)
        return process


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    programs = find_program("/usr/bin/redis-server"), find_program("/usr/bin/redis-sentinel")
    require_servers(request.config, "Redis' Sentinel (apt install redis-sentinel)", all(programs))
    assert programs[0]
    assert programs[1]
    with temporary_state_dir() as folder, ExitStack() as stack:
        started = Servers(folder, (programs[0], programs[1]), stack)
        wait_until(started.are_ready, 30)
        assert started.are_ready()
        yield started


@pytest.mark.slow
def test_a_backfill_goes_on_exact_when_the_master_dies(servers: Servers) -> None:
    @contextmanager
    def between(_: object) -> Iterator[Mapping[str, str]]:
        yield {"REDIS_URL": servers.url}

    with temporary_state_dir() as folder, running_installation(folder, between=between) as installation:
        product = installation.new_team("watched", counts=COUNTS)
        installation.stack.flask("operator", "--email", product.email)
        product.slow_stripe(300)
        product.client.start_backfill(product.team_id)
        product.wait_for(lambda status: status["result"]["charge"]["synced"] > 0)

        servers.kill_master()
        began = time.monotonic()
        product.slow_stripe(0)
        status = product.wait_while_syncing(120)
        assert status["syncStatus"] == "ready", status
        assert time.monotonic() - began < 60
        assert product.differences() == []

        # Nothing of ours is left on the old master: all of it works without.
        ready = product.client.call("GET", "/readyz")
        assert ready == {"ready": True}
        assert product.backfill()["syncStatus"] == "ready"
        with redis.Redis(port=servers.redis_ports[1], password=PASSWORD) as master:
            assert master.info("replication")["role"] == "master"
            assert master.smembers("rq:workers")
