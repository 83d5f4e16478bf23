"""The hub of live views: one read for all viewers of a team, only news, and nobody stays longer than may be."""

import itertools
import threading
import time

import psycopg
import pytest

from api.account.status_hub import (
    AWAY,
    BUSY_S,
    HEARTBEAT,
    HEARTBEAT_S,
    HELLO,
    IDLE_S,
    LONGEST_LIFE_S,
    LOOK_UP_S,
    SHORTEST_LIFE_S,
    Hub,
    HubFull,
)

READY = {"syncStatus": "ready", "lastReconcile": None}
RECONCILING = {"syncStatus": "ready", "lastReconcile": {"status": "running"}}


def syncing(synced):
    return {"syncStatus": "syncing", "lastReconcile": None, "synced": synced}


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Statuses:
    """What is read next, by team; counts the reads."""

    def __init__(self):
        self.of = {}
        self.reads = []

    def __call__(self, team_id):
        self.reads.append(team_id)
        status = self.of.get(team_id, READY)
        if isinstance(status, Exception):
            raise status
        return status


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def statuses():
    return Statuses()


@pytest.fixture
def hub(clock, statuses):
    """Looks only when it is told to."""
    return Hub(statuses, most=300, clock=clock, run=lambda work: None)


def take(hub, viewer):
    """What is there for it now."""
    return hub.next_piece(viewer, 0)


def data_of(piece):
    assert piece.startswith(b"data: ")
    assert piece.endswith(b"\n\n")
    return piece[6:]


def test_two_hundred_viewers_of_a_team_are_one_read_and_the_same_bytes(hub, statuses, clock):
    statuses.of["team_a"] = syncing(1)
    viewers = [hub.watch("team_a") for _ in range(200)]

    hub.look()

    pieces = [take(hub, viewer) for viewer in viewers]
    assert statuses.reads == ["team_a"]
    assert data_of(pieces[0]).strip() == b'{"syncStatus":"syncing","lastReconcile":null,"synced":1}'
    assert all(piece is pieces[0] for piece in pieces)


@pytest.mark.parametrize(("status", "every_s"), [(syncing(1), BUSY_S), (RECONCILING, BUSY_S), (READY, IDLE_S)])
def test_what_runs_is_looked_at_every_second_and_the_rest_seldom(hub, statuses, clock, status, every_s):
    statuses.of["team_a"] = status
    hub.watch("team_a")

    assert hub.look() == every_s
    clock.now += every_s - 0.01
    hub.look()
    assert len(statuses.reads) == 1
    clock.now += 0.01
    hub.look()
    assert len(statuses.reads) == 2


def test_only_news_are_sent(hub, statuses, clock):
    statuses.of["team_a"] = syncing(1)
    viewer = hub.watch("team_a")
    hub.look()
    first = take(hub, viewer)

    clock.now += BUSY_S
    hub.look()
    unchanged = take(hub, viewer)
    statuses.of["team_a"] = syncing(2)
    clock.now += BUSY_S
    hub.look()
    changed = take(hub, viewer)

    assert (first is None, unchanged) == (False, None)
    assert b'"synced":2' in changed


def test_a_quiet_stream_says_that_it_is_there(hub, clock):
    viewer = hub.watch("team_a")
    hub.look()
    take(hub, viewer)

    clock.now += HEARTBEAT_S - 1
    before = take(hub, viewer)
    clock.now += 1
    after = [take(hub, viewer), take(hub, viewer)]

    assert (before, after) == (None, [HEARTBEAT, None])


def test_a_newcomer_is_shown_nothing_that_was_read_before(hub, statuses, clock):
    """It may have started a backfill just before."""
    hub.watch("team_a")
    hub.look()
    statuses.of["team_a"] = syncing(1)

    clock.now += 0.5
    newcomer = hub.watch("team_a")
    wait_s = hub.look()
    too_early = take(hub, newcomer)
    clock.now += wait_s
    hub.look()

    assert too_early is None
    assert wait_s == BUSY_S - 0.5
    assert b"syncing" in take(hub, newcomer)


def test_who_comes_while_the_status_is_read_waits_for_the_next_read_only(clock):
    came = []

    def read(team_id):
        clock.now += 0.1
        if not came:
            came.append(hub.watch("team_a"))
        return READY

    hub = Hub(read, clock=clock, run=lambda work: None)
    hub.watch("team_a")
    wait_s = hub.look()
    too_early = take(hub, came[0])
    clock.now += wait_s
    hub.look()

    assert (too_early, wait_s) == (None, BUSY_S)
    assert take(hub, came[0])


