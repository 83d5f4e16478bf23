"""Bytes come as Stripe sent them, or there is an error that says why; nothing in between."""

import contextlib
import gzip
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sync.curl import Headers
from sync.errors import StripeUnavailable
from sync.transport import Transport

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
def transport() -> Iterator[Transport]:
    made = Transport(read_timeout_s=1)
    yield made
    made.close()


def test_an_answer_comes_with_its_status_headers_and_bytes(transport) -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\nREQUEST-ID: req_1\r\nContent-Length: 4\r\n\r\n\x00\xffab") as (
        url,
        requests,
    ):
        answer = transport.send("GET", f"{url}/v1/customers?limit=1", {"Authorization": "Bearer sk_test_a"})

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


def test_a_compressed_body_is_unpacked(transport) -> None:
    packed = gzip.compress(b'{"data":[]}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with answering(head + packed) as (url, requests):
        assert transport.send("GET", url, {}).body == b'{"data":[]}'
    assert b"Accept-Encoding: gzip" in requests[0]


def test_headers_are_those_of_the_last_answer(transport) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nRequest-Id: req_early\r\nX-Early: 1\r\n\r\n"
    with answering(interim + HEAD + b"{}") as (url, _):
        assert transport.send("GET", url, {}).headers == {"content-length": "2", "date": "now"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "cut short|took too long"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "cut short|took too long"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!", "no answer from Stripe"),
        (b"no HTTP\r\n\r\n", "no answer from Stripe"),
        (None, "took too long"),
    ],
)
def test_half_an_answer_is_none(transport, answer, reason) -> None:
    with answering(answer) as (url, _), pytest.raises(StripeUnavailable, match=reason) as raised:
        transport.send("GET", f"{url}/v1/customers?email=somebody%40example.com", {})
    assert "example.com" not in raised.value.message


def test_after_a_failure_the_next_request_has_a_connection_of_its_own(transport) -> None:
    with answering(None, HEAD + b"{}") as (url, _):
        with pytest.raises(StripeUnavailable):
            transport.send("GET", url, {})

        assert transport.send("GET", url, {}).body == b"{}"


def test_nobody_listening_is_said_in_words(transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(StripeUnavailable, match="the connection was refused"):
        transport.send("GET", url, {})


def test_a_sandbox_is_asked_without_the_environments_proxy(transport, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with answering(HEAD + b"{}") as (url, _):
        assert transport.send("GET", url, {}).status == 200


def test_a_certificate_of_nobody_known_is_refused(transport, tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self_signed(tmp_path, "localhost"))
        threading.Thread(target=shake_hands, args=(server, context), daemon=True).start()

        with pytest.raises(StripeUnavailable, match="certificate is not to be trusted"):
            transport.send("GET", f"https://localhost:{server.getsockname()[1]}", {})


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


def test_an_idle_connection_keeps_no_body(transport) -> None:
    size = 2_000_000
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size) as (url, _):
        tracemalloc.start()
        try:
            assert len(transport.send("GET", url, {}).body) == size
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert kept < size / 2
