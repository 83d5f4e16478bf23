"""Measures the cost of a run: CPU time by part, peak memory of the workers, WAL, and the machine's load."""

import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import psycopg

from scripts.benchmark import processes

# The kernel itself records the peak (VmHWM). Only what a process gains in its last moments is missed.
LOOK_EVERY_S = 0.25
OURSELVES = "this benchmark"
TOTAL_EVERY_S = 1.0  # adding up shared pages costs the kernel a millisecond per process


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of a run. `cpu_s` is by part; memory is in MB."""

    wall_s: float
    cpu_s: Mapping[str, float]
    others_cpu_s: float  # of processes outside this measurement: noise
    wal_bytes: int
    peak_mb: Mapping[str, float]  # the largest process of each part
    total_mb: float  # all watched processes together, shared pages counted once
    load_average: tuple[float, float]  # before and after


@dataclass(slots=True)
class Watch:
    """Watches the memory of some process trees while they work."""

    roots: Mapping[str, int]
    peaks: dict[str, float] = field(default_factory=dict)
    total_mb: float = 0.0
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._look_around, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        assert self._thread
        self._stopped.set()
        self._thread.join()
        self._look()

    def _look_around(self) -> None:
        total_at = 0.0
        while not self._stopped.wait(LOOK_EVERY_S):
            self._look()
            if time.monotonic() >= total_at:
                total_at = time.monotonic() + TOTAL_EVERY_S
                pids = [pid for root in self.roots.values() for pid in processes.tree(root)]
                self.total_mb = max(self.total_mb, sum(map(processes.proportional_mb, pids)))

    def _look(self) -> None:
        for name, root in self.roots.items():
            largest = max(map(processes.peak_mb, processes.tree(root)))
            self.peaks[name] = max(self.peaks.get(name, 0.0), largest)


class Meter:
    """Call `start` and `stop` around the work.

    `roots` are the parts' first processes; `watched` those measured for memory.
    """

    def __init__(self, database_url: str, roots: Mapping[str, int], watched: Iterable[str] = ()) -> None:
        self._database_url = database_url
        self._roots = roots
        self._watch = Watch({name: roots[name] for name in watched})

    def start(self) -> None:
        # Postgres writes a whole page at its first change after a checkpoint, so every run begins right after one.
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        self._load_before = os.getloadavg()[0]
        if self._watch.roots:
            self._watch.start()
        self._wal_before = self._wal_position()
        self._cpu_before = self._cpu()
        self._busy_before = processes.machine_busy_s()
        self._started = time.monotonic()

    def stop_clock(self) -> None:
        """Ends the time that the user waits. CPU time still counts until `stop`."""
        self._wall_s = time.monotonic() - self._started
        self._wal_after = self._wal_position()

    def stop(self) -> Usage:
        """Call this when the processes are idle again."""
        cpu = self._cpu()
        busy = processes.machine_busy_s() - self._busy_before
        used = {name: cpu[name] - self._cpu_before[name] for name in cpu}
        if self._watch.roots:
            self._watch.stop()
        return Usage(
            wall_s=self._wall_s,
            cpu_s=used,
            others_cpu_s=max(0.0, busy - sum(used.values())),
            wal_bytes=self._wal_after - self._wal_before,
            peak_mb=dict(self._watch.peaks),
            total_mb=self._watch.total_mb,
            load_average=(self._load_before, os.getloadavg()[0]),
        )

    def _cpu(self) -> dict[str, float]:
        # Without our children, which are the parts.
        own = {OURSELVES: processes.own_and_collected(os.getpid()) / processes.TICKS_PER_S}
        return own | {name: processes.cpu_s(pid) for name, pid in self._roots.items()}

    def _wal_position(self) -> int:
        with psycopg.connect(self._database_url) as connection:
            row = connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
        assert row
        return int(row[0])
