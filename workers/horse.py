"""A child process that runs a worker's jobs one after the other.

RQ forks a process for each job, so that the worker can kill a hanging job and survives one that dies. For a small
team's job, the fork and the new connections to Postgres, Redis and Stripe cost more than the work. So this process is
kept until it dies, has grown, or has run many jobs. The worker still watches it, times it out and kills it.
"""

import contextlib
import json
import os
import resource
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

# After this many a new process replaces it, which bounds what libraries leak and what one large job left in memory.
MOST_JOBS = 1000
MOST_GROWTH_MB = 150
_LONGEST_CALL = 4096
_DONE, _LEAVING = b"d", b"l"
_LEAVES_WITHIN_S = 3


@dataclass(frozen=True, slots=True)
class Call:
    """Names the job to run, as the worker found it."""

    job_id: str
    queue: str
    execution_id: str


class Horse:
    """The worker's end of the pipe. In the child, `serve` runs each call."""

    def __init__(self, serve: Callable[[Call], None], prepare: Callable[[], None]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _work(theirs, serve, prepare)
        theirs.close()
        self._pipe = ours

    def run(self, call: Call) -> bool:
        """Returns False if the process has died or left, and runs nothing."""
        try:
            if self._pipe.recv(1, socket.MSG_DONTWAIT) in (b"", _LEAVING):
                return False
        except BlockingIOError:
            pass  # it was just started and is waiting
        except OSError:
            return False
        try:
            self._pipe.send(json.dumps([call.job_id, call.queue, call.execution_id]).encode())
        except OSError:
            return False
        return True

    def wait(self) -> bool:
        """Waits until the job is done. Returns False if the process died instead.

        An exception may interrupt it; it can then be called again.
        """
        try:
            return self._pipe.recv(1, socket.MSG_PEEK) in (_DONE, _LEAVING)
        except ConnectionResetError:
            return False  # it died before it read the call

    def dismiss(self) -> None:
        """Closes the pipe, which ends the process. Kills it if it does not end."""
        self._pipe.close()
        with contextlib.suppress(ChildProcessError):
            if not _ended_within(self.pid, _LEAVES_WITHIN_S):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)


def _ended_within(pid: int, seconds: float) -> bool:
    pidfd = os.pidfd_open(pid)
    try:
        return bool(select.select([pidfd], [], [], seconds)[0]) and os.waitpid(pid, 0)[0] == pid
    finally:
        os.close(pidfd)


def _work(pipe: socket.socket, serve: Callable[[Call], None], prepare: Callable[[], None]) -> NoReturn:
    """The child's life. It ends with its worker and never runs the worker's own code."""
    code = 1
    try:
        os.setpgrp()
        prepare()
        most_mb = _memory_mb() + MOST_GROWTH_MB
        for number in range(MOST_JOBS):
            message = pipe.recv(_LONGEST_CALL)
            if not message:
                break
            serve(Call(*json.loads(message)))
            leaving = number == MOST_JOBS - 1 or _memory_mb() > most_mb
            pipe.send(_LEAVING if leaving else _DONE)
            if leaving:
                break
        code = 0
    except BrokenPipeError:
        code = 0  # the worker is gone
    finally:
        os._exit(code)


def _memory_mb() -> float:
    """The peak: memory that malloc returned may be needed again.

    A forked process starts with what its worker holds.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
