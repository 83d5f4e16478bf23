"""Progress is believable: it never falls, and it ends when the work does."""

import pytest

from sync.progress_estimate import ProgressEstimate, eta_s


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


def test_the_time_left_is_the_rest_at_the_present_speed() -> None:
    assert eta_s(5_000, 250) == 20


def test_nothing_moving_has_no_end_in_sight() -> None:
    assert eta_s(5_000, 0) is None
