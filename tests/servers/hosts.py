"""Three hosts on one machine: network namespaces on a bridge. Needs root and iproute2.

The test's own thread is on the host `servers`, as are the processes that it starts there. The bridge stands for the
switch between them. Without it, the kernel would see that a cut host's packets go nowhere, and treat them differently.
"""

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.benchmark.processes import tree
from scripts.local.postgres import EmbeddedPostgres
from scripts.local.stack import Stack, listen, run_flask, wait_until_ready, web_settings
from scripts.local.valkey import EmbeddedValkey
from scripts.run_procfile import LogFiles, ProcfileRunner, read_procfile
from scripts.sandbox.running import SandboxProcess
from tests.end_to_end.product import Installation, new_secret_key

SERVERS = "10.77.0.1"
_BRIDGE = "switch"
_CLONE_NEWNET = 0x40000000  # sched.h
_NOBODYS_MAC = "02:00:00:00:00:99"
_ON_WORKER_HOSTS = ("worker", "events", "scheduler")


def can_make_hosts() -> bool:
    return os.geteuid() == 0 and shutil.which("ip") is not None


@dataclass(frozen=True, slots=True)
class Host:
    """A worker host. `port` is the bridge's end of its cable."""

    namespace: str
    servers: str
    port: str
    address: str
    processes: list[ProcfileRunner] = field(default_factory=list)

    def cut(self) -> None:
        ip("-n", self.servers, "link", "set", self.port, "down")

    def half_cut(self) -> None:
        """It can send and hears nothing: the servers' frames go to a network card that nobody has."""
        ip("-n", self.servers, "neigh", "replace", self.address, "lladdr", _NOBODYS_MAC, "dev", _BRIDGE)

    def mend(self) -> None:
        ip("-n", self.servers, "link", "set", self.port, "up")
        ip("-n", self.servers, "neigh", "flush", "to", self.address, "nud", "all", "dev", _BRIDGE)

    def pids(self) -> set[int]:
        return {pid for runner in self.processes for process in runner.pids().values() for pid in tree(process)}


@dataclass(frozen=True, slots=True)
class Network:
    """The namespaces. `servers` is the name of the one in which the test's thread is."""

    servers: str
    workers: list[Host]


@contextmanager
def three_hosts() -> Iterator[Network]:
    name = f"billstack-{secrets.token_hex(3)}"
    names = [f"{name}-servers", f"{name}-1", f"{name}-2"]
    with ExitStack() as stack:
        for each in names:
            ip("netns", "add", each)
            stack.callback(ip, "netns", "del", each)
            ip("-n", each, "link", "set", "lo", "up")
        ip("-n", names[0], "link", "add", _BRIDGE, "type", "bridge")
        ip("-n", names[0], "addr", "add", f"{SERVERS}/24", "dev", _BRIDGE)
        ip("-n", names[0], "link", "set", _BRIDGE, "up")
        workers = [_connect(names[0], each, number) for number, each in enumerate(names[1:], 1)]
        with inside(names[0]):
            yield Network(names[0], workers)


def _connect(servers: str, namespace: str, number: int) -> Host:
    port, address = f"worker{number}", f"10.77.0.{number + 1}"
    ip("-n", servers, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    ip("-n", servers, "link", "set", port, "master", _BRIDGE, "up")
    ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
    ip("-n", namespace, "link", "set", "eth0", "up")
    return Host(namespace, servers, port, address)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Puts this thread, and processes and threads that it starts, on that host."""
    with Path("/proc/thread-self/ns/net").open() as before, Path("/run/netns", namespace).open() as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(before.fileno())


def _enter(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


# What runs on them ------------------------------------------------------------------------------------------------------


class ReachableValkey(EmbeddedValkey):
    """Also listens on the servers' address."""

    def _prepare(self) -> None:
        super()._prepare()
        with self._config.open("a") as config:
            config.write(f"bind 127.0.0.1 {SERVERS}\n")


def postgres_at(address: str) -> str:
    return f"postgresql://postgres@{address}:5432/postgres"


@contextmanager
def running_hosts(
    folder: Path,
    network: Network,
    *sandbox_arguments: str,
    settings: Mapping[str, str] | None = None,
    of_workers: Sequence[Mapping[str, str]] = ({}, {}),
    postgres_kind: type[EmbeddedPostgres] = EmbeddedPostgres,
) -> Iterator[Installation]:
    """Postgres, Redis, the sandbox and the web on `servers`; workers, events and a scheduler on each other host.

    `of_workers` are further settings of each worker host.
    """
    hba = folder / "hba.conf"
    hba.write_text("local all all trust\nhost all all 0.0.0.0/0 trust\n")
    hba.chmod(0o644)
    listening = listen()
    with (
        listening,
        SandboxProcess("--host", SERVERS, *sandbox_arguments) as sandbox,
        postgres_kind(folder, settings={"listen_addresses": "*", "hba_file": str(hba)}) as postgres,
        ReachableValkey(folder) as redis,
        ExitStack() as stack,
    ):
        env = {
            **os.environ,
            **(settings or {}),
            "BILLSTACK_SECRET_KEY": new_secret_key(),
            "STRIPE_API_BASE": sandbox.url,
            "DATABASE_URL": postgres_at(SERVERS),
            "REDIS_URL": redis.url.replace("127.0.0.1", SERVERS),
            **web_settings(listening),
        }
        run_flask(env, "init-db")
        logs = folder / "logs"
        procfile = read_procfile()
        web = stack.enter_context(
            ProcfileRunner(
                {"web": procfile["web"]},
                env=env,
                output=LogFiles(logs),
                on_event=print,
                pass_fds={"web": [listening.fileno()]},
            )
        )
        for host, theirs in zip(network.workers, of_workers, strict=True):
            with inside(host.namespace):
                runner = ProcfileRunner(
                    {name: procfile[name] for name in _ON_WORKER_HOSTS},
                    env=env | dict(theirs),
                    output=LogFiles(logs / host.port),
                    on_event=print,
                )
                stack.enter_context(runner)
            host.processes.append(runner)
            stack.callback(host.processes.clear)
            stack.callback(host.mend)
        url = env["BILLSTACK_PUBLIC_URL"]
        wait_until_ready(url, web)
        yield Installation(Stack(url, postgres, redis, web, env, logs), sandbox)
