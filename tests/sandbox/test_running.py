"""A sandbox process stops with whoever started it."""

import os
import signal
import subprocess
import sys
import time

import psutil

from scripts.local.keeper import is_running
from scripts.sandbox.running import SandboxProcess

_STARTS_ONE_AND_WAITS = """
import time
from scripts.sandbox.running import SandboxProcess
print(SandboxProcess("--scale", "0").start().pid, flush=True)
time.sleep(60)
"""


def test_it_is_gone_after_the_with_block() -> None:
    with SandboxProcess("--scale", "0") as sandbox:
        pid = sandbox.pid

    assert not psutil.pid_exists(pid)


def test_it_stops_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _STARTS_ONE_AND_WAITS], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())

    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()

    end = time.monotonic() + 30
    while is_running(pid):
        assert time.monotonic() < end, "the sandbox outlived its parent"
        time.sleep(0.02)