def test_a_team_that_nobody_watches_any_more_is_not_read(hub, statuses, clock):
    first, second = hub.watch("team_a"), hub.watch("team_b")
    hub.look()

    hub.leave(first)
    clock.now += 100
    hub.look()
    hub.leave(second)

    assert statuses.reads == ["team_a", "team_b", "team_b"]
    assert hub.look() is None  # the thread ends


def test_no_team_hears_of_another(hub, statuses):
    statuses.of = {"team_a": syncing(1), "team_b": syncing(2)}
    first, second = hub.watch("team_a"), hub.watch("team_b")
    hub.look()

    assert b'"synced":1' in take(hub, first)
    assert b'"synced":2' in take(hub, second)


@pytest.mark.parametrize("problem", [psycopg.OperationalError("gone"), ZeroDivisionError()])
def test_viewers_are_told_once_that_the_status_cannot_be_read_and_get_it_again_unchanged(hub, statuses, clock, problem):
    viewer = hub.watch("team_a")
    hub.look()
    before = take(hub, viewer)

    statuses.of["team_a"] = problem
    clock.now += IDLE_S
    hub.look()
    clock.now += hub.look()
    hub.look()
    told = [take(hub, viewer), take(hub, viewer)]
    statuses.of["team_a"] = READY
    clock.now += IDLE_S
    hub.look()

    assert told == [AWAY, None]
    assert take(hub, viewer) == before


def test_there_are_never_more_viewers_than_may_be(clock, statuses):
    hub = Hub(statuses, most=2, clock=clock, run=lambda work: None)
    first = hub.watch("team_a")
    hub.watch("team_b")

    with pytest.raises(HubFull):
        hub.watch("team_a")
    hub.leave(first)
    hub.leave(first)  # again: it has one place to give back
    hub.watch("team_a")
    with pytest.raises(HubFull):
        hub.watch("team_a")


def test_every_stream_ends_so_that_access_is_checked_again(hub, clock):
    viewers = [hub.watch("team_a") for _ in range(50)]

    clock.now += SHORTEST_LIFE_S - 1
    assert not any(map(hub.is_over, viewers))
    clock.now += LONGEST_LIFE_S - SHORTEST_LIFE_S + 1
    assert all(map(hub.is_over, viewers))
    assert len({viewer.ends_at for viewer in viewers}) > 40  # and not all come back at once


def test_a_stream_ends_whose_viewer_is_gone(hub):
    is_there = iter([True, False])
    viewer = hub.watch("team_a", is_there=lambda: next(is_there))
    hub.look()

    pieces = list(hub.pieces(viewer))

    assert pieces[0] == HELLO
    assert len(pieces) == 2


def test_closing_ends_the_streams_that_wait_and_opens_no_more(statuses):
    hub = Hub(statuses)
    viewer = hub.watch("team_a")
    pieces = hub.pieces(viewer)
    assert next(pieces) == HELLO
    assert data_of(next(pieces))
    ended = threading.Event()
    threading.Thread(target=lambda: (list(pieces), ended.set()), daemon=True).start()

    time.sleep(0.05)  # for the thread to wait in there
    hub.close()
    hub.close()

    assert ended.wait(LOOK_UP_S - 1), "they end when they look up"
    with pytest.raises(HubFull):
        hub.watch("team_a")


def test_streams_end_when_nobody_waits_for_this_process_any_more(hub):
    viewer = hub.watch("team_a")
    hub.is_abandoned = lambda: True

    assert hub.look() is None
    assert hub.is_over(viewer)


def test_news_reach_a_waiting_viewer_at_once_and_the_thread_comes_back_for_the_next_one(statuses, clock):
    counts = itertools.count()
    hub = Hub(lambda team_id: syncing(next(counts)), clock=clock)

    def first_news():
        viewer = hub.watch("team_a")
        try:
            return next(piece for piece in hub.pieces(viewer) if piece.startswith(b"data"))
        finally:
            hub.leave(viewer)

    began = time.monotonic()
    assert b'"synced":0' in first_news()
    hub.look()  # as its thread will find: nobody watches
    clock.now += 10
    assert b'"synced":' in first_news()
    assert time.monotonic() - began < 5


def test_where_something_has_just_changed_the_next_look_comes_soon(hub, statuses, clock):
    statuses.of["team_a"] = READY
    hub.watch("team_a")
    hub.look()
    clock.now += IDLE_S
    statuses.of["team_a"] = READY | {"lastEventAt": "2026-01-02T03:04:05Z"}

    after_a_change = hub.look()
    clock.now += BUSY_S
    after_calm = hub.look()

    assert (after_a_change, after_calm) == (BUSY_S, IDLE_S)
