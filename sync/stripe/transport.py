"""Moves bytes between BillStack and Stripe: one request at a time from any thread, or many at once in one thread.

Returns answers unchanged, whatever their status. sync/stripe/answers.py reads them.
"""

import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping

import pycurl

from sync.errors import StripeUnavailable
from sync.stripe.curl import READ_TIMEOUT_S, HttpAnswer, Request, RequestOutcome, unavailable

# Connections kept open, so that requests need not open new ones.
_MOST_IDLE = 128
# libcurl's words for socket events, and Python's.
_SELECTED = {
    pycurl.POLL_IN: selectors.EVENT_READ,
    pycurl.POLL_OUT: selectors.EVENT_WRITE,
    pycurl.POLL_INOUT: selectors.EVENT_READ | selectors.EVENT_WRITE,
}
_CURL_READY = {
    selectors.EVENT_READ: pycurl.CSELECT_IN,
    selectors.EVENT_WRITE: pycurl.CSELECT_OUT,
    selectors.EVENT_READ | selectors.EVENT_WRITE: pycurl.CSELECT_IN | pycurl.CSELECT_OUT,
}


class Transport:
    """Thread-safe. Keeps connections and shares them among threads."""

    def __init__(self, *, read_timeout_s: int = READ_TIMEOUT_S) -> None:
        self._read_timeout_s = read_timeout_s
        self._idle: list[Request] = []  # the last returned one is taken next, so that others can close
        self._lock = threading.Lock()

    def send(self, method: str, url: str, headers: Mapping[str, str], body: str | bytes | None = None) -> HttpAnswer:
        """Raises StripeUnavailable, without the URL, if there was no complete answer."""
        with self._lock:
            request = self._idle.pop() if self._idle else None
        request = request or Request(self._read_timeout_s)
        request.prepare(method, url, headers, body)
        try:
            request.handle.perform()
        except pycurl.error as exc:
            request.handle.close()
            raise unavailable(*exc.args) from None
        answer = request.take_answer()
        with self._lock:
            self._idle.append(request)
        return answer

    def concurrent_requests(self) -> "ConcurrentRequests":
        return ConcurrentRequests(self._read_timeout_s)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for request in idle:
            request.handle.close()


class ConcurrentRequests:
    """Many requests in flight, started and handled by one thread. A thread for each would cost twice as much."""

    def __init__(self, read_timeout_s: int) -> None:
        self._read_timeout_s = read_timeout_s
        self._selector = selectors.DefaultSelector()
        self._alarm, self._bell = socket.socketpair()
        self._has_rung = False
        self._lock = threading.Lock()
        self._selector.register(self._alarm, selectors.EVENT_READ)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, _MOST_IDLE)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._timer_at: float | None = None
        self._idle: list[Request] = []
        self._under_way: dict[pycurl.Curl, tuple[Request, Callable[[RequestOutcome], None]]] = {}

    def get(self, url: str, headers: Mapping[str, str], then: Callable[[RequestOutcome], None]) -> None:
        """Starts a request. `wait` calls `then` with its outcome."""
        request = self._idle.pop() if self._idle else Request(self._read_timeout_s)
        request.prepare("GET", url, headers)
        self._multi.add_handle(request.handle)
        self._under_way[request.handle] = request, then

    def wait(self, timeout_s: float) -> None:
        """Waits until a request has ended, `wake` was called, or the time is over. Reports all that have ended."""
        give_up_at = time.monotonic() + timeout_s
        while not self._has_news(give_up_at) and time.monotonic() < give_up_at:
            pass

    def wake(self) -> None:
        """Makes the current or next `wait` return at once. Call it from any thread."""
        with self._lock:
            if not self._has_rung:
                self._has_rung = True
                self._bell.send(b"!")

    def close(self) -> None:
        """Drops requests in flight, but waits for a host name that is being resolved. A later `wake` does nothing."""
        with self._lock:
            self._has_rung = True
        for request, _ in self._under_way.values():
            self._multi.remove_handle(request.handle)
            self._idle.append(request)
        self._under_way.clear()
        self._multi.close()
        for request in self._idle:
            request.handle.close()
        self._selector.close()
        self._alarm.close()
        self._bell.close()

    def _has_news(self, give_up_at: float) -> bool:
        is_woken = False
        wait_until = give_up_at if self._timer_at is None else min(give_up_at, self._timer_at)
        for key, events in self._selector.select(max(0.0, wait_until - time.monotonic())):
            if key.fileobj is self._alarm:
                self._alarm.recv(1)
                self._has_rung = False
                is_woken = True
            else:
                self._multi.socket_action(key.fd, _CURL_READY[events])
        if self._timer_at is not None and self._timer_at <= time.monotonic():
            self._timer_at = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        _, answered, failed = self._multi.info_read()
        for handle in answered:
            self._end(handle, None)
        for handle, *reason in failed:
            self._end(handle, unavailable(*reason))
        return bool(is_woken or answered or failed)

    def _end(self, handle: pycurl.Curl, failure: StripeUnavailable | None) -> None:
        request, then = self._under_way.pop(handle)
        self._multi.remove_handle(handle)
        if failure:
            handle.close()
            then(failure)
        else:
            answer = request.take_answer()
            self._idle.append(request)
            then(answer)

    # libcurl calls these:

    def _watch(self, what: int, fd: int, multi: pycurl.CurlMulti, data: object) -> None:
        """The socket events that libcurl waits for now."""
        is_known = fd in self._selector.get_map()
        if what == pycurl.POLL_REMOVE:
            if is_known:
                self._selector.unregister(fd)
        elif is_known:
            self._selector.modify(fd, _SELECTED[what])
        else:
            self._selector.register(fd, _SELECTED[what])

    def _set_timer(self, timeout_ms: int) -> None:
        self._timer_at = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000
