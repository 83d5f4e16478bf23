"""The SDK writes every request's headers and encodes what is posted, and no answer passes through it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import stripe

from sync.errors import StripeRejected
from sync.stripe.curl import Headers, HttpAnswer
from sync.stripe.sdk import API_VERSION, Sdk

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


def test_nothing_is_sent_before_the_first_read() -> None:
    sent = Sent()
    sdk(sent)
    assert sent.requests == []


def test_a_read_has_the_headers_that_the_sdk_would_send() -> None:
    """Among them the key and our version; but for what is of one request: how long the last one took."""
    sent = Sent()
    ours = sdk(sent)

    ours.write("get", "/v1/customers/cus_1", {})

    [(_, _, its_headers, _)] = sent.requests
    own = {name: value for name, value in its_headers.items() if name != "X-Stripe-Client-Telemetry"}
    assert dict(ours.headers) == own
    assert (ours.headers["Authorization"], ours.headers["Stripe-Version"]) == ("Bearer sk_test_a", API_VERSION)
    assert "Idempotency-Key" not in ours.headers


def test_each_key_has_headers_of_its_own() -> None:
    keys = [sdk(Sent(), key).headers["Authorization"] for key in ("sk_test_a", "sk_test_b")]

    assert keys == ["Bearer sk_test_a", "Bearer sk_test_b"]


@pytest.mark.parametrize("method", ["post", "delete"])
def test_an_answer_that_says_no_comes_as_it_is(method: str) -> None:
    no = HttpAnswer(402, Headers({"Request-Id": "req_1"}), b"No.")

    assert sdk(Sent(no)).write(method, "/v1/customers/cus_1", {}) == no


def test_what_the_sdk_itself_refuses_to_send_is_a_refusal() -> None:
    class Refusing(Sent):
        def send(self, *args: object, **options: object) -> HttpAnswer:
            raise stripe.InvalidRequestError("that cannot be sent", param=None)

    with pytest.raises(StripeRejected, match="that cannot be sent"):
        sdk(Refusing()).write("post", "/v1/customers", {})


def test_a_write_carries_its_idempotency_key_and_gives_the_body_unread() -> None:
    sent = Sent(HttpAnswer(200, Headers(), b"not even JSON"))

    answer = sdk(sent).write("post", "/v1/customers", {"email": "a@example.com", "idempotency_key": "once"})

    [(method, url, headers, body)] = sent.requests
    assert (method, url, body) == ("POST", "https://stripe.invalid/v1/customers", "email=a%40example.com")
    assert headers["Idempotency-Key"] == "once"
    assert answer.body == b"not even JSON"
