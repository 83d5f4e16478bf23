"""Starts a sandbox for tests, the demo and the benchmark, as a process or in a thread of this process."""

import asyncio
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from scripts.sandbox.sandbox import Sandbox
from scripts.sandbox.server import Server

_ROOT = Path(__file__).resolve().parents[2]
_READY = "sandbox.ready url="
_CALL_TIMEOUT_S = 120  # a dump of a large account takes a while


# A proxy from the environment must not come between this machine and itself.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class ControlError(Exception):
    """The sandbox refused a control call. The text says why."""


class SandboxClient:
    """The control API of a running sandbox. The README lists the calls and their parameters."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, name: str, /, **params: Any) -> Any:
        """`call("PUT", "faults", faults=[{"kind": "500", "share": 0.05}])`."""
        address, body = f"{self.url}/sandbox/{name}", None
        if method == "GET":
            address += f"?{urlencode({key: str(value) for key, value in params.items()})}"
        else:
            body = json.dumps(params).encode()
        request = urllib.request.Request(address, body, method=method)
        try:
            with _open(request, timeout=_CALL_TIMEOUT_S) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise ControlError(json.loads(error.read())["error"]) from error

    def objects(self, type: str, **params: Any) -> Iterator[dict[str, Any]]:
        """All live objects of a type, one at a time, so memory stays flat. `full="true"` completes nested lists."""
        query = urlencode({"type": type, **params})
        with _open(f"{self.url}/sandbox/objects?{query}", timeout=_CALL_TIMEOUT_S) as answer:
            for line in answer:
                if line.strip():
                    yield json.loads(line)

    def deleted(self, type: str, **params: Any) -> set[str]:
        """The ids of deleted objects of a type."""
        return {each["id"] for each in self.call("GET", "deleted", type=type, **params)["deleted"]}

    def stats(self, **params: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", "stats", **params)
        return found

    def change(self, n: int, **params: Any) -> int:
        """Makes n random changes, at once or over `over_s` seconds."""
        return int(self.call("POST", "changes", n=n, **params)["made"])

    def add_account(self, name: str, **params: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.call("POST", "accounts", name=name, **params)
        return found


class SandboxProcess(SandboxClient):
    """`with SandboxProcess("--scale", "10") as sandbox: sandbox.url`. Takes command-line arguments.

    The child reads its stdin and stops when it ends, so it cannot outlive us, however we die.
    """

    def __init__(self, *arguments: str) -> None:
        super().__init__("")
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

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


class SandboxThread(SandboxClient):
    """Serves a sandbox of this process from a thread, so that a test can inspect it while it runs."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__("")
        self.sandbox = sandbox
        self._loop = asyncio.new_event_loop()
        self._server = Server(sandbox)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
