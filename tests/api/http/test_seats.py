"""One team's slow requests leave connections to the others, and what runs too long is canceled."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from api.http.context import EXTENSION
from api.http.seats import ALL_SEATS, MOST_WAITING, TEAM, TEAM_SEATS, Seats, SharedPool, Watchdog
from sync.errors import TooManyRequests


def test_a_team_gets_its_seats_and_others_theirs():
    seats = Seats(wait_s=0.05)
    with ThreadPoolExecutor(ALL_SEATS + 3) as several, Sitting(seats, several) as sit:
        assert sit("b")
        assert [sit("a") for _ in range(TEAM_SEATS + 1)] == [True] * TEAM_SEATS + [False]
        assert [sit("b") for _ in range(ALL_SEATS - TEAM_SEATS - 1)] == [True] * (ALL_SEATS - TEAM_SEATS - 1)
        assert not sit("c"), "all seats of teams are taken"
        assert sit(None), "what has no team never waits"


def test_a_team_that_is_alone_leaves_a_seat_for_the_next():
    seats = Seats(wait_s=0.05)
    with ThreadPoolExecutor(ALL_SEATS + 2) as several, Sitting(seats, several) as sit:
        assert [sit("a") for _ in range(ALL_SEATS)] == [True] * (ALL_SEATS - 1) + [False]
        assert sit("b")
        assert not sit("a")


class Sitting:
    """Threads that sit until the end."""

    def __init__(self, seats, several):
        self.seats, self.several, self.end = seats, several, threading.Event()

    def __enter__(self):
        return self.sit

    def __exit__(self, *_):
        self.end.set()

    def sit(self, team_id):
        outcome, said = [], threading.Event()

        def hold():
            try:
                with self.seats.take(team_id):
                    outcome.append(True)
                    said.set()
                    self.end.wait(10)
            except TooManyRequests:
                outcome.append(False)
                said.set()

        self.several.submit(hold)
        assert said.wait(5)
        return outcome[0]


def test_a_thread_that_sits_does_not_wait_for_itself():
    seats = Seats(of_team=1, of_all=1, wait_s=0.05)

    with seats.take("a"), seats.take("a"):
        pass
    with seats.take("a"):
        pass


def test_more_than_may_wait_are_sent_away_at_once():
    seats = Seats(of_team=1, of_all=1, wait_s=2)
    answers = []

    def come():
        started = time.monotonic()
        try:
            with seats.take("a"):
                pass
        except TooManyRequests:
            answers.append(time.monotonic() - started)

    with seats.take("a"):
        waiting = [threading.Thread(target=come) for _ in range(MOST_WAITING + 5)]
        for each in waiting:
            each.start()
        while len(answers) < 5:
            time.sleep(0.01)
        assert max(answers) < 1
    for each in waiting:
        each.join()


def test_a_statement_that_takes_too_long_is_canceled_and_its_connection_goes_on(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.QueryCanceled), Watchdog(longest_s=0.2).watch(connection):
            connection.execute("SELECT pg_sleep(20)")

        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_wait_for_a_lock_is_canceled_too(database_url):
    with psycopg.connect(database_url) as holder, psycopg.connect(database_url, autocommit=True) as connection:
        holder.execute("LOCK TABLE billstack.teams")

        with pytest.raises(psycopg.errors.QueryCanceled), Watchdog(longest_s=0.2).watch(connection):
            connection.execute("SELECT FROM billstack.teams")


def test_the_pool_watches_only_what_is_of_a_team(database_url):
    with contextlib.closing(SharedPool(database_url, size=4, wait_s=5, options={"autocommit": True})) as pool:
        pool.watchdog = Watchdog(longest_s=0.1)
        TEAM.set(None)
        with pool.connection() as connection:
            connection.execute("SELECT pg_sleep(1)")
        token = TEAM.set("team_a")
        with pytest.raises(psycopg.errors.QueryCanceled), pool.connection() as connection:
            connection.execute("SELECT pg_sleep(20)")
        TEAM.reset(token)


def test_while_a_team_waits_for_a_lock_others_sign_in_and_read(app, owner, new_member, database_url):
    """Before, 24 requests that waited for one lock took every connection, and all others were 503 for a minute."""
    other = new_member()
    context = app.extensions[EXTENSION]

    def stuck():
        TEAM.set(owner.team_id)
        try:
            with context.pool.connection() as connection:
                connection.execute("LOCK TABLE billstack.project_customers")
        except (TooManyRequests, psycopg.Error):
            pass

    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE billstack.project_customers")
        crowd = [threading.Thread(target=stuck) for _ in range(24)]
        for each in crowd:
            each.start()
        time.sleep(0.3)
        started = time.monotonic()
        for address in ("/readyz", "/api/auth/session", f"{other.stripe}/status"):
            assert other.client.get(address).status_code == 200, address
        assert owner.client.get("/api/auth/session").status_code == 200
        assert time.monotonic() - started < 10
    for each in crowd:
        each.join()
