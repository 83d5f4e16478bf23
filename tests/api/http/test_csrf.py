"""A foreign page cannot make a signed-in browser change something."""

import pytest

SIGN_OUT = "/api/auth/sign-out"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://billstack.test"},  # the public URL
        {"Origin": "http://localhost"},  # the address that was asked
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://behind-a-proxy"},
        {"Content-Type": "application/json"},
        {"Content-Type": "application/json; charset=utf-8", "Origin": "https://evil.example"},
    ],
)
def test_our_own_pages_and_json_may_change_state(owner, headers):
    assert owner.client.post(SIGN_OUT, headers=headers).status_code == 204


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://billstack.test"},  # another scheme is another origin
        {"Origin": "http://billstack.test.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://billstack.test"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain; application/json"},
    ],
)
def test_whatever_else_carries_the_cookie_may_not(owner, headers):
    answer = owner.client.post(SIGN_OUT, headers=headers)

    assert answer.status_code == 403
    assert answer.json["code"] == "cross_site"
    assert owner.client.get("/api/auth/session").status_code == 200


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_every_method_that_can_change_state_is_checked(owner, method):
    answer = getattr(owner.client, method)("/rq/requeue/backfills")

    assert answer.status_code in (403, 405)


def test_reading_needs_no_origin(owner):
    assert owner.client.get("/api/auth/session", headers={"Origin": "https://evil.example"}).status_code == 200


def test_without_a_cookie_there_is_nothing_to_abuse(client):
    assert client.post(SIGN_OUT, headers={"Origin": "https://evil.example"}).status_code == 204
