"""Ends the processes that a program started once that program is gone, even after `kill -9`.

processes.py starts it and writes session ids to its stdin, one per line: `+SID SIGNAL` guards a session and names the
signal that asks its leader to end; `-SID` forgets it.
The end of stdin means the end of the program: it has died or is done.
A pipe works on every Unix and needs no living thread, unlike PR_SET_PDEATHSIG. Sessions, unlike process groups, also
contain the work-horses that RQ forks into groups of their own.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

# Postgres and Valkey write a checkpoint when asked to end. Anything still running after this is killed.
GRACE_S = 10.0
POLL_S = 0.05
HAS_PROC = Path("/proc/self/stat").exists()


def main() -> None:
    # Ctrl-C and a closed terminal reach the whole foreground. The keeper must outlive them.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    guarded: dict[int, int] = {}
    for line in sys.stdin:
        if line.startswith("+"):
            session, stop_signal = map(int, line[1:].split())
            guarded[session] = stop_signal
        else:
            guarded.pop(int(line[1:]), None)
    for leader, stop_signal in guarded.items():
        send(leader, stop_signal)
    deadline = time.monotonic() + GRACE_S
    while any(map(is_running, guarded)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    kill_sessions(guarded)


def kill_sessions(sessions: Iterable[int]) -> None:
    """Kills the processes of these sessions until none is left."""
    while left := members(sessions):
        for pid in left:
            send(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def is_running(pid: int) -> bool:
    """False for a zombie, which only waits for its parent."""
    if not HAS_PROC:
        return send(pid, 0)
    stat = read_stat(pid)
    return stat is not None and stat[0] != "Z"


def members(sessions: Iterable[int]) -> set[int]:
    """The running processes of these sessions. Without /proc (macOS), at least their leaders."""
    wanted = set(sessions)
    if not HAS_PROC:
        return {session for session in wanted if is_running(session)}
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return {pid for pid in pids if session_of(pid) in wanted and is_running(pid)}


def session_of(pid: int) -> int | None:
    stat = read_stat(pid)
    return int(stat[3]) if stat else None


def read_stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on (state, parent, group, session...). None if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def send(pid: int, signal_number: int) -> bool:
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
