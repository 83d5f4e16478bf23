"""An answer that says no becomes an error of ours that says the same as the SDK's would."""

import pytest
import stripe

from sync.errors import StripeError, StripeRateLimited, StripeRejected, StripeUnavailable
from sync.stripe.answers import raise_for_status
from sync.stripe.curl import Headers, HttpAnswer
from sync.stripe.sdk import API_VERSION
from tests.factories import encoded

DECLINED = {"message": "Declined.", "type": "card_error", "code": "card_declined", "param": "source"}


def refused(status: int, body: bytes, **headers: str) -> StripeError:
    with pytest.raises(StripeError) as raised:
        raise_for_status(HttpAnswer(status, Headers(headers), body), 0.5)
    return raised.value


class Given(stripe.HTTPClient):
    name = "given"

    def __init__(self, *answer: object) -> None:
        super().__init__()
        self._answer = answer

    def request(self, *_: object, **__: object) -> tuple:
        return self._answer


def sdks_error(status: int, body: bytes, headers: dict[str, str]) -> stripe.StripeError:
    given = Given(body.decode("utf-8", "replace"), status, Headers(headers))
    client = stripe.StripeClient("sk_test_a", http_client=given, max_network_retries=0, stripe_version=API_VERSION)
    with pytest.raises(stripe.StripeError) as raised:
        client.raw_request("get", "/v1/account")
    return raised.value


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 409, 413, 418, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(
    "error",
    [
        {"message": "No.", "type": "invalid_request_error"},
        {"message": "No.", "type": "invalid_request_error", "code": "resource_missing", "param": "id"},
        {"message": "Too fast.", "type": "invalid_request_error", "code": "rate_limit"},
        {"message": "Again.", "type": "idempotency_error"},
        DECLINED,
    ],
    ids=lambda error: error.get("code") or error["type"],
)
def test_a_refusal_says_what_the_sdks_error_says(status: int, error: dict[str, str]) -> None:
    body, headers = encoded({"error": error}), {"Request-Id": "req_1", "Retry-After": "3"}

    ours, theirs = refused(status, body, **headers), sdks_error(status, body, headers)

    assert ours.message == theirs.user_message
    assert theirs.error  # the whole of it: of some kinds of errors the SDK leaves `code` and `param` out
    assert (ours.stripe_code, ours.request_id) == (theirs.error.code, theirs.request_id)
    assert (ours.param, ours.type) == (error.get("param"), error["type"])
    assert ours.retry_after_s == 3
    assert isinstance(ours, StripeRateLimited) == isinstance(theirs, stripe.RateLimitError)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(302, StripeUnavailable), (409, StripeUnavailable), (429, StripeRateLimited), (500, StripeUnavailable)]
    + [(status, StripeRejected) for status in (400, 401, 402, 403, 404, 413, 499)],
)
def test_what_may_pass_is_unavailable_and_what_will_not_is_rejected(status: int, kind: type[StripeError]) -> None:
    assert type(refused(status, encoded({"error": {"message": "No."}}))) is kind


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"\xff\xfe",
        b"[]",
        b'{"error": "invalid_grant"}',
        b'{"error": {}}',
        b'{"error": {"message": 5, "code": null}}',
        b'{"error": {"message": ""}}',
        b'{"error"',
    ],
)
def test_a_body_that_says_nothing_is_not_repeated(body: bytes) -> None:
    error = refused(502, body)

    assert error.message == "Stripe answered 502 without saying why"
    assert (error.stripe_code, error.param, error.type) == (None, None, None)


def test_a_sentence_with_half_a_surrogate_is_readable() -> None:
    assert refused(400, b'{"error": {"message": "a \\ud800 b"}}').message == "a \0 b"


def test_stripes_replay_of_a_failure_is_known() -> None:
    replayed = refused(500, b"", **{"Idempotent-Replayed": "true"})

    assert isinstance(replayed, StripeUnavailable)
    assert replayed.is_replay


@pytest.mark.parametrize("status", [401, 403])
def test_whoever_may_not_look_does_not_learn_that_something_is_missing(status: int) -> None:
    refusal = refused(status, encoded({"error": {"message": "No.", "code": "resource_missing"}}))

    assert isinstance(refusal, StripeRejected)
    assert not refusal.is_missing


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_success_passes(status: int) -> None:
    raise_for_status(HttpAnswer(status, Headers(), b""), 0.5)
