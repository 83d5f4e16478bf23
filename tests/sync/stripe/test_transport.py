"""Bytes come as Stripe sent them, or there is an error that says why; nothing in between."""

import contextlib
import gzip
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sync.errors import StripeUnavailable
from sync.stripe.curl import Headers, HttpAnswer, RequestOutcome
from sync.stripe.transport import ConcurrentRequests, Transport

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: now\r\n\r\n"


@contextmanager
def answering(*answers: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives each request the next answer, whatever it asks; None: it keeps quiet. The requests' bytes."""
    requests: list[bytes] = []
    left = list(answers)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(connection: socket.socket) -> None:
            with connection:
                while left and (request := connection.recv(65536)):
                    requests.append(request)
                    answer = left.pop(0)
                    if answer is None:
                        connection.recv(1)
                        return
                    connection.sendall(answer)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", requests
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def read_timeout_s() -> float:
    return 30


@pytest.fixture
def transport(read_timeout_s) -> Iterator[Transport]:
    made = Transport(read_timeout_s=read_timeout_s)
    yield made
    made.close()


@pytest.fixture
def requests_at_once(transport) -> Iterator[ConcurrentRequests]:
    made = transport.concurrent_requests()
    yield made
    made.close()


@pytest.fixture(params=["one by one", "one of many"])
def get(request, transport, requests_at_once) -> Callable[[str, dict[str, str]], HttpAnswer]:
    """Both ways to send a GET."""

    def in_flight(url: str, headers: dict[str, str]) -> HttpAnswer:
        return met(requests_at_once, [url], headers)[0]

    return partial(transport.send, "GET") if request.param == "one by one" else in_flight


def met(requests_at_once: ConcurrentRequests, urls: list[str], headers: dict[str, str]) -> list[HttpAnswer]:
    """The answers in the order in which they came."""
    outcomes: list[RequestOutcome] = []
    for url in urls:
        requests_at_once.get(url, headers, outcomes.append)
    give_up_at = time.monotonic() + 60
    while len(outcomes) < len(urls) and time.monotonic() < give_up_at:
        requests_at_once.wait(1)
    answers = []
    for outcome in outcomes:
        if isinstance(outcome, StripeUnavailable):
            raise outcome
        answers.append(outcome)
    return answers


def test_an_answer_comes_with_its_status_headers_and_bytes(get) -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\nREQUEST-ID: req_1\r\nContent-Length: 4\r\n\r\n\x00\xffab") as (
        url,
        requests,
    ):
        answer = get(f"{url}/v1/customers?limit=1", {"Authorization": "Bearer sk_test_a"})

    assert (answer.status, answer.headers["Request-Id"], answer.body) == (404, "req_1", b"\x00\xffab")
    assert b"GET /v1/customers?limit=1 HTTP/1.1" in requests[0]
    assert b"Authorization: Bearer sk_test_a" in requests[0]


def test_what_is_posted_leaves_nothing_behind_for_the_next_request(transport) -> None:
    with answering(HEAD + b"{}", HEAD + b"{}", HEAD + b"{}") as (url, requests):
        transport.send("POST", f"{url}/v1/customers", {"Idempotency-Key": "once"}, "email=a%40example.com")
        transport.send("GET", f"{url}/v1/customers", {})
        transport.send("DELETE", f"{url}/v1/webhook_endpoints/we_1", {})

    assert requests[0].startswith(b"POST ")
    assert requests[0].endswith(b"\r\n\r\nemail=a%40example.com")
    assert b"Idempotency-Key: once" in requests[0]
    for line, request in zip((b"GET /v1/customers ", b"DELETE /v1/webhook_endpoints/we_1 "), requests[1:], strict=True):
        assert request.startswith(line)
        assert request.endswith(b"\r\n\r\n")
        assert b"Idempotency-Key" not in request
        assert b"Content-Length" not in request


def test_a_compressed_body_is_unpacked(get) -> None:
    packed = gzip.compress(b'{"data":[]}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with answering(head + packed) as (url, requests):
        assert get(url, {}).body == b'{"data":[]}'
    assert b"Accept-Encoding: gzip" in requests[0]


def test_headers_are_those_of_the_last_answer(get) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nRequest-Id: req_early\r\nX-Early: 1\r\n\r\n"
    with answering(interim + HEAD + b"{}") as (url, _):
        assert get(url, {}).headers == {"content-length": "2", "date": "now"}


@pytest.mark.parametrize(
    ("answer", "reason", "read_timeout_s"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "cut short", 30),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "cut short", 30),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!",
            "no answer from Stripe",
            30,
        ),
        (b"no HTTP\r\n\r\n", "no answer from Stripe", 30),
        (None, "took too long", 1),
    ],
)
def test_half_an_answer_is_none(get, answer, reason) -> None:
    with answering(answer) as (url, _), pytest.raises(StripeUnavailable, match=reason) as raised:
        get(f"{url}/v1/customers?email=somebody%40example.com", {})
    assert "example.com" not in raised.value.message


