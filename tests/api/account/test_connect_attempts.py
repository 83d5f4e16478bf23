"""Keys of Stripe that a team tries: bounded, counted before Stripe is asked, and no other team's connect waits for them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from api.http.context import EXTENSION
from scripts.sandbox.running import SandboxThread
from scripts.sandbox.sandbox import Sandbox

ATTEMPTS_OF_TEAM = 20
CROWD = 300


@pytest.fixture(scope="module")
def stripe_url():
    with SandboxThread(Sandbox()) as sandbox:
        sandbox.add_account("demo", scale=0.01)
        yield sandbox.url


@pytest.fixture
def settings(settings, stripe_url):
    return replace(settings, stripe_api_base=stripe_url)


def test_300_connects_with_bad_keys_are_bounded_and_delay_no_other_team(app, new_member):
    villain, other = new_member(), new_member()
    cookie = villain.client.get_cookie("billstack_session").value
    has_begun = threading.Event()

    def try_key(number):
        client = app.test_client()
        client.set_cookie("billstack_session", cookie)
        answer = client.post(f"{villain.stripe}/connect", json={"secretKey": f"sk_test_bad{number}"})
        has_begun.set()
        return answer

    with ThreadPoolExecutor(40) as pool:
        answers = [pool.submit(try_key, number) for number in range(CROWD)]
        has_begun.wait(30)
        connected = other.client.post(f"{other.stripe}/connect", json={"secretKey": "sk_test_demo"})
        has_own_budget = app.extensions[EXTENSION].redis.exists(f"billstack:budget:{{unknown:{other.team_id}}}:test")
        answers = [each.result() for each in answers]

    assert connected.status_code == 200
    assert has_own_budget, "with one budget for all, of 20 requests a second, it would take 15 s"
    refused = [each for each in answers if each.status_code == 429]
    assert [each.status_code for each in answers].count(400) == ATTEMPTS_OF_TEAM
    assert len(refused) == CROWD - ATTEMPTS_OF_TEAM
    assert all(0 < int(each.headers["Retry-After"]) <= 300 for each in refused)


def test_a_team_that_tried_too_much_is_refused_with_its_right_key_and_another_is_not(new_member):
    team, other = new_member(), new_member()
    for _ in range(ATTEMPTS_OF_TEAM):
        team.client.post(f"{team.stripe}/connect", json={"secretKey": "sk_test_bad"})

    answers = [each.client.post(f"{each.stripe}/connect", json={"secretKey": "sk_test_demo"}) for each in (team, other)]

    assert [each.status_code for each in answers] == [429, 200]
    assert answers[0].json["code"] == "too_many_requests"
