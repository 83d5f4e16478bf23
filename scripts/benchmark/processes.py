"""Processor time and memory of processes and of all that they started, from Linux' /proc.

Processor time is exact for dead children too: the kernel adds a child's time to its parent's when the parent collects
it, so the sum over a tree of `own + collected children` has every process that ever was in it exactly once, to the
10 ms in which the kernel counts. That is how RQ's work-horses, one a job, are seen although they are gone.
"""

import os
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MB = 1024.0  # of the kB that /proc speaks in


def is_readable() -> bool:
    """Whether this system has a /proc that tells of children."""
    return (PROC / "self" / "task" / str(os.getpid()) / "children").exists()


def tree(pid: int) -> list[int]:
    """The process and its living descendants, parents before children."""
    found = [pid]
    for parent in found:
        found += children(parent)
    return found


def children(pid: int) -> list[int]:
    """Of all threads: a child belongs to the thread that started it."""
    try:
        paths = list((PROC / str(pid) / "task").glob("*/children"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # it ended while we looked
        return []
    return [int(child) for path in paths for child in read(path).split()]


def cpu_s(pid: int) -> float:
    """User and system time of the tree since it began, dead members included."""
    while True:
        pids = tree(pid)
        total = sum(own_and_collected(each) for each in pids)
        if tree(pid) == pids:  # nobody died and moved his time to his parent while we added up
            return total / TICKS_PER_S


def own_and_collected(pid: int) -> int:
    """utime, stime, cutime and cstime of /proc/PID/stat, in ticks."""
    fields = read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def peak_mb(pid: int) -> float:
    """The most memory that the process ever had resident (VmHWM); 0 for one that is gone."""
    for line in read(PROC / str(pid) / "status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / MB
    return 0.0


def proportional_mb(pid: int) -> float:
    """What is resident now, pages that several processes share divided among them (Pss); 0 for one that is gone."""
    for line in read(PROC / str(pid) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / MB
    return 0.0


def machine_busy_s() -> float:
    """Seconds that all processors together have worked, or were held by other guests of the host, since the start."""
    user, nice, system, _, _, irq, soft_irq, steal = map(int, read(PROC / "stat").split()[1:9])
    return (user + nice + system + irq + soft_irq + steal) / TICKS_PER_S


def read(path: Path) -> str:
    """Empty for a process that has ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
