"""Whose address the sign-in limit counts: what a client says of itself is believed from no one but our own proxies."""

from dataclasses import replace

import psycopg
import pytest

from api.people.attempts import FROM_ADDRESS, network_of
from sync.errors import ConfigError
from workers.settings import Settings

PROXY, CLIENT = "10.0.0.7", "203.0.113.9"


@pytest.fixture
def counted_from(new_app, settings):
    """The address whose failed sign-ins were counted."""

    def fail_to_sign_in(forwarded: str | None, *, trusted_proxies: int) -> str | None:
        client = new_app(replace(settings, trusted_proxies=trusted_proxies)).test_client()
        addresses = (PROXY, CLIENT, "198.51.100.1", "198.51.100.2")
        answer = client.post(
            "/api/auth/sign-in",
            json={"email": "nobody@example.com", "password": "wrong"},
            headers={"X-Forwarded-For": forwarded} if forwarded else {},
            environ_overrides={"REMOTE_ADDR": PROXY},
        )
        assert answer.status_code == 401
        with psycopg.connect(settings.database_url) as connection:
            counters = {who for (who,) in connection.execute("SELECT who FROM billstack.attempts WHERE spent > 0")}
            connection.execute("TRUNCATE billstack.attempts")
        (counted,) = [each for each in addresses if FROM_ADDRESS.counter(network_of(each)) in counters]
        return counted

    return fail_to_sign_in


def test_a_forwarded_address_is_ignored_by_default(counted_from, environment):
    trusted = Settings.from_env(environment).trusted_proxies

    assert counted_from(CLIENT, trusted_proxies=trusted) == PROXY


@pytest.mark.parametrize(
    ("proxies", "forwarded"),
    [(1, CLIENT), (1, f"198.51.100.1, {CLIENT}"), (2, f"198.51.100.1, {CLIENT}, 198.51.100.2")],
)
def test_behind_proxies_it_is_what_the_first_of_them_saw(counted_from, proxies, forwarded):
    assert counted_from(forwarded, trusted_proxies=proxies) == CLIENT


@pytest.mark.parametrize(("proxies", "forwarded"), [(1, None), (2, "198.51.100.1")])
def test_a_request_that_passed_fewer_proxies_is_its_senders(counted_from, proxies, forwarded):
    assert counted_from(forwarded, trusted_proxies=proxies) == PROXY


@pytest.mark.parametrize("text", ["-1", "11", "one", "1.5", "²"])
def test_a_number_that_is_none_stops_the_process_and_says_what_it_should_be(environment, text):
    with pytest.raises(ConfigError, match="BILLSTACK_TRUSTED_PROXIES is malformed: it should be a number from 0 to 10"):
        Settings.from_env({**environment, "BILLSTACK_TRUSTED_PROXIES": text})
