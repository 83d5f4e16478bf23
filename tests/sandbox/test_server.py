"""Over HTTP the sandbox looks like Stripe, also when it is told to fail."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any
from urllib.parse import urlencode, urlsplit

import psutil
import pytest

from scripts.sandbox.faults import Fault, FaultPlan, parse
from scripts.sandbox.running import SandboxProcess, SandboxThread


class Client:
    """A bare HTTP connection, so that broken answers can be looked at."""

    def __init__(self, url: str, key: str = "sk_test_demo", timeout: float = 10) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
        self._key = key

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, **params: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        body = urlencode(params) if method == "POST" else None
        address = f"{path}?{urlencode(params)}" if params and method != "POST" else path
        self._connection.request(method, address, body, {"Authorization": f"Bearer {self._key}", **(headers or {})})
        answer = self._connection.getresponse()
        return answer, answer.read()

    def get(self, path: str, **params: str) -> tuple[http.client.HTTPResponse, bytes]:
        return self.ask("GET", path, None, **params)


@pytest.fixture
def client(served: SandboxThread) -> Iterator[Client]:
    client = Client(served.url)
    yield client
    client._connection.close()


def strike(served: SandboxThread, kind: str, **how: Any) -> None:
    """The very next request is struck, and no other."""
    served.call("PUT", "faults", faults=[{"kind": kind, "numbers": [1], **how}])


def test_answers_carry_stripes_headers(client: Client) -> None:
    answer, body = client.ask(
        "POST", "/v1/customers", {"Idempotency-Key": "k1", "Stripe-Version": "2026-10-28.endive"}, email="a@b.example"
    )

    assert answer.status == 200
    assert answer.headers["Request-Id"].startswith("req_")
    assert answer.headers["Stripe-Version"] == "2026-10-28.endive"
    assert answer.headers["Idempotency-Key"] == "k1"
    assert answer.headers["Date"].endswith("GMT")
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(body)["email"] == "a@b.example"


def test_refusals_have_a_request_id_too(served: SandboxThread) -> None:
    answer, body = Client(served.url, "sk_test_nobody").get("/v1/charges")

    assert answer.status == 401
    assert answer.headers["Request-Id"].startswith("req_")
    assert "error" in json.loads(body)


def test_one_connection_serves_many_requests(client: Client) -> None:
    ids = [json.loads(client.get("/v1/charges", limit="1")[1])["data"][0]["id"] for _ in range(20)]

    assert len(set(ids)) == 1


def test_pipelined_requests_are_answered_in_order(served: SandboxThread) -> None:
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=5) as connection:
        for path in ("/v1/customers/cus_1", "/v1/customers/cus_2"):
            connection.sendall(f"GET {path} HTTP/1.1\r\nAuthorization: Bearer sk_test_demo\r\n\r\n".encode())
        received = b""
        while received.count(b"HTTP/1.1") < 2 or not received.endswith(b"}"):
            received += connection.recv(65536)

    assert received.index(b"cus_1") < received.index(b"cus_2")


def test_unicode_arrives_whole(client: Client) -> None:
    _, body = client.ask("POST", "/v1/customers", name="יעל 🚀 O'Neil & Söhne")

    assert json.loads(body)["name"] == "יעל 🚀 O'Neil & Söhne"


@pytest.mark.parametrize(("kind", "status"), [("500", 500), ("500-after", 500), ("502", 502), ("429", 429)])
def test_a_status_fault_strikes_once_and_the_next_request_is_well(
    served: SandboxThread, client: Client, kind: str, status: int
) -> None:
    strike(served, kind)

    struck, body = client.get("/v1/charges")
    well, _ = client.get("/v1/charges")

    assert (struck.status, well.status) == (status, 200)
    assert "Stripe-Rate-Limited-Reason" not in struck.headers
    assert body.startswith(b"<html>" if kind == "502" else b'{"error"')


@pytest.mark.parametrize(("kind", "made"), [("500", 0), ("502", 0), ("reset", 0), ("500-after", 1), ("reset-after", 1)])
def test_a_fault_strikes_before_or_after_the_work(served: SandboxThread, kind: str, made: int) -> None:
    strike(served, kind)
    before = served.call("GET", "accounts")[0]["counts"]["customer"]

    try:
        Client(served.url).ask("POST", "/v1/customers", name="Ada")
    except ConnectionError:
        assert "reset" in kind

    assert served.call("GET", "accounts")[0]["counts"]["customer"] - before == made


def test_a_reset_after_the_work_can_be_repeated_under_its_key(served: SandboxThread) -> None:
    strike(served, "reset-after")
    with pytest.raises(ConnectionError):
        Client(served.url).ask("POST", "/v1/customers", {"Idempotency-Key": "k"}, name="Ada")

    answer, _ = Client(served.url).ask("POST", "/v1/customers", {"Idempotency-Key": "k"}, name="Ada")

    assert answer.headers["Idempotent-Replayed"] == "true"
    assert served.call("GET", "accounts")[0]["counts"]["customer"] == 126


def test_a_truncated_answer_announces_more_than_it_brings(served: SandboxThread, client: Client) -> None:
    strike(served, "truncated")

    with pytest.raises(http.client.IncompleteRead):
        client.get("/v1/charges", limit="100")


def test_garbage_is_broken_json_under_a_200(served: SandboxThread, client: Client) -> None:
    strike(served, "garbage")

    answer, body = client.get("/v1/charges")

    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


@pytest.mark.parametrize("kind", ["hang", "slow"], ids=["hanging", "dribbling"])
def test_a_hanging_or_slow_answer_takes_its_seconds(served: SandboxThread, client: Client, kind: str) -> None:
    strike(served, kind, seconds=0.3)
    start = time.monotonic()

    answer, body = client.get("/v1/charges")

    assert time.monotonic() - start >= 0.3
    assert answer.status == 200
    assert len(json.loads(body)["data"]) == 10


def test_a_fault_can_be_bound_to_a_path_and_is_taken_back(served: SandboxThread, client: Client) -> None:
    served.call("PUT", "faults", faults=[{"kind": "500", "share": 1, "path": "/v1/invoices"}])

    assert client.get("/v1/charges")[0].status == 200
    assert client.get("/v1/invoices")[0].status == 500
    served.call("DELETE", "faults")
    assert client.get("/v1/invoices")[0].status == 200


def test_a_fault_by_chance_strikes_its_share_and_the_same_for_a_seed() -> None:
    def struck(seed: int) -> list[bool]:
        plan = FaultPlan((Fault("500", share=0.1),), seed)
        return [plan.strike("GET", "/v1/charges") is not None for _ in range(2000)]

    assert struck(1) == struck(1) != struck(2)
    assert 140 < sum(struck(1)) < 260


def test_a_fault_strikes_at_most_so_many_times() -> None:
    plan = FaultPlan((Fault("500", share=1, times=2, method="POST"),))

    assert [plan.strike("POST", "/") is not None for _ in range(4)] == [True, True, False, False]
    assert plan.strike("GET", "/") is None


def test_faults_are_written_as_on_the_command_line() -> None:
    assert parse("500:0.05") == Fault("500", 0.05)
    assert parse("hang=60:0.01@/v1/invoices") == Fault("hang", 0.01, path="/v1/invoices", seconds=60)
    assert parse("reset-after:#3,7") == Fault("reset-after", numbers=(3, 7))
    for wrong in ("500", "earthquake:0.1", "500:often"):
        with pytest.raises(ValueError, match="fault"):
            parse(wrong)


def test_latency_delays_every_answer_and_concurrency_is_limited(served: SandboxThread) -> None:
    served.call("PUT", "latency", ms=2000)
    served.call("PUT", "limits", concurrency=2)
    start = time.monotonic()

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: Client(served.url).get("/v1/charges")[0], range(5)))

    assert time.monotonic() - start >= 2
    assert sorted(answer.status for answer in answers) == [200, 200, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.headers["Stripe-Rate-Limited-Reason"] == "global-concurrency"
    assert served.stats()["maxInFlight"] == 2


def test_two_requests_at_once_under_one_key_conflict(served: SandboxThread) -> None:
    served.call("PUT", "latency", ms=2000)

    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda _: Client(served.url).ask("POST", "/v1/customers", {"Idempotency-Key": "k"}, name="Ada")[0],
                range(2),
            )
        )

    assert sorted(answer.status for answer in answers) == [200, 409]
    assert Client(served.url).ask("POST", "/v1/customers", {"Idempotency-Key": "k"}, name="Ada")[0].status == 200


def test_the_clock_in_the_date_header_can_be_ahead() -> None:
    with SandboxProcess("--scale", "0.01", "--clock-offset-s", "86400") as sandbox:
        date = Client(sandbox.url).get("/v1/charges")[0].headers["Date"]

    ahead = time.mktime(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")) - time.mktime(time.gmtime())
    assert 86_300 < ahead < 86_500


def test_a_large_page_costs_the_sandbox_much_less_than_to_write_its_json() -> None:
    """Both in processor time and in turn, so that a busy machine does not decide: 400 pages of 100 invoices."""
    with SandboxProcess() as sandbox:
        client = Client(sandbox.url)
        process = psutil.Process(sandbox.pid)
        before = sum(process.cpu_times()[:2])
        written_s = []
        for _ in range(20):
            pages = [client.get("/v1/invoices", limit="100")[1] for _ in range(20)]
            assert min(map(len, pages)) > 300_000
            page = json.loads(pages[0])
            began = time.thread_time()
            json.dumps(page)
            written_s.append(time.thread_time() - began)
        used_s = sum(process.cpu_times()[:2]) - before

    assert used_s / 400 < median(written_s) / 3


def test_what_is_no_http_is_hung_up_on(served: SandboxThread) -> None:
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=5) as connection:
        connection.sendall(b"hello\r\n\r\n")
        assert connection.recv(100) == b""
