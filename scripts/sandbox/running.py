"""Starts a sandbox as a process of its own, for tests, the demo and the benchmark, and stops it with its parent."""

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_ROOT = Path(__file__).resolve().parents[2]
_READY = "sandbox.ready url="


class SandboxProcess:
    """`with SandboxProcess("--scale", "10") as sandbox: sandbox.url`. The arguments are the command line's.

    The child reads its stdin to the end and stops there, so that it never outlives us, however we die.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.sandbox", "--watch-stdin", *self._arguments],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line.startswith(_READY):
            self.stop()
            raise RuntimeError(f"the sandbox did not start: {line or 'it ended at once'}")
        self.url = line.removeprefix(_READY)
        return self

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        self._process.communicate(timeout=10)
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
