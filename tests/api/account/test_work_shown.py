"""The status says who works on each part, and when somebody does again at the latest."""

from typing import Any

from api.account.work_shown import work_shown


def lease(silent_s: float = 0.1, *, held: bool = True, ended: bool = False, pooled: bool = False) -> dict[str, Any]:
    facts: dict[str, Any] = {"pooled": pooled} | {
        "holder": "host:7",
        "renewed": 1_774_872_000.4,
        "silentS": silent_s,
        "ended": ended,
    }
    return {"held": held, "done": False, **facts}


def shown(silent_s: float = 0.1, **facts: bool) -> tuple[str, int | None]:
    work = work_shown({"charge": lease(silent_s, **facts)})["charge"]
    return work["state"], work["resumesWithinSeconds"]


def test_a_holder_that_has_just_renewed_works():
    assert work_shown({"charge": lease(0.13)}) == {
        "charge": {
            "state": "working",
            "holder": "host:7",
            "renewedAt": "2026-03-30T12:00:00Z",
            "silentSeconds": 0.1,
            "resumesWithinSeconds": None,
        }
    }


def test_a_dead_holders_part_goes_on_within_ten_seconds_of_its_death():
    assert shown(4.2, ended=True) == ("stopped", 6)
    assert shown(60, ended=True) == ("stopped", 1)


def test_a_silent_holders_part_goes_on_when_its_lease_runs_out_at_the_latest():
    assert shown(10) == ("paused", 28)


def test_a_silent_holder_behind_a_pooler_counts_as_dead_sooner():
    assert shown(4, pooled=True) == ("paused", 14)


def test_a_part_that_nobody_holds_waits():
    assert shown(10, held=False) == ("waiting", None)


def test_the_finish_is_told_of_once_it_is_all_that_is_left():
    assert work_shown({"charge": lease(), "finish": lease(held=False)}).keys() == {"charge"}
    assert work_shown({"finish": lease(held=False)}).keys() == {"finish"}


def test_nobody_works_on_what_is_done_or_does_not_run():
    assert work_shown({"charge": lease() | {"done": True}}) == {}
    assert work_shown(None) == {}
