"""The web behind Debian's nginx with the configuration of docs/operations.md, but for addresses and the certificate."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from api.people.attempts import FROM_ADDRESS, network_of
from scripts.servers import temporary_state_dir
from scripts.stack import Stack, running_stack
from tests.servers.conftest import require_servers

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/operations.md"
PASSWORD = "correct horse battery"
Request = Callable[..., http.client.HTTPResponse]


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest) -> str:
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    require_servers(request.config, "nginx (apt install nginx)", found is not None)
    return str(found)


@pytest.fixture(scope="module")
def stack(program: str) -> Iterator[Stack]:
    settings = {
        "BILLSTACK_SECRET_KEY": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=",
        "BILLSTACK_TRUSTED_PROXIES": "1",
    }
    with temporary_state_dir() as folder, running_stack(folder, settings=settings, durable=False) as stack:
        yield stack


@pytest.fixture(scope="module")
def proxy_port(program: str, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("nginx")
    port, site = free_port(), configured(stack, folder)
    site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace(
        "listen 80", f"listen 127.0.0.1:{free_port()}"
    )
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    whole = folder / "nginx.conf"
    whole.write_text(f"{user} daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {temporary}\n{site}}}")
    command = [program, "-e", str(folder / "errors"), "-c", str(whole)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    server = subprocess.Popen(command)
    try:
        wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def configured(stack: Stack, folder: Path) -> str:
    """As it stands on the page."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    subject = ["-subj", "/CN=billing.example.com"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    site = found[1].replace("127.0.0.1:8000", stack.url.removeprefix("http://"))
    return site.replace("/etc/ssl/billing.example.com.", f"{folder}/")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(port: int) -> None:
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nginx does not listen")


@pytest.fixture
def request_(proxy_port: int) -> Request:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def send(method: str, path: str, **options: object) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection("127.0.0.1", proxy_port, timeout=30, context=context)
        connection.request(method, path, **options)  # type: ignore[arg-type]
        answer = connection.getresponse()
        answer.connection = connection  # type: ignore[attr-defined]  # closed with the last reference to it
        return answer

    return send


def test_it_answers_and_shows_no_metrics(request_: Request) -> None:
    assert request_("GET", "/healthz").status == 200
    assert request_("GET", "/metrics").status == 404


def test_a_body_that_is_too_large_gets_the_answer_of_the_web(request_: Request) -> None:
    answer = request_("POST", "/api/auth/sign-in", body=b"x" * 1_500_000, headers={"Content-Type": "application/json"})

    assert (answer.status, json.loads(answer.read())["code"]) == (413, "too_large")


def test_failures_count_for_the_address_that_nginx_saw(stack: Stack, request_: Request) -> None:
    headers = {"Content-Type": "application/json", "X-Forwarded-For": "198.51.100.1"}

    request_("POST", "/api/auth/sign-in", body='{"email": "nobody@example.com", "password": "wrong"}', headers=headers)

    with psycopg.connect(stack.postgres.url) as connection:
        counted = {who for (who,) in connection.execute("SELECT who FROM billstack.attempts")}
    assert FROM_ADDRESS.counter(network_of("127.0.0.1")) in counted
    assert FROM_ADDRESS.counter(network_of("198.51.100.1")) not in counted


def test_a_live_view_comes_piece_by_piece(stack: Stack, request_: Request) -> None:
    options = ("--email", "owner@example.com", "--team", "Team")
    team_id = json.loads(stack.flask("create-user", *options, says=PASSWORD + "\n"))["teamId"]
    credentials = json.dumps({"email": "owner@example.com", "password": PASSWORD})
    signed_in = request_("POST", "/api/auth/sign-in", body=credentials, headers={"Content-Type": "application/json"})
    cookie = signed_in.headers["Set-Cookie"].partition(";")[0]

    began = time.monotonic()
    stream = request_("GET", f"/api/billstack/teams/{team_id}/stripe/status/stream", headers={"Cookie": cookie})

    assert stream.status == 200
    assert stream.readline().startswith(b"retry: ")
    assert any(b"syncStatus" in stream.readline() for _ in range(5))
    assert time.monotonic() - began < 10, "the stream itself lasts for two minutes"


def test_slow_clients_cost_the_web_nothing(proxy_port: int, request_: Request) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    slow = [context.wrap_socket(socket.create_connection(("127.0.0.1", proxy_port), timeout=30)) for _ in range(50)]
    for connection in slow:
        connection.sendall(b"POST /api/auth/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")

    began = time.monotonic()
    assert request_("GET", "/healthz").status == 200
    assert time.monotonic() - began < 5
    assert b"200" not in slow[0].recv(100), "hung up on, or 408, after client_body_timeout"
    assert time.monotonic() - began < 20
