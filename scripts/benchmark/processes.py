"""CPU time and memory of processes and all their descendants, from Linux' /proc.

CPU time is exact even for dead children: the kernel adds a child's time to its parent's when the parent collects it. So
the sum of `own + collected children` over a tree counts every process that was ever in it exactly once, to the kernel's
10 ms. So RQ's work-horses, one per job, are counted although they are gone.
"""

import os
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MB = 1024.0  # of the kB that /proc speaks in


def is_readable() -> bool:
    """Whether this system has a /proc that lists children."""
    return (PROC / "self" / "task" / str(os.getpid()) / "children").exists()


def tree(pid: int) -> list[int]:
    """The process and its living descendants, parents before children."""
    found = [pid]
    for parent in found:
        found += children(parent)
    return found


def children(pid: int) -> list[int]:
    """Of all threads, because a child belongs to the thread that started it."""
    try:
        paths = list((PROC / str(pid) / "task").glob("*/children"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # it ended while we looked
        return []
    return [int(child) for path in paths for child in read(path).split()]


def cpu_s(pid: int) -> float:
    """User and system time of the tree since it began, including its dead members."""
    while True:
        pids = tree(pid)
        total = sum(own_and_collected(each) for each in pids)
        if tree(pid) == pids:  # nobody died and moved time to its parent while we added
            return total / TICKS_PER_S


def own_and_collected(pid: int) -> int:
    """utime, stime, cutime and cstime of /proc/PID/stat, in ticks."""
    fields = read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def peak_mb(pid: int) -> float:
    """The most memory that the process ever had resident (VmHWM). 0 if it is gone."""
    for line in read(PROC / str(pid) / "status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / MB
    return 0.0


def proportional_mb(pid: int) -> float:
    """What is resident now, with shared pages divided among their processes (Pss). 0 if it is gone."""
    for line in read(PROC / str(pid) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / MB
    return 0.0


def machine_busy_s() -> float:
    """Seconds that all CPUs together have worked, or were taken by other guests of the host, since the start."""
    user, nice, system, _, _, irq, soft_irq, steal = map(int, read(PROC / "stat").split()[1:9])
    return (user + nice + system + irq + soft_irq + steal) / TICKS_PER_S


def read(path: Path) -> str:
    """Empty if the process has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
