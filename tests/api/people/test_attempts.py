"""Guessing passwords: counted before they are checked, by account, address and device, whether or not Redis is there."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sync.errors import TooManyRequests

FAILURES_OF_ACCOUNT = 10
FAILURES_FROM_ADDRESS = 100
WINDOW_S = 300


@pytest.fixture
def at(app):
    """A browser that nobody knows, at an address."""

    def create(address):
        client = app.test_client()
        client.environ_base["REMOTE_ADDR"] = address
        return client

    return create


def test_of_many_guesses_at_the_same_moment_ten_are_checked(app, owner, sign_in):
    def guess(number):
        return sign_in(app.test_client(), owner.email, f"guess {number}").status_code

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(guess, range(120)))

    assert sorted(answers) == [401] * FAILURES_OF_ACCOUNT + [429] * (120 - FAILURES_OF_ACCOUNT)


def test_spellings_of_one_address_are_counted_together(client, new_member, sign_in, database):
    """Python's lower() and Postgres' differ for some letters: each spelling found the user and had a count of its own."""
    person = new_member(email="iiii@example.com")
    spellings = [
        "".join(letters) + "@example.com"
        for letters in itertools.product("i\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", repeat=4)
    ]
    same = [
        each
        for each in spellings
        if database.execute("SELECT lower(%s) = lower(%s)", (each, person.email)).fetchone()[0]
    ]

    answers = [sign_in(client, each, "wrong").status_code for each in 2 * same + 20 * [person.email]]

    assert answers.count(401) == FAILURES_OF_ACCOUNT


def test_case_makes_no_other_account_of_an_address(client, owner, sign_in):
    spelled = [owner.email.upper(), owner.email.title(), owner.email]

    answers = [sign_in(client, spelled[n % 3], "wrong").status_code for n in range(3 * FAILURES_OF_ACCOUNT)]

    assert answers.count(401) == FAILURES_OF_ACCOUNT


def test_an_account_is_closed_for_a_while_after_some_failures(client, owner, new_member, sign_in):
    other = new_member()

    failed = [sign_in(client, owner.email, "wrong").status_code for _ in range(FAILURES_OF_ACCOUNT)]
    refused = sign_in(client, owner.email.upper())

    assert set(failed) == {401}
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_requests")
    assert 0 < int(refused.headers["Retry-After"]) <= WINDOW_S
    assert sign_in(client, other.email).status_code == 200


def test_unknown_accounts_are_limited_alike(client, sign_in):
    answers = [sign_in(client, "nobody@example.com").status_code for _ in range(FAILURES_OF_ACCOUNT + 1)]

    assert answers == [401] * FAILURES_OF_ACCOUNT + [429]


def test_a_stranger_shuts_the_owner_out_nowhere(at, owner, sign_in):
    stranger = at("192.0.2.66")
    for _ in range(3 * FAILURES_OF_ACCOUNT):
        sign_in(stranger, owner.email, "wrong")

    assert sign_in(stranger, owner.email).status_code == 429
    assert sign_in(at("192.0.2.1"), owner.email).status_code == 200, "at another address"
    owner.client.post("/api/auth/sign-out", json={})
    assert sign_in(owner.client, owner.email).status_code == 200, "on their own device"


def test_a_stranger_behind_the_same_proxy_shuts_out_no_known_device(at, owner, sign_in):
    proxy = "192.0.2.66"
    owner.client.environ_base["REMOTE_ADDR"] = proxy
    owner.client.post("/api/auth/sign-out", json={})
    answers = [sign_in(at(proxy), f"nobody{n}@example.com").status_code for n in range(FAILURES_FROM_ADDRESS + 1)]
    answers += [sign_in(at(proxy), owner.email, "wrong").status_code for n in range(FAILURES_OF_ACCOUNT + 1)]

    assert answers.count(401) == FAILURES_FROM_ADDRESS
    assert sign_in(at(proxy), owner.email).status_code == 429
    assert sign_in(owner.client, owner.email).status_code == 200


def test_many_strangers_shut_out_no_known_device(at, owner, sign_in):
    addresses = [f"192.0.2.{n}" for n in range(12)]
    answers = [sign_in(at(each), owner.email, "wrong").status_code for each in addresses for _ in range(10)]

    assert answers.count(401) == 100, "however many addresses they have"
    assert sign_in(at("192.0.2.200"), owner.email).status_code == 429
    assert sign_in(owner.client, owner.email).status_code == 200


def test_an_address_of_ipv6_counts_by_its_network(at, owner, sign_in):
    answers = [sign_in(at(f"2001:db8:1:1::{n:x}"), owner.email, "wrong").status_code for n in range(20)]

    assert answers.count(401) == FAILURES_OF_ACCOUNT
    assert sign_in(at("2001:db8:1:2::1"), owner.email).status_code == 200


def test_a_known_device_guesses_no_faster(owner, sign_in):
    answers = [sign_in(owner.client, owner.email, "wrong").status_code for _ in range(20)]

    assert answers == [401] * FAILURES_OF_ACCOUNT + [429] * 10


@pytest.mark.parametrize("value", ["", "x", "a.b", "\u00ff.\u00ff", "0" * 4000])
def test_a_device_that_somebody_made_up_is_none(at, owner, sign_in, value):
    stranger = at("192.0.2.66")
    answers = []
    for number in range(15):
        stranger.set_cookie("billstack_device", f"{number}{value}")
        answers.append(sign_in(stranger, owner.email, "wrong").status_code)

    assert answers.count(401) == FAILURES_OF_ACCOUNT


def test_a_device_of_one_account_is_none_of_anothers(at, owner, new_member, sign_in):
    thief = new_member()
    thief.client.environ_base["REMOTE_ADDR"] = "192.0.2.66"
    for _ in range(15):
        sign_in(at("192.0.2.66"), owner.email, "wrong")

    assert sign_in(thief.client, owner.email).status_code == 429


def test_an_address_is_limited_over_all_accounts(at, sign_in, owner):
    here = at("192.0.2.66")

    answers = [sign_in(here, f"nobody{n}@example.com").status_code for n in range(FAILURES_FROM_ADDRESS + 1)]

    assert answers == [401] * FAILURES_FROM_ADDRESS + [429]
    assert sign_in(here, owner.email).status_code == 429
    assert sign_in(at("192.0.2.1"), owner.email).status_code == 200


def test_good_sign_ins_do_not_count(client, owner, sign_in):
    assert {sign_in(client, owner.email).status_code for _ in range(FAILURES_OF_ACCOUNT + 2)} == {200}


def test_the_window_ends(client, owner, sign_in, database):
    for _ in range(FAILURES_OF_ACCOUNT):
        sign_in(client, owner.email, "wrong")
    database.execute("UPDATE billstack.attempts SET ends_at = now()")

    assert sign_in(client, owner.email).status_code == 200


def test_without_redis_guesses_are_counted_all_the_same(new_app, settings, owner, sign_in):
    client = new_app(replace(settings, redis_url="redis://127.0.0.1:1")).test_client()

    assert sign_in(client, owner.email).status_code == 200
    stranger = new_app(replace(settings, redis_url="redis://127.0.0.1:1")).test_client()
    answers = [sign_in(stranger, owner.email, "wrong").status_code for _ in range(15)]
    assert answers.count(401) == FAILURES_OF_ACCOUNT


def test_neither_addresses_nor_emails_are_stored_with_the_counts(client, owner, sign_in, database):
    sign_in(client, owner.email, "wrong")

    stored = [row[0] for row in database.execute("SELECT attempts::text FROM billstack.attempts")]

    assert len(stored) == 3
    assert not any(each in row for row in stored for each in (owner.email, "127.0.0.1"))


# Hashing --------------------------------------------------------------------------------------------------------------


def test_of_150_sign_ins_at_once_few_hash_together(app, owner, sign_in, monkeypatch):
    """Each holds 19 MiB while it does."""
    import api.people.passwords as passwords  # noqa: PLC0415

    running, most, lock = [0], [0], threading.Lock()

    class Slow:
        def verify(self, *_):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.01)
            with lock:
                running[0] -= 1

    monkeypatch.setattr(passwords, "_HASHER", Slow())

    def attempt(number):
        client = app.test_client()
        client.environ_base["REMOTE_ADDR"] = f"192.0.2.{number}"
        return sign_in(client, f"nobody{number}@example.com").status_code

    with ThreadPoolExecutor(150) as pool:
        answers = list(pool.map(attempt, range(150)))

    assert most[0] <= passwords.AT_ONCE
    assert set(answers) <= {401, 429, 503}
    assert 401 in answers


def test_who_finds_too_many_waiting_is_sent_away_at_once():
    from api.people.passwords import Turns  # noqa: PLC0415

    turns, release, inside = Turns(1, 1), threading.Event(), threading.Barrier(2)

    def hold():
        with turns.turn():
            inside.wait()
            release.wait()

    def wait():
        with turns.turn():
            pass

    holder, waiter = threading.Thread(target=hold), threading.Thread(target=wait)
    holder.start()
    inside.wait()
    waiter.start()
    while turns._admitted._value:
        time.sleep(0.001)

    with pytest.raises(TooManyRequests), turns.turn():
        pass

    release.set()
    holder.join()
    waiter.join()
    with turns.turn():
        pass


def test_an_attempt_that_there_was_no_time_for_is_no_failure(client, owner, sign_in, monkeypatch):
    import api.people.passwords as passwords  # noqa: PLC0415

    turns = passwords.Turns(1, 0)
    monkeypatch.setattr(passwords, "_TURNS", turns)

    with turns.turn():
        busy = [sign_in(client, owner.email).status_code for _ in range(2 * FAILURES_OF_ACCOUNT)]

    assert set(busy) == {429}
    assert sign_in(client, owner.email).status_code == 200


# What no password is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "password", ["password", "12345678", "PassWord1", "iloveyou", "founder@example.com", "trustno1"]
)
def test_a_password_that_everybody_guesses_is_refused(app, database, password):
    result = app.test_cli_runner().invoke(
        args=["create-user", "--email", "founder@example.com", "--password", password]
    )

    assert result.exit_code == 2
    assert "--password is one of the first passwords that attackers guess" in result.stderr
    assert database.execute("SELECT count(*) FROM billstack.users").fetchone() == (0,)


@pytest.mark.parametrize(
    "password", ["correct horse", "aaaaaaaaaaaaaaaaaaaaab", "nur kleine buchstaben", "пароль-из-слов"]
)
def test_no_kind_of_character_is_asked_for(app, password):
    result = app.test_cli_runner().invoke(
        args=["create-user", "--email", "founder@example.com", "--password", password]
    )

    assert result.exit_code == 0, result.output
