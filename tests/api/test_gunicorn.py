"""The `web` line of the Procfile, as a real process."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from api.app import THREADS
from api.http.buffering_worker import READ_S
from scripts.benchmark.processes import children

ROOT = Path(__file__).parent.parent.parent
COMMAND = [Path(sys.executable).with_name("gunicorn"), "--config", "api/gunicorn.py", "api:create_app()"]
START_TIMEOUT_S = 30


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def start(environment, port, tmp_path):
    """Starts the web process; its log is in `log`."""
    processes = []

    def begin(**changes):
        env = {"PATH": os.environ["PATH"], "PORT": str(port)} | environment | changes
        env |= {"GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}", "HOME": str(tmp_path)}
        with (tmp_path / "log").open("w") as log:
            processes.append(subprocess.Popen(COMMAND, cwd=ROOT, env=env, stdout=log, stderr=log))
        return processes[-1]

    yield begin
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.fixture
def log(tmp_path):
    return lambda: (tmp_path / "log").read_text().splitlines()


def test_it_serves_logs_json_and_stops_gracefully(start, port, log, tmp_path):
    process = start()
    _wait_until_ready(port)

    answer = _request(port, "GET", "/api/auth/session", headers={"X-Request-Id": "through-gunicorn"})
    process.send_signal(signal.SIGTERM)

    assert answer.status == 401
    assert answer.headers["X-Request-Id"] == "through-gunicorn"
    assert process.wait(timeout=30) == 0
    lines = [json.loads(line) for line in log()]
    assert [line["status"] for line in lines if line.get("request_id") == "through-gunicorn"] == [401]
    assert list(tmp_path.iterdir()) == [tmp_path / "log"]  # nothing in the home folder


def test_a_large_body_gets_its_answer_with_and_without_a_length(start, port):
    start()
    _wait_until_ready(port)
    chunks = [b'{"email": "', *[b"x" * 65_536] * 20, b'"}']

    for body in (b"".join(chunks), iter(chunks)):  # http.client sends an iterator in chunks
        answer = _request(port, "POST", "/api/auth/sign-in", body=body, headers={"Content-Type": "application/json"})

        assert answer.status == 413
        assert json.loads(answer.body)["code"] == "too_large"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("BILLSTACK_SECRET_KEY", "short", "BILLSTACK_SECRET_KEY is malformed: it should be 32 random bytes in base64"),
        ("DATABASE_URL", "", "DATABASE_URL is not set: it should be a URL that starts with postgresql://"),
    ],
)
def test_a_bad_setting_stops_it_at_once_in_one_line(start, log, name, value, complaint):
    process = start(**{name: value})

    assert process.wait(timeout=START_TIMEOUT_S) == 1
    (line,) = log()
    assert line.startswith(f"billstack: {complaint}")


class _Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def _request(port, method, path, **options):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, **options)
        return _Answer(connection.getresponse())
    finally:
        connection.close()


def _wait_until_ready(port):
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            if _request(port, "GET", "/readyz").status == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "the web process did not get ready"
        time.sleep(0.05)


def test_open_streams_do_not_delay_a_stop(start, port, log, owner):
    process = start()
    _wait_until_ready(port)
    streams = [_open_stream(port, owner) for _ in range(5)]

    process.send_signal(signal.SIGTERM)
    for stream in streams:
        stream.read()  # to its end: gunicorn cuts one that is still open when graceful_timeout is over

    assert process.wait(timeout=30) == 0
    ended = [json.loads(line) for line in log() if "stream.ended" in line]
    assert len(ended) == 5


def test_open_streams_do_not_keep_an_orphan(start, port, owner):
    """A killed master's workers give up its port before the next one needs it."""
    process = start()
    _wait_until_ready(port)
    stream = _open_stream(port, owner)

    began = time.monotonic()
    process.kill()
    stream.read()

    assert time.monotonic() - began < 30


def test_the_place_of_a_viewer_who_went_away_is_soon_free(start, port, log, owner):
    start()
    _wait_until_ready(port)
    stream = _open_stream(port, owner)
    began = time.monotonic()

    stream.connection.close()
    stream.close()

    while not any("stream.ended" in line for line in log()):
        assert time.monotonic() - began < 14, "it waits for the heartbeat after 15 s"
        time.sleep(0.05)


