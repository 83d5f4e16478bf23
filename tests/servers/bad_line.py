"""A line between two namespaces that delays and loses packets, as `tc netem` would where the kernel has it.

Run as `python -m tests.servers.bad_line NAMESPACE ADDRESS NAMESPACE ADDRESS`. Each end gets a TUN device named `bad`.
"""

import collections
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.run_procfile import ROOT
from tests.servers.hosts import inside, ip

ONE_WAY_S = 0.1
LOSS = 0.02
_NAME = "bad"
_READY = "line.ready"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_LARGEST = 65_536


@contextmanager
def bad_line(namespace: str, address: str, other: str, other_address: str) -> Iterator[None]:
    """There while the block runs."""
    command = [sys.executable, "-m", "tests.servers.bad_line", namespace, address, other, other_address]
    line = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert line.stdout
        assert line.stdout.readline().strip() == _READY
        yield
    finally:
        line.kill()
        line.wait()


class _Direction:
    """Packets on their way from one end to the other."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd, self._write_fd = read_fd, write_fd
        self._under_way: collections.deque[tuple[float, bytes]] = collections.deque()

    def take(self) -> None:
        packet = os.read(self.read_fd, _LARGEST)
        if random.random() >= LOSS:
            self._under_way.append((time.monotonic() + ONE_WAY_S, packet))

    def deliver(self) -> float:
        """Hands over what has arrived. Returns how long until the next packet does."""
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            os.write(self._write_fd, self._under_way.popleft()[1])
        return self._under_way[0][0] - time.monotonic() if self._under_way else ONE_WAY_S


def main(namespace: str, address: str, other: str, other_address: str) -> None:
    ends = _open_end(namespace, address, other_address), _open_end(other, other_address, address)
    directions = _Direction(*ends), _Direction(*reversed(ends))
    sys.stdout.write(f"{_READY}\n")
    sys.stdout.flush()
    while True:
        wait_s = min(direction.deliver() for direction in directions)
        readable, _, _ = select.select(ends, [], [], max(0.0, wait_s))
        for direction in directions:
            if direction.read_fd in readable:
                direction.take()


def _open_end(namespace: str, address: str, peer: str) -> int:
    with inside(namespace):
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", _NAME.encode(), _IFF_TUN | _IFF_NO_PI))
    ip("-n", namespace, "addr", "add", address, "peer", peer, "dev", _NAME)
    ip("-n", namespace, "link", "set", _NAME, "up")
    return fd


if __name__ == "__main__":
    main(*sys.argv[1:])
