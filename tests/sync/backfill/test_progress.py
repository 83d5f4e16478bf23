"""Progress is believable: it never falls, and it ends when the work does."""

import pytest

from sync.backfill.progress import ProgressEstimate, SteadyEta


def test_progress_is_what_was_met_of_what_is_expected() -> None:
    assert ProgressEstimate().advance(met=250, remaining=750, is_finished=False) == 0.25


def test_progress_rests_while_the_estimate_grows() -> None:
    estimate = ProgressEstimate()
    estimate.advance(met=100, remaining=100, is_finished=False)

    assert estimate.advance(met=200, remaining=9_800, is_finished=False) == 0.5
    assert estimate.advance(met=8_000, remaining=2_000, is_finished=False) == 0.8


def test_another_process_goes_on_from_what_was_shown() -> None:
    assert ProgressEstimate(shown=0.6).advance(met=100, remaining=900, is_finished=False) == 0.6


def test_progress_is_one_only_when_finished() -> None:
    estimate = ProgressEstimate()

    assert estimate.advance(met=1_000_000, remaining=1, is_finished=False) < 1
    assert estimate.advance(met=1_000_000, remaining=0, is_finished=True) == 1


@pytest.mark.parametrize("is_finished", [False, True])
def test_a_type_without_objects_has_progress_too(is_finished: bool) -> None:
    assert ProgressEstimate().advance(met=0, remaining=0, is_finished=is_finished) == is_finished


def looks(*ends: float, rate: float = 100.0) -> list[float | None]:
    """What is shown of looks half a second apart that foretell these ends."""
    eta = SteadyEta()
    return [eta.look(n / 2, remaining=(end - n / 2) * rate, rate=rate) for n, end in enumerate(ends)]


def test_the_time_left_is_shown_once_looks_of_some_seconds_agree() -> None:
    shown = looks(*[60.0] * 12)

    assert shown[:8] == [None] * 8
    assert shown[-1] == pytest.approx(60 - 5.5)


def test_the_time_left_is_not_shown_while_each_look_foretells_another_end() -> None:
    assert looks(586, 500, 400, 300, 200, 120, 80, 50, 35, 30, 26, 24) == [None] * 12


def test_the_time_left_may_wander_a_little_more_once_it_is_shown() -> None:
    assert None not in looks(*[60.0] * 12, 74.0, 74.0)[10:]


def test_the_time_left_is_not_shown_while_nothing_moves() -> None:
    eta = SteadyEta()
    for n in range(20):
        eta.look(n / 2, remaining=1000, rate=10)

    assert eta.look(10.5, remaining=1000, rate=0) is None
    assert eta.look(11.0, remaining=1000, rate=10) is None  # a new start