@pytest.mark.parametrize("read_timeout_s", [3])
def test_after_a_failure_the_next_request_has_a_connection_of_its_own(get) -> None:
    with answering(None, HEAD + b"{}") as (url, _):
        with pytest.raises(StripeUnavailable):
            get(url, {})

        assert get(url, {}).body == b"{}"


def test_nobody_listening_is_said_in_words(get) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(StripeUnavailable, match="the connection was refused"):
        get(url, {})


def test_a_sandbox_is_asked_without_the_environments_proxy(get, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with answering(HEAD + b"{}") as (url, _):
        assert get(url, {}).status == 200


def test_a_certificate_of_nobody_known_is_refused(get, tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self_signed(tmp_path, "localhost"))
        threading.Thread(target=shake_hands, args=(server, context), daemon=True).start()

        with pytest.raises(StripeUnavailable, match="certificate is not trusted"):
            get(f"https://localhost:{server.getsockname()[1]}", {})


def shake_hands(server: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = server.accept()
    with contextlib.suppress(OSError), connection, context.wrap_socket(connection, server_side=True) as wrapped:
        wrapped.recv(1)


def self_signed(folder: Path, host: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = folder / "server.pem"
    pem.write_bytes(key.private_bytes(*plain) + certificate.public_bytes(serialization.Encoding.PEM))
    return pem


def test_many_threads_each_get_their_own_answer(transport, sandbox) -> None:
    url = f"{sandbox.url}/v1/customers?limit="
    found: dict[int, int] = {}

    def ask(limit: int) -> None:
        answer = transport.send("GET", f"{url}{limit}", {"Authorization": "Bearer sk_test_demo"})
        found[limit] = answer.body.count(b'"object":"customer"')

    threads = [threading.Thread(target=ask, args=(limit,)) for limit in range(1, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {limit: limit for limit in range(1, 25)}


def test_headers_are_found_in_any_case() -> None:
    headers = Headers({"Stripe-Rate-Limited-Reason": "global-rate"})

    assert headers["stripe-rate-limited-reason"] == headers["STRIPE-RATE-LIMITED-REASON"] == "global-rate"
    assert "stripe-Rate-limited-reason" in headers
    assert headers.get("Retry-After", "1") == "1"


def test_an_idle_connection_keeps_no_body(get) -> None:
    size = 2_000_000
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size) as (url, _):
        tracemalloc.start()
        try:
            assert len(get(url, {}).body) == size
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert kept < size / 2


def test_many_requests_of_one_thread_are_under_way_at_once(requests_at_once) -> None:
    """The first one's answer comes only when the last one was asked for."""
    asked, all_asked = [], threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            asked.append(connection.recv(65536))
            if len(asked) == 8:
                all_asked.set()
            all_asked.wait(60)
            connection.sendall(HEAD + b"{}")

    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            for _ in range(8):
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        answers = met(requests_at_once, [f"{url}/{number}" for number in range(8)], {})

    assert [answer.status for answer in answers] == [200] * 8
    assert len(asked) == 8


def test_each_of_many_requests_gets_its_own_answer_on_connections_that_are_kept(requests_at_once, sandbox) -> None:
    url = f"{sandbox.url}/v1/customers?limit="
    headers = {"Authorization": "Bearer sk_test_demo"}
    found: dict[int, int] = {}

    def keep(limit: int, outcome: RequestOutcome) -> None:
        assert isinstance(outcome, HttpAnswer)
        found[limit] = outcome.body.count(b'"object":"customer"')

    for limit in range(1, 25):
        requests_at_once.get(f"{url}{limit}", headers, partial(keep, limit))
    while len(found) < 24:
        requests_at_once.wait(5)
    before = connections_to(sandbox)
    for _ in range(10):
        met(requests_at_once, [f"{url}1", f"{url}2"], headers)

    assert found == {limit: limit for limit in range(1, 25)}
    assert connections_to(sandbox) == before


def connections_to(sandbox) -> set[tuple[int, int]]:
    """Local and remote port of each."""
    port = int(sandbox.url.rsplit(":", 1)[1])
    ours = (each for each in psutil.Process().net_connections("tcp") if each.raddr)
    return {(each.laddr.port, each.raddr.port) for each in ours if each.raddr.port == port}


def test_a_wait_ends_in_time_or_when_another_thread_wakes_it(requests_at_once) -> None:
    began = time.monotonic()
    requests_at_once.wait(0.05)
    assert 0.05 <= time.monotonic() - began < 2

    threading.Timer(0.05, requests_at_once.wake).start()
    began = time.monotonic()
    requests_at_once.wait(30)
    assert time.monotonic() - began < 10

    requests_at_once.wake()
    requests_at_once.wake()
    requests_at_once.wait(30)  # a wake that came before is not lost, and two are one
    began = time.monotonic()
    requests_at_once.wait(0.05)
    assert time.monotonic() - began >= 0.05


def test_what_is_under_way_at_the_end_is_dropped(transport) -> None:
    requests_at_once = transport.concurrent_requests()
    outcomes: list[RequestOutcome] = []
    with answering(None) as (url, requests):
        requests_at_once.get(url, {}, outcomes.append)
        while not requests:
            requests_at_once.wait(0.05)

        requests_at_once.close()
        requests_at_once.wake()

    assert outcomes == []
