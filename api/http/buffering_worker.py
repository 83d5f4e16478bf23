"""gunicorn's threaded worker, changed so that a slow client holds no thread.

gunicorn gives a connection a thread at its first byte and lets that thread read without a time limit. 1,100 connections
that sent one byte each stopped the web. This worker reads each request whole in the main loop (at most MAX_BODY_BYTES)
and then hands it to a thread. It hangs up on clients that take longer than READ_S, and on the oldest if there are too
many.

A complete request passes api/http/running_requests.py, which lets each team use a few threads at a time. A plain read of
the mirror is answered before gunicorn reads it (api/http/plain_request.py).

After an answer that closes the connection, gunicorn's main loop waits up to two seconds for the client to hang up. 40
clients that did not hang up stopped the web; five of them stopped a deploy. This worker's loop does not wait.
"""

import select
import socket
import struct
import time
from functools import partial
from typing import Any, NamedTuple

from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from api.http.ahead_of_flask import AHEAD, Ahead, Answer, known_of
from api.http.partial_request import PartialRequest
from api.http.plain_request import environ_of, is_plain_ours
from api.http.running_requests import Lane, RunningRequests, lane_of
from api.http.seats import IS_REFUSED
from api.http.whole_answers import WholeAnswers, as_sent

# For a whole request. Stripe and browsers need milliseconds; a phone on a bad line needs seconds.
READ_S = 15.0
# For each piece that a client takes of our answer, or that a thread still has to read (of bodies that are too large).
_PIECE_S = 20
_STOP_S = 2.0
# How long we read what a client still sends after the answer. A reset would cost it the end of the answer.
_LINGER_S = 2.0
# All unfinished requests together.
_MOST_BUFFERED_BYTES = 64 * 1024 * 1024
# After each connection, the other processes may take the next ones for so long. Clients open several at once, and then use them
# for long: if one process took all, they would get half of the machine.
_OTHERS_FIRST_S = 0.001
# How long a thread waits for its connection's next request, before the main loop does. A client that goes on at once needs
# less, and a request that has to wait for the thread's place in its lane does not notice.
_NEXT_MS = 2
_MOST_BYTES_AT_ONCE = 8192
# Places kept free for new connections.
_SPARE_PLACES = 32


class BufferingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no type hints
    """Runs in the main thread, except `handle_request` and gunicorn's own `handle`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading: dict[TConn, PartialRequest] = {}  # oldest first
        self._leaving: dict[TConn, float] = {}  # when to close; oldest first
        self._running: RunningRequests[TConn] = RunningRequests()
        self._lanes: dict[TConn, Lane] = {}  # of connections that run or wait
        self._refused: set[TConn] = set()
        self._accepts_at = 0.0
        self._answers_ahead = is_plain_ours(self.cfg)

    def accept(self, listener: Any) -> None:
        time.sleep(max(0.0, self._accepts_at - time.monotonic()))
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self._accepts_at = time.monotonic() + _OTHERS_FIRST_S
        client = WholeAnswers(client.family, client.type, client.proto, fileno=client.detach())
        self.nr_conns += 1
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            client.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _PIECE_S, 0))
        self._read_on(_Connection(self, client, address, listener.getsockname()))
        if self.nr_conns > self.worker_connections - _SPARE_PLACES:
            self._hang_up_on_the_oldest()

    def on_client_socket_readable(self, conn: TConn, client: Any) -> None:
        """Starts the next request of a kept-alive connection."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._read_on(conn)
        self._on_readable(conn, client)

    def murder_pending(self) -> None:
        super().murder_pending()
        now = time.monotonic()
        for conn, request in list(self._reading.items()):
            if not self.alive:  # a deploy must not wait for slow clients
                request.ends_at = min(request.ends_at, now + _STOP_S)
            if request.ends_at <= now or not (self.alive or request.data):
                self._hang_up(conn)
        for conn in [conn for conn, ends_at in self._leaving.items() if ends_at <= now]:
            self._let_go(conn)

    def see_off(self, conn: TConn) -> None:
        """Closes our side now, and the connection once the client has hung up."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            conn.close()
            return
        self.nr_conns += 1  # gunicorn has just subtracted it
        self._leaving[conn] = time.monotonic() + _LINGER_S
        self.poller.register(conn.sock, 1, partial(self._on_last_words, conn))

    def _on_last_words(self, conn: TConn, client: Any) -> None:
        try:
            if client.recv(64 * 1024):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._let_go(conn)

    def _let_go(self, conn: TConn) -> None:
        del self._leaving[conn]
        self._close(conn)

    def _read_on(self, conn: TConn, data: bytes = b"") -> None:
        conn.sock.setblocking(False)
        request = self._reading[conn] = PartialRequest(time.monotonic() + READ_S, data)
        self.poller.register(conn.sock, 1, partial(self._on_readable, conn))
        if request.is_whole():
            self._hand_over(conn)

    def _on_readable(self, conn: TConn, client: Any) -> None:
        request = self._reading[conn]
        try:
            piece = client.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece and not request.data:
            self._hang_up(conn)
            return
        request.data += piece
        if not piece or request.is_whole():
            self._hand_over(conn)
        elif sum(len(each.data) for each in self._reading.values()) > _MOST_BUFFERED_BYTES:
            self._hang_up_on_the_oldest()

    def _hand_over(self, conn: TConn) -> None:
        data = bytes(self._reading.pop(conn).data)
        self.poller.unregister(conn.sock)
        conn.sock.setblocking(True)
        conn.init()
        conn.request = _Received.of(data)
        self._admit(conn, conn.request.lane)

    def _admit(self, conn: TConn, lane: Lane | None) -> None:
        entered = self._running.admit(lane, conn) if lane else "runs"
        if lane and entered != "refused":
            self._lanes[conn] = lane
        if entered == "refused":
            self._refused.add(conn)  # a thread answers it, so that the error has the form of its address
        if entered != "waits":
            self.enqueue_req(conn)

    def finish_request(self, conn: TConn, fs: Any) -> None:
        self._refused.discard(conn)
        lane = self._lanes.pop(conn, None)
        for following in self._running.release(lane) if lane else ():
            self.enqueue_req(following)
        ahead = conn.parser.unreader.take_buffered() if _is_kept(fs) else b""
        if ahead:  # of the next request, perhaps not all
            self._read_on(conn, ahead)
        else:
            super().finish_request(conn, fs)

    def handle(self, conn: TConn) -> Any:
        """Runs the connection's request, and the next ones if they follow at once.

        Each that the main loop hands over costs two changes of threads, which take as long as a read of the mirror.
        """
        kept = self._answer(conn)
        while kept is True and self._next_is_here(conn):
            kept = self._answer(conn)
        return kept

    def _answer(self, conn: TConn) -> Any:
        """Whether the connection stays open."""
        request, conn.request, conn.sock.known = conn.request, _NOTHING, {}
        try:
            answer = self._answer_ahead(conn, request.environ)
            sent = None if answer is None else as_sent(answer)
        except Exception as exc:
            self.handle_error(None, conn.sock, conn.client, exc)
            return False
        if sent is None:
            conn.parser.unreader.unread(request.data)
            return super().handle(conn)
        try:
            conn.sock.sendall(sent)
        except OSError as exc:
            self.log.debug("The client took no answer. %s", exc)
            return False
        return True

    def _answer_ahead(self, conn: TConn, environ: dict[str, Any] | None) -> Answer | None:
        """gunicorn's reading of a request and writing of an answer take as long as half of a read of the mirror."""
        ahead: Ahead | None = self.wsgi.extensions.get(AHEAD) if self._answers_ahead else None
        if ahead is None or environ is None or conn in self._refused or not self._stays_open():
            return None
        IS_REFUSED.set(False)
        answer = ahead(environ)
        if answer is None:
            conn.sock.known = known_of(environ)
        else:
            self.nr += 1
        return answer

    def _stays_open(self) -> bool:
        """Whether gunicorn would keep a connection open after its request."""
        has_room = len(self.keepalived_conns) < self.max_keepalived and self.nr + 1 < self.max_requests
        return bool(self.alive and self.cfg.keepalive and has_room)

    def _next_is_here(self, conn: TConn) -> bool:
        """What came and is not for this thread goes to the main loop with the connection."""
        lane = self._lanes.get(conn)
        if lane is None or not self._may_go_on(conn, lane):
            return False
        client = select.poll()
        client.register(conn.sock, select.POLLIN)
        if not client.poll(_NEXT_MS):
            return False
        came = _Received.of(conn.sock.recv(_MOST_BYTES_AT_ONCE))
        if self._may_go_on(conn, lane) and came.lane == lane and came.is_whole():
            conn.request = came
            return True
        conn.parser.unreader.unread(came.data)
        return False

    def _may_go_on(self, conn: TConn, lane: Lane) -> bool:
        return self.alive and self._running.may_go_on(lane) and not conn.parser.unreader.buf.getvalue()

    def handle_request(self, req: Any, conn: TConn) -> bool:
        IS_REFUSED.set(conn in self._refused)
        try:
            return bool(super().handle_request(req, conn))
        finally:
            conn.sock.send_held()

    def _hang_up_on_the_oldest(self) -> None:
        for leaving in self._leaving:
            self._let_go(leaving)
            return
        for reading in self._reading:
            self._hang_up(reading)
            return

    def _hang_up(self, conn: TConn) -> None:
        del self._reading[conn]
        self._close(conn)

    def _close(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()


def _is_kept(fs: Any) -> bool:
    """Whether the connection stays open after the request that ended."""
    return not fs.cancelled() and fs.exception() is None and fs.result() is True


class _Received(NamedTuple):
    """What came of a client, and its WSGI environment if it is a plain request."""

    data: bytes
    environ: dict[str, Any] | None

    @classmethod
    def of(cls, data: bytes) -> "_Received":
        return cls(data, environ_of(data))

    @property
    def lane(self) -> Lane | None:
        if self.environ is None:
            return lane_of(self.data)
        given = self.environ.get("HTTP_AUTHORIZATION")
        return None if given is None else Lane(given.encode(), "key")

    def is_whole(self) -> bool:
        return self.environ is not None or PartialRequest(0, self.data).is_whole()


_NOTHING = _Received(b"", None)


class _Connection(TConn):  # type: ignore[misc]  # gunicorn has no type hints
    def __init__(self, worker: BufferingWorker, *args: Any) -> None:
        super().__init__(worker.cfg, *args)
        self._worker = worker
        self.request = _NOTHING  # whole, and not read yet by gunicorn

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self._worker.see_off(self)
        else:
            super().close()
