"""Teams' events are applied at the same time: a slow team delays no other, and no team is served by two threads."""

import threading
from collections import deque

import pytest

from workers.jobs.side_by_side import TEAMS_TOGETHER, Facts, SideBySide


class Queue:
    """Of the teams that wait."""

    def __init__(self, *teams: str) -> None:
        self.waiting = deque(teams)
        self.put_back: list[str] = []

    def take(self) -> Facts | None:
        return {"team": self.waiting.popleft()} if self.waiting else None

    def wake(self, facts: Facts) -> None:
        self.put_back.append(facts["team"])


def serving(queue: Queue, apply, is_over=lambda: False) -> SideBySide:
    return SideBySide(apply, queue.take, queue.wake, is_over)


def test_a_team_that_waits_for_stripe_delays_no_other() -> None:
    queue = Queue("b", "c")
    others_are_done = threading.Event()
    done = []

    def apply(team_id: str) -> int:
        if team_id == "a":
            assert others_are_done.wait(10)
        done.append(team_id)
        if len(done) == 2:
            others_are_done.set()
        return 1

    assert serving(queue, apply).run({"team": "a"}) == 3
    assert done[-1] == "a"


def test_a_team_that_is_woken_while_it_is_served_is_served_again_afterwards() -> None:
    queue = Queue()
    inside: list[str] = []
    most_inside = []

    def apply(team_id: str) -> int:
        inside.append(team_id)
        most_inside.append(len(inside))
        if len(most_inside) == 1:
            queue.waiting.append("a")
            while queue.waiting:  # until it has been taken
                pass
        inside.remove(team_id)
        return 1

    assert serving(queue, apply).run({"team": "a"}) == 2
    assert most_inside == [1, 1]


def test_a_team_that_is_woken_as_the_last_one_ends_needs_no_job_of_its_own() -> None:
    queue = Queue()
    served = []

    def apply(team_id: str) -> int:
        served.append(team_id)
        if team_id == "a":
            queue.waiting.append("b")
        return 1

    assert serving(queue, apply).run({"team": "a"}) == 2
    assert served == ["a", "b"]


def test_a_team_that_fails_is_put_back_and_no_further_one_is_taken() -> None:
    queue = Queue("bad", *(f"team_{number}" for number in range(2 * TEAMS_TOGETHER)))
    failed = threading.Event()

    def apply(team_id: str) -> int:
        if team_id == "bad":
            failed.set()
            raise RuntimeError("its key cannot be opened")
        assert failed.wait(10)
        return 1

    serving(queue, apply).run({"team": "a"})

    assert queue.put_back == ["bad"]
    assert len(queue.waiting) > 0


def test_the_failure_of_the_jobs_own_team_is_the_jobs() -> None:
    queue = Queue("b")
    served = []

    def apply(team_id: str) -> int:
        served.append(team_id)
        if team_id == "a":
            raise RuntimeError("its key cannot be opened")
        return 1

    with pytest.raises(RuntimeError):
        serving(queue, apply).run({"team": "a"})

    assert queue.put_back == []


def test_after_the_turn_nothing_is_taken_and_what_was_woken_meanwhile_is_put_back() -> None:
    queue = Queue()
    over = threading.Event()

    def apply(team_id: str) -> int:
        queue.waiting.append("a")
        while queue.waiting:
            pass
        over.set()
        queue.waiting.append("c")
        return 1

    assert serving(queue, apply, over.is_set).run({"team": "a"}) == 1
    assert queue.put_back == ["a"]
    assert list(queue.waiting) == ["c"]
