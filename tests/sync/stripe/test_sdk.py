"""The SDK writes every request's headers and judges every refusal, though a successful read never passes through it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import stripe

from sync.stripe.curl import Headers, HttpAnswer
from sync.stripe.sdk import API_VERSION, Sdk
from tests.factories import encoded

OK = HttpAnswer(200, Headers(), b'{"id":"cus_1"}')


@dataclass
class Sent:
    """What was sent; every request gets `answer`."""

    answer: HttpAnswer = OK
    requests: list[tuple[str, str, Mapping[str, str], str | None]] = field(default_factory=list)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: str | None = None) -> HttpAnswer:
        self.requests.append((method, url, headers, body))
        return self.answer


def sdk(sent: Sent, key: str = "sk_test_a") -> Sdk:
    return Sdk(secret_key=key, api_base="https://stripe.invalid", transport=sent)


def no(status: int, body: bytes, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, Headers(headers), body)


def test_nothing_is_sent_before_the_first_read() -> None:
    sent = Sent()
    sdk(sent)
    assert sent.requests == []


def test_a_read_carries_the_key_and_our_version_and_its_parameters() -> None:
    sent = Sent()

    answer = sdk(sent).get("/v1/customers", {"created[gte]": 5, "email": "a+b@example.com"})

    [(method, url, headers, body)] = sent.requests
    assert (method, body, answer) == ("GET", None, OK)
    assert url == "https://stripe.invalid/v1/customers?created%5Bgte%5D=5&email=a%2Bb%40example.com"
    assert (headers["Authorization"], headers["Stripe-Version"]) == ("Bearer sk_test_a", API_VERSION)
    assert "Idempotency-Key" not in headers


def test_each_key_has_headers_of_its_own() -> None:
    sent = Sent()
    first, second = sdk(sent, "sk_test_a"), sdk(sent, "sk_test_b")

    for each in (first, second, first):
        each.get("/v1/account", {})

    keys = [headers["Authorization"] for _, _, headers, _ in sent.requests]
    assert keys == ["Bearer sk_test_a", "Bearer sk_test_b", "Bearer sk_test_a"]


def test_a_read_has_the_headers_that_the_sdk_would_send() -> None:
    """But for what is of one request: how long the last one took."""
    sent = Sent()
    ours = sdk(sent)

    ours.get("/v1/customers/cus_1", {})
    ours.write("get", "/v1/customers/cus_1", {})

    (_, our_url, our_headers, _), (_, its_url, its_headers, _) = sent.requests
    assert our_url == its_url
    own = {name: value for name, value in its_headers.items() if name != "X-Stripe-Client-Telemetry"}
    assert dict(our_headers) == own


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (no(400, encoded({"error": {"message": "No.", "type": "invalid_request_error"}})), stripe.InvalidRequestError),
        (no(401, encoded({"error": {"message": "No."}})), stripe.AuthenticationError),
        (no(403, encoded({"error": {"message": "No."}})), stripe.PermissionError),
        (no(429, encoded({"error": {"message": "No."}})), stripe.RateLimitError),
        (no(500, encoded({"error": {"message": "No."}})), stripe.APIError),
        (no(502, b"<html>Bad gateway</html>"), stripe.APIError),
        (no(302, b"", Location="https://elsewhere.invalid"), stripe.APIError),
        (no(503, b"\xff\xfe"), stripe.APIError),
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_every_refusal_is_the_sdks_error(answer: HttpAnswer, error: type[stripe.StripeError], method: str) -> None:
    client = sdk(Sent(answer))

    with pytest.raises(error) as raised:
        client.get("/v1/customers", {}) if method == "get" else client.write("post", "/v1/customers", {})

    assert raised.value.http_status == answer.status


def test_a_write_carries_its_idempotency_key_and_gives_the_body_unread() -> None:
    sent = Sent(HttpAnswer(200, Headers(), b"not even JSON"))

    answer = sdk(sent).write("post", "/v1/customers", {"email": "a@example.com", "idempotency_key": "once"})

    [(method, url, headers, body)] = sent.requests
    assert (method, url, body) == ("POST", "https://stripe.invalid/v1/customers", "email=a%40example.com")
    assert headers["Idempotency-Key"] == "once"
    assert answer.body == b"not even JSON"