def test_more_streams_than_threads_for_requests_leave_room_for_requests(start, port, new_member):
    start()
    _wait_until_ready(port)
    people = [new_member() for _ in range(10)]  # for one session may hold only so many
    streams = [
        _open_stream(port, people[n % 10]) for n in range(THREADS * 2 + 10)
    ]  # of two processes, with THREADS each

    assert _request(port, "GET", "/readyz").status == 200
    assert all(stream.status == 200 for stream in streams)


def _open_stream(port, member):
    """Returns once it has begun."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    cookie = f"billstack_session={member.client.get_cookie('billstack_session').value}"
    connection.request("GET", f"{member.stripe}/status/stream", headers={"Cookie": cookie})
    stream = connection.getresponse()
    stream.connection = connection  # which would be closed with the last reference to it
    assert stream.readline().startswith(b"retry: ")
    return stream


# ---- clients that are slow, or broken


def _connect(port, sent=b""):
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(sent)
    return connection


@pytest.mark.parametrize(
    "sent",
    [
        b"G",
        b"",
        b"POST /api/auth/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
    ],
    ids=["one byte", "silent", "half a body"],
)
def test_slow_clients_hold_no_thread_and_are_hung_up_on(start, port, sent):
    """1,100 connections of one byte, or 2,100 silent ones, stopped the web for minutes; here more than there are threads."""
    start()
    _wait_until_ready(port)
    crowd = [_connect(port, sent) for _ in range(700)]

    began = time.monotonic()
    for _ in range(20):
        assert _request(port, "GET", "/healthz").status == 200
    assert time.monotonic() - began < 12

    for connection in crowd[:5]:
        assert connection.recv(1) == b"", "hung up on after READ_S"
    assert time.monotonic() - began < READ_S + 10


def test_clients_that_do_not_hang_up_after_the_answer_hold_nobody_up(start, port):
    """gunicorn's main loop waited two seconds for each of them."""
    process = start()
    _wait_until_ready(port)
    crowd = [_connect(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") for _ in range(40)]

    began = time.monotonic()
    for _ in range(10):
        assert _request(port, "GET", "/healthz").status == 200
    assert time.monotonic() - began < 12
    for connection in crowd:
        assert b"".join(iter(lambda connection=connection: connection.recv(4096), b"")).startswith(b"HTTP/1.1 200")

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


def test_a_second_request_on_a_kept_connection_may_be_slow_and_is_answered(start, port):
    start()
    _wait_until_ready(port)
    connection = _connect(port)
    for _ in range(2):
        for part in (b"GET /healthz HT", b"TP/1.1\r\nHost: x\r\n", b"\r\n"):
            connection.sendall(part)
            time.sleep(0.1)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


# ---- requests that follow each other at once on one connection


KEYS = (b"bs_" + b"1" * 48, b"bs_" + b"2" * 48)


def ask(path: bytes, key: bytes = KEYS[0], headers: bytes = b"") -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n" % (path, key, headers)


def _next_answer(stream):
    """(status, id of the request)"""
    status, headers = int(stream.readline().split()[1]), http.client.parse_headers(stream)
    stream.read(int(headers["Content-Length"]))
    return status, headers["X-Request-Id"]


def test_each_request_that_follows_at_once_gets_its_own_answer(start, port):
    start()
    _wait_until_ready(port)
    asked = [
        *(
            ask(b"/v1/customers/cus_%d" % number, KEYS[number // 7 % 2], b"X-Request-Id: of-%d\r\n" % number)
            for number in range(40)
        ),
        *(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: of-%d\r\n\r\n" % number for number in range(40, 44)),
    ]
    with _connect(port) as connection, connection.makefile("rb") as stream:
        answers = [connection.sendall(each) or _next_answer(stream) for each in asked]
        connection.sendall(b"".join(asked))  # all of them before the first answer
        answers += [_next_answer(stream) for _ in asked]

    expected = [(200 if number >= 40 else 401, f"of-{number}") for number in range(44)]
    assert answers == expected + expected


def test_half_of_a_next_request_holds_no_thread(start, port):
    start()
    _wait_until_ready(port)
    crowd = []
    # 700 in all, of two processes with fewer threads. At once, their keys would queue for Postgres.
    for _ in range(14):
        latest = [_connect(port) for _ in range(50)]
        for number, connection in enumerate(latest, len(crowd)):
            connection.settimeout(10)  # a thread that waited for the rest would give up after 20
            connection.sendall(ask(b"/v1/customers", b"bs_%048d" % number) + ask(b"/v1/customers")[:20])
        for connection in latest:
            assert connection.recv(12) == b"HTTP/1.1 401"
        crowd += latest

    began = time.monotonic()
    for _ in range(10):
        assert _request(port, "GET", "/healthz").status == 200
    assert time.monotonic() - began < 12

    for connection in crowd[-20:]:  # the first ones may have been hung up on, after READ_S
        connection.sendall(ask(b"/v1/customers")[20:])
        connection.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda connection=connection: connection.recv(65_536), b"")).count(b"HTTP/1.1 401") == 1


def test_a_client_that_never_pauses_lets_a_team_mate_in(start, port):
    """More connections of one key than may run at once, each with its next request as soon as it has an answer."""
    start()
    _wait_until_ready(port)
    counts = [0] * 40
    all_here = threading.Barrier(len(counts))

    def go_on(number):
        with _connect(port) as connection, connection.makefile("rb") as stream:
            all_here.wait(30)
            until = time.monotonic() + 3
            while time.monotonic() < until:
                connection.sendall(ask(b"/v1/customers"))
                assert _next_answer(stream)[0] == 401
                counts[number] += 1

    with ThreadPoolExecutor(len(counts)) as clients:
        list(clients.map(go_on, range(len(counts))))

    # Each process serves its own connections in turn. One may have a few of them and the other one all the rest.
    assert min(counts) > sum(counts) / len(counts) / 10, counts


def test_connections_that_come_together_are_shared_by_the_processes(start, port):
    process = start()
    _wait_until_ready(port)
    workers = children(process.pid)
    deadline = time.monotonic() + START_TIMEOUT_S
    while min(_held_of_crowd(port, workers)) == 0:
        assert time.monotonic() < deadline, "one of the processes did not get ready"

    # On a busy machine a process may come too late for a crowd, but hardly for half of them.
    held = sorted(min(_held_of_crowd(port, workers)) for _ in range(60))

    assert held[30] >= 2, held


def test_a_process_that_took_a_connection_leaves_the_next_one_to_the_others_for_a_moment(start, port):
    """Shown by a process that is alone: the others are stopped."""
    process = start()
    _wait_until_ready(port)
    workers = children(process.pid)
    with contextlib.ExitStack() as stack:
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
            stack.callback(os.kill, pid, signal.SIGCONT)  # a stopped one would outlive the test
        crowd = [stack.enter_context(_connect(port)) for _ in range(100)]
        crowd[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

        began = time.monotonic()
        os.kill(workers[0], signal.SIGCONT)

        assert crowd[-1].recv(12) == b"HTTP/1.1 200"
        assert time.monotonic() - began > 0.09, "less than a millisecond for each"


def _held_of_crowd(port, workers):
    """How many of eight new connections each process has."""

    def is_ours(connection):
        return connection.laddr.port == port and connection.status == psutil.CONN_ESTABLISHED

    with contextlib.ExitStack() as opened:
        crowd = [opened.enter_context(_connect(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")) for _ in range(8)]
        for connection in crowd:
            assert connection.recv(12) == b"HTTP/1.1 200"
        return [sum(map(is_ours, psutil.Process(pid).net_connections("tcp"))) for pid in workers]


@pytest.mark.parametrize(
    "body", [b"ZZ\r\n{}\r\n0\r\n\r\n", b"5\r\n{}\r\n0\r\n\r\n", b"-1\r\n\r\n", b"2\r\n{}XX0\r\n\r\n"]
)
def test_broken_chunks_are_400_once_and_without_a_traceback(start, port, log, body):
    start()
    _wait_until_ready(port)
    head = b"POST /api/auth/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection = _connect(port, head + body)
    connection.shutdown(socket.SHUT_WR)

    answered = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert answered.startswith(b"HTTP/1.1 400"), answered
    assert answered.count(b"HTTP/1.1") == 1
    assert not [line for line in log() if "Traceback" in line or "request.crashed" in line]


def test_chunks_that_come_slowly_are_read(start, port):
    start()
    _wait_until_ready(port)
    connection = _connect(port, b"POST /api/auth/sign-out HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"1", b"\r\n", b"{\r", b"\n1\r\n}\r\n", b"0\r\n\r\n"):
        time.sleep(0.1)
        connection.sendall(piece)
    assert connection.recv(4096).startswith((b"HTTP/1.1 204", b"HTTP/1.1 4"))
