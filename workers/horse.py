"""A process that runs one job after the other for its worker, and outlives none of its worker's doubts.

RQ forks a process for each job: it ends what hangs, and a job that dies takes nothing with it. Forking, and connecting anew to
Postgres, Redis and Stripe, costs a small team's job more than its work. So the process is kept until it dies, grows or has
run many jobs; the worker watches, times out and kills it as before.
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

# Then a new one takes its place: what a library leaks is bounded, and so is what one large job left in memory.
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
    """The worker's end. `serve` runs in the child for each call."""

    def __init__(self, serve: Callable[[Call], None], prepare: Callable[[], None]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _work(theirs, serve, prepare)
        theirs.close()
        self._pipe = ours

    def run(self, call: Call) -> bool:
        """False: it has died or left, and runs nothing."""
        try:
            if self._pipe.recv(1, socket.MSG_DONTWAIT) in (b"", _LEAVING):
                return False
        except BlockingIOError:
            pass  # it has just been started, and waits
        except OSError:
            return False
        try:
            self._pipe.send(json.dumps([call.job_id, call.queue, call.execution_id]).encode())
        except OSError:
            return False
        return True

    def wait(self) -> bool:
        """Until the job is over; False: the horse has died instead. May be interrupted by an exception, and begun again."""
        try:
            return self._pipe.recv(1, socket.MSG_PEEK) in (_DONE, _LEAVING)
        except ConnectionResetError:
            return False  # it died before it had read the call

    def dismiss(self) -> None:
        """It ends by itself once nobody is there to call it; one that does not is killed."""
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
    """The child's life: it ends with its worker, and never runs the worker's own code."""
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
    """At its peak: what malloc gave back may be needed again. A forked process begins with what its worker holds."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
