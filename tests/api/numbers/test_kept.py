"""Numbers of a large mirror are kept: a look shows them at once, and one thread of one process computes them again."""

import time

import pytest

from api.http.context import EXTENSION
from api.numbers import kept
from api.numbers.kept import SMALL, Wanted, is_small, read_numbers, refresh
from api.numbers.kept_store import KeptStore
from sync.object_types import DEFAULT_TYPES
from tests.api.gateway.mirror_filling import PROVEN_AT, connect_team, prove

LARGE = {"subscription": {"objects": SMALL + 1, "rightAsOf": None}}
FOREVER_S = float("inf")


@pytest.fixture
def team_id(owner, database):
    connect_team(database, owner.team_id)
    yield owner.team_id
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def context(app):
    return app.extensions[EXTENSION]


@pytest.fixture
def computed():
    """How often, with what came out."""
    return []


@pytest.fixture
def wanted(team_id, computed):
    def compute(connection):
        computed.append(len(computed) + 1)
        return {"number": computed[-1]}

    return Wanted(team_id, "test", compute)


def grow_old(database, seconds):
    database.execute(
        "UPDATE billstack.kept_numbers SET computed_at = now() - %s * interval '1 second' WHERE name = 'test'",
        (seconds,),
    )


def wait_until(is_so):
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError


def read(context, wanted, oldest_s=FOREVER_S, mirror=LARGE):
    return read_numbers(context, wanted, mirror, oldest_s=oldest_s, patience_s=30)


def test_a_small_mirrors_numbers_are_computed_at_each_look(context, wanted, computed, database):
    small = {"subscription": {"objects": SMALL, "rightAsOf": None}}

    numbers = [read(context, wanted, mirror=small).found["number"] for _ in range(2)]

    assert numbers == [1, 2]
    assert database.execute("SELECT count(*) FROM billstack.kept_numbers").fetchone() == (0,)


def test_many_looks_compute_once(context, wanted, computed):
    looks = [read(context, wanted) for _ in range(20)]

    assert computed == [1]
    assert {(each.found["number"], each.are_old) for each in looks} == {(1, False)}


def test_old_numbers_are_shown_at_once_and_computed_again(context, wanted, computed, database):
    read(context, wanted)
    grow_old(database, 3600)

    looked = read(context, wanted)

    assert (looked.found, looked.are_old) == ({"number": 1}, True)
    wait_until(lambda: read(context, wanted).found == {"number": 2})
    assert computed == [1, 2]


def test_numbers_that_are_too_old_are_waited_for(context, wanted, computed, database):
    read(context, wanted)
    grow_old(database, 3600)

    assert read(context, wanted, oldest_s=1800).found == {"number": 2}


def test_only_one_process_computes(context, wanted, computed, database):
    assert KeptStore(database, wanted.team_id, "test").claim(kept._LONGEST)

    assert not refresh(context, wanted)
    assert read_numbers(context, wanted, LARGE, oldest_s=FOREVER_S, patience_s=0) is None
    assert computed == []


def test_a_dead_process_claim_runs_out(context, wanted, computed, database):
    KeptStore(database, wanted.team_id, "test").claim(kept._LONGEST)
    database.execute("UPDATE billstack.kept_numbers SET claimed_until = now()")

    assert refresh(context, wanted)


def test_an_error_keeps_the_last_numbers_and_frees_the_claim(context, wanted, computed, database):
    refresh(context, wanted)

    def fail(connection):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        refresh(context, Wanted(wanted.team_id, "test", fail))

    assert KeptStore(database, wanted.team_id, "test").find().found == {"number": 1}
    assert refresh(context, wanted)


def test_computing_takes_a_seat_of_the_team(context, wanted, team_id):
    """So that it never has the connections that are left for sign-in and deliveries."""
    taken = []

    def look(connection):
        taken.append(context.pool.seats._taken[team_id])
        return {}

    refresh(context, Wanted(team_id, "test", look))

    assert taken == [1]
    assert context.pool.seats._taken[team_id] == 0


def test_they_say_of_which_moment_they_are(context, wanted, team_id, database):
    prove(database, team_id, list(DEFAULT_TYPES))

    assert read(context, wanted).as_of == PROVEN_AT


def test_numbers_that_nobody_looked_at_are_forgotten(context, wanted, team_id, database):
    refresh(context, Wanted(team_id, "other", wanted.compute))
    database.execute("UPDATE billstack.kept_numbers SET computed_at = now() - interval '3 days'")

    refresh(context, wanted)

    assert database.execute("SELECT name FROM billstack.kept_numbers").fetchall() == [("test",)]


def test_a_purged_mirrors_numbers_are_gone(context, wanted, owner, database):
    refresh(context, wanted)

    assert owner.client.delete(f"{owner.stripe}/connect?purge=true", json={}).status_code == 204
    assert database.execute("SELECT count(*) FROM billstack.kept_numbers").fetchone() == (0,)
    database.execute(f'CREATE SCHEMA IF NOT EXISTS "stripe_{owner.team_id}"')  # the fixture drops it


def test_charges_count_too():
    assert is_small({"charge": {"objects": 30 * SMALL}})
    assert not is_small({"charge": {"objects": 30 * SMALL}, "subscription": {"objects": 1}})
