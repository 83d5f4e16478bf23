"""The web behind Debian's nginx and Caddy, configured as docs/operations.md says, but for addresses and the certificate."""

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
from scripts.local.servers import temporary_state_dir
from scripts.local.stack import Stack, running_stack
from tests.servers.conftest import require_servers

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/operations.md"
HOST = "billing.example.com"
PASSWORD = "correct horse battery"
JSON = {"Content_Type": "application/json"}
Request = Callable[..., http.client.HTTPResponse]


PROXIES = {"nginx": "nginx (apt install nginx)", "caddy": "Caddy (apt install caddy)"}


@pytest.fixture(scope="module", params=PROXIES)
def program(request: pytest.FixtureRequest) -> str:
    found = shutil.which(request.param, path=f"{os.environ['PATH']}:/usr/sbin")
    require_servers(request.config, PROXIES[request.param], found is not None)
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
    folder = tmp_path_factory.mktemp("proxy")
    port, name = free_port(), Path(program).name
    make_certificate(folder)
    config = as_on_the_page(name).replace("127.0.0.1:8000", stack.url.removeprefix("http://"))
    checks, runs = COMMANDS[name](program, folder, port, config)
    env = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    checked = subprocess.run(checks, env=env, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(runs, env=env, stderr=log)
        try:
            wait_for(port)
            yield port
        finally:
            server.terminate()
            server.wait(20)


def nginx_commands(program: str, folder: Path, port: int, site: str) -> tuple[list[str], list[str]]:
    site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    site = site.replace("listen 80", f"listen 127.0.0.1:{free_port()}")
    site = site.replace("/etc/ssl/billing.example.com.", f"{folder}/")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    whole = folder / "nginx.conf"
    whole.write_text(f"{user} daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {temporary}\n{site}}}")
    command = [program, "-e", str(folder / "errors"), "-c", str(whole)]
    return [*command, "-t"], command


def caddy_commands(program: str, folder: Path, port: int, config: str) -> tuple[list[str], list[str]]:
    """With a certificate at hand: Caddy would ask for one over the Internet."""
    options = f"{{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_sni {HOST}\n"
    config = options + config.removeprefix("{\n")
    config = config.replace(f"\n{HOST} {{\n", f"\nhttps://{HOST}:{port} {{\n\ttls {folder}/pem {folder}/key\n")
    whole = folder / "Caddyfile"
    whole.write_text(config)
    options_of_both = ["--config", str(whole), "--adapter", "caddyfile"]
    return [program, "validate", *options_of_both], [program, "run", *options_of_both]


COMMANDS = {"nginx": nginx_commands, "caddy": caddy_commands}


def as_on_the_page(name: str) -> str:
    found = re.search(rf"```{name}(?:file)?\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


def make_certificate(folder: Path) -> None:
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "pem")]
    names = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
    subprocess.run(command, check=True, capture_output=True)


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
    raise AssertionError("the proxy does not listen")


@pytest.fixture
def request_(proxy_port: int) -> Request:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def send(method: str, path: str, *, body: str | bytes | None = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection("127.0.0.1", proxy_port, timeout=30, context=context)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers={"Host": HOST} | given)
        answer = connection.getresponse()
        answer.connection = connection  # type: ignore[attr-defined]  # closed with the last reference to it
        return answer

    return send


def test_it_answers_and_shows_no_metrics(request_: Request) -> None:
    assert request_("GET", "/healthz").status == 200
    assert request_("GET", "/metrics").status == 404


def test_a_body_that_is_too_large_gets_the_answer_of_the_web(request_: Request) -> None:
    answer = request_("POST", "/api/auth/sign-in", body=b"x" * 1_500_000, **JSON)

    assert (answer.status, json.loads(answer.read())["code"]) == (413, "too_large")


def test_failures_count_for_the_address_that_the_proxy_saw(stack: Stack, request_: Request) -> None:
    wrong = '{"email": "nobody@example.com", "password": "wrong"}'

    request_("POST", "/api/auth/sign-in", body=wrong, X_Forwarded_For="198.51.100.1", **JSON)

    with psycopg.connect(stack.postgres.url) as connection:
        counted = {who for (who,) in connection.execute("SELECT who FROM billstack.attempts")}
    assert FROM_ADDRESS.counter(network_of("127.0.0.1")) in counted
    assert FROM_ADDRESS.counter(network_of("198.51.100.1")) not in counted


def test_a_live_view_comes_piece_by_piece(stack: Stack, request_: Request) -> None:
    options = ("--email", "owner@example.com", "--team", "Team")
    team_id = json.loads(stack.flask("create-user", *options, says=PASSWORD + "\n"))["teamId"]
    credentials = json.dumps({"email": "owner@example.com", "password": PASSWORD})
    signed_in = request_("POST", "/api/auth/sign-in", body=credentials, **JSON)
    cookie = signed_in.headers["Set-Cookie"].partition(";")[0]

    began = time.monotonic()
    stream = request_("GET", f"/api/billstack/teams/{team_id}/stripe/status/stream", Cookie=cookie)

    assert stream.status == 200
    assert stream.readline().startswith(b"retry: ")
    assert any(b"syncStatus" in stream.readline() for _ in range(5))
    assert time.monotonic() - began < 10, "the stream itself lasts for two minutes"


def test_slow_clients_cost_the_web_nothing(proxy_port: int, request_: Request) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    slow = [context.wrap_socket(socket.create_connection(("127.0.0.1", proxy_port), timeout=30)) for _ in range(50)]
    for connection in slow:
        connection.sendall(
            b"POST /api/auth/sign-in HTTP/1.1\r\nHost: billing.example.com\r\nContent-Length: 100\r\n\r\n{"
        )

    began = time.monotonic()
    assert request_("GET", "/healthz").status == 200
    assert time.monotonic() - began < 5
    status = slow[0].recv(100)[9:12]
    assert status in (b"", b"408", b"504"), "hung up on, or told so, after the body's time"
    assert time.monotonic() - began < 20
