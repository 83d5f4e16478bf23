"""The rules of windows, one by one; test_windows_property.py tries to break them together."""

from collections.abc import Sequence

import pytest

from sync.backfill.window_plan import STRIPE_BEGINS, WindowPlan
from sync.backfill.windows import PageOutline, Reopening, Split, Window

DAY = 86_400
START = STRIPE_BEGINS + 1_000 * DAY
UPPER = START + 1_000 * DAY


def whole_range(number: int = 0, variant: int = 0) -> Window:
    return Window(number, variant, gte=START, lt=UPPER, floor=START)


def page(created: Sequence[int], *, has_more: bool = True) -> PageOutline:
    return PageOutline(created, has_more, last_id=f"obj_{created[-1]}" if created else None)


def full_page(newest: int, oldest: int) -> PageOutline:
    """100 objects, evenly spread."""
    return page([newest - (newest - oldest) * place // 99 for place in range(100)])


def send(plan: WindowPlan) -> Window:
    window = plan.next_to_send()
    assert window is not None
    return window


def split(plan: WindowPlan) -> Split | None:
    return plan.propose_split(tokens=25, rate=25, latency_s=0.15)


def give(plan: WindowPlan) -> Window:
    proposed = split(plan)
    assert proposed is not None
    return plan.apply_split(proposed)


def started_plan(*windows: Window) -> tuple[WindowPlan, Window]:
    """A plan whose first window has answered a page of one day, with 999 days left; its next page is asked for."""
    plan = WindowPlan(windows or [whole_range()])
    first = send(plan)
    plan.page_arrived(first, full_page(UPPER - 1, UPPER - DAY))
    return plan, send(plan)


def test_a_window_waits_for_its_answer_before_it_is_sent_again() -> None:
    plan = WindowPlan([whole_range()])

    window = send(plan)

    assert window.in_flight
    assert plan.in_flight == 1
    assert plan.next_to_send() is None


def test_a_page_moves_the_cursor_and_not_the_filter() -> None:
    plan = WindowPlan([whole_range()])
    window = send(plan)

    plan.page_arrived(window, full_page(UPPER - 5, UPPER - DAY))

    assert (window.gte, window.lt, window.cursor) == (START, UPPER, f"obj_{UPPER - DAY}")
    assert (window.newest, window.oldest, window.pages, window.met) == (UPPER - 5, UPPER - DAY, 1, 100)
    assert send(plan) is window


def test_the_window_that_reaches_back_furthest_is_sent_first() -> None:
    plan, giver = started_plan()
    new = give(plan)
    plan.request_failed(giver)

    assert send(plan) is new
    assert send(plan) is giver


def test_no_more_than_the_limit_are_in_flight() -> None:
    plan = WindowPlan([whole_range(0, 0), whole_range(1, 1)], max_in_flight=1)
    window = send(plan)

    assert plan.next_to_send() is None

    plan.request_failed(window)
    plan.max_in_flight = 2
    assert send(plan) is not send(plan)


def test_a_failed_request_is_asked_again_with_the_same_cursor() -> None:
    plan, window = started_plan()
    cursor = window.cursor

    plan.request_failed(window)

    assert plan.in_flight == 0
    assert send(plan).cursor == cursor


def test_a_window_is_done_when_nothing_more_follows() -> None:
    plan, window = started_plan()

    plan.page_arrived(window, page([START + 7], has_more=False))

    assert window.done
    assert plan.is_finished


def test_an_empty_window_is_done() -> None:
    plan = WindowPlan([whole_range()])
    window = send(plan)

    plan.page_arrived(window, page([], has_more=False))

    assert (window.done, window.cursor, window.pages) == (True, None, 1)


def test_an_empty_page_that_promises_more_is_refused() -> None:
    with pytest.raises(ValueError, match="no cursor"):
        page([], has_more=True)


def test_half_of_the_rest_goes_to_a_new_window_without_a_cursor() -> None:
    plan, giver = started_plan()
    cursor = giver.cursor

    new = give(plan)

    assert (giver.gte, giver.lt, giver.cursor) == (START, UPPER, cursor)
    assert giver.floor == new.lt
    assert (new.number, new.gte, new.floor, new.cursor) == (1, START, START, None)
    assert new.lt == pytest.approx(START + 499 * DAY, abs=DAY)


def test_the_window_with_the_most_left_gives() -> None:
    plan, giver = started_plan()
    new = give(plan)
    plan.page_arrived(send(plan), full_page(new.lt - 1, new.lt - 100))  # denser by far than its giver

    proposed = split(plan)

    assert proposed is not None
    assert proposed.giver == new.number
    assert giver.floor == new.lt


def test_a_proposal_changes_nothing_until_it_is_applied() -> None:
    plan, giver = started_plan()

    assert split(plan) == split(plan)
    assert giver.floor == START


def test_a_giver_stops_at_its_raised_floor_although_stripe_has_more() -> None:
    plan, giver = started_plan()
    new = give(plan)

    plan.page_arrived(giver, page([giver.floor + 1, giver.floor, new.lt - 1, new.lt - 2]))

    assert giver.done
    assert giver.met == 102, "what is below the floor is the new window's"
    assert not new.done


def test_a_giver_goes_on_at_its_floor_where_more_of_that_second_may_follow() -> None:
    plan, giver = started_plan()
    give(plan)

    plan.page_arrived(giver, full_page(giver.floor + DAY, giver.floor))

    assert not giver.done
    plan.page_arrived(send(plan), page([], has_more=False))


def test_a_second_is_never_split() -> None:
    plan = WindowPlan([Window(0, 0, gte=START, lt=START + 3, floor=START)])
    window = send(plan)
    plan.page_arrived(window, page([START + 2] * 100))
    plan.page_arrived(send(plan), page([START + 2] * 50 + [START + 1] * 50))

    new = give(plan)

    assert (new.gte, new.lt) == (START, START + 1)
    assert window.floor == window.oldest == START + 1, "the giver finishes the second that it stands in"
    assert split(plan) is None


def test_what_lies_below_a_burst_does_not_wait_for_it() -> None:
    plan, window = started_plan()
    second = UPPER - 2 * DAY
    plan.page_arrived(window, page([second] * 100))

    new = give(plan)

    assert (new.lt, window.floor) == (second, second)
    assert {send(plan), send(plan)} == {window, new}
    plan.page_arrived(window, page([second] * 100))
    assert not window.done
    assert split(plan) is None, "what the second still holds is the giver's"


def test_a_window_without_a_page_gives_nothing() -> None:
    plan = WindowPlan([whole_range()])
    send(plan)

    assert split(plan) is None


def test_less_than_a_page_is_not_given() -> None:
    plan = WindowPlan([whole_range()])
    plan.page_arrived(send(plan), full_page(UPPER - 1, START + DAY))

    assert split(plan) is None


def test_no_more_windows_than_the_rate_can_use() -> None:
    plan, _ = started_plan()

    assert plan.propose_split(tokens=0, rate=1, latency_s=0.1) is not None
    while (proposed := plan.propose_split(tokens=0, rate=1, latency_s=0.1)) is not None:
        plan.apply_split(proposed)
    assert len(plan.windows) == 4, "3 spare ones, and less than one for rate * latency"


def test_windows_without_answers_do_not_use_up_the_promised_requests() -> None:
    plan = WindowPlan([whole_range()])
    plan.page_arrived(send(plan), full_page(UPPER - 1, UPPER - 60))

    while (proposed := split(plan)) is not None:
        plan.apply_split(proposed)

    assert len(plan.windows) == 17


def test_empty_answers_end_the_search() -> None:
    plan, _ = started_plan()

    for _ in range(40):
        if (proposed := split(plan)) is None:
            break
        plan.apply_split(proposed)
        plan.page_arrived(send(plan), page([], has_more=False))

    assert len(plan.windows) <= 18


def test_variants_are_windows_over_the_same_range_and_split_apart() -> None:
    plan = WindowPlan([whole_range(0, 0), whole_range(1, 1)])
    first, second = send(plan), send(plan)
    plan.page_arrived(first, page([START + 5], has_more=False))
    plan.page_arrived(second, full_page(UPPER - 1, UPPER - DAY))

    new = give(plan)

    assert (new.number, new.variant) == (2, 1)


def test_decades_before_stripe_are_read_and_not_halved() -> None:
    plan = WindowPlan([Window(0, 0, gte=0, lt=UPPER, floor=0)])
    plan.page_arrived(send(plan), full_page(UPPER - 1, UPPER - DAY))

    new = give(plan)

    assert (new.gte, new.floor) == (0, 0)
    assert new.lt == pytest.approx((STRIPE_BEGINS + UPPER) / 2, abs=DAY)


def test_a_window_that_reached_back_before_the_likely_start_is_halved_to_its_floor() -> None:
    plan = WindowPlan([Window(0, 0, gte=0, lt=1_000 * DAY, floor=0)])
    plan.page_arrived(send(plan), full_page(1_000 * DAY - 1, 999 * DAY))

    assert give(plan).lt == pytest.approx(499 * DAY, abs=DAY)


def test_a_lost_cursor_reopens_the_rest_by_time_and_reads_its_second_again() -> None:
    plan, window = started_plan()
    floor = give(plan).lt

    reopening = plan.reopen(window)

    assert reopening == Reopening(window.number, gte=floor, lt=UPPER - DAY + 1)
    assert (window.gte, window.lt, window.floor, window.cursor) == (floor, UPPER - DAY + 1, floor, None)
    assert plan.in_flight == 0
    assert {send(plan).number, send(plan).number} == {0, 1}


def test_a_reopened_window_that_holds_nothing_any_more_is_done() -> None:
    plan, window = started_plan()
    plan.reopen(window)

    plan.page_arrived(send(plan), page([], has_more=False))

    assert plan.is_finished


def test_a_window_without_a_page_has_no_cursor_to_lose() -> None:
    plan = WindowPlan([whole_range()])

    with pytest.raises(ValueError, match="no page"):
        plan.reopen(send(plan))


def test_an_answer_that_nobody_asked_for_is_refused() -> None:
    plan = WindowPlan([whole_range()])

    with pytest.raises(ValueError, match="no request in flight"):
        plan.request_failed(plan.windows[0])


def test_a_resumed_plan_goes_on_where_its_rows_stand() -> None:
    half = START + 500 * DAY
    rows = [
        Window(0, 0, START, UPPER, half, "obj_a", newest=UPPER - 1, oldest=half + 50 * DAY, pages=9, met=900),
        Window(1, 0, START, half, START, None),
        Window(2, 1, START, UPPER, START, "obj_b", newest=START + 3, oldest=START + 3, pages=1, met=1, done=True),
    ]

    plan = WindowPlan(rows)

    assert plan.met == 901
    assert [send(plan).number, send(plan).number] == [1, 0]
    assert plan.next_to_send() is None


def test_a_resumed_plan_splits_as_the_one_before_it() -> None:
    plan, giver = started_plan()
    new = give(plan)
    plan.page_arrived(send(plan), full_page(new.lt - 1, new.lt - DAY))
    plan.apply_split(Split(giver.number, 2, 0, giver.floor, giver.floor + DAY, expected_density=100 / DAY))
    plan.request_failed(giver)
    rows = [
        Window(w.number, w.variant, w.gte, w.lt, w.floor, w.cursor, w.newest, w.oldest, w.pages, w.met, w.done)
        for w in plan.windows.values()
    ]

    resumed = WindowPlan(rows)

    assert (
        [_older(resumed, number) for number in range(3)]
        == [_older(plan, number) for number in range(3)]
        == [2, None, 1]
    )
    assert split(resumed) == split(plan)
    assert resumed.estimated_remaining() == pytest.approx(plan.estimated_remaining(), rel=0.01)


def _older(plan: WindowPlan, number: int) -> int | None:
    older = plan.windows[number].older
    return older.number if older else None


def test_the_rest_is_estimated_by_density() -> None:
    plan, giver = started_plan()
    assert plan.estimated_remaining() == pytest.approx(99_900, rel=0.02)

    new = give(plan)
    assert plan.estimated_remaining() == pytest.approx(99_900, rel=0.02), "a split moves the rest, it makes none"

    plan.page_arrived(send(plan), page([], has_more=False))
    assert new.done
    assert plan.estimated_remaining() == pytest.approx(25_000, rel=0.02), "between what it met and nothing"

    plan.page_arrived(giver, page([UPPER - 3 * DAY], has_more=False))
    assert plan.estimated_remaining() == 0


def test_a_list_that_is_oldest_first_is_read_in_one_piece() -> None:
    """What it shows first is the older half of its time: another window would count it again."""
    plan = WindowPlan([whole_range()])
    window = send(plan)

    plan.page_arrived(window, page([START + at for at in range(100)]))
    send(plan)

    assert plan.is_backwards
    assert split(plan) is None


def test_a_stored_window_that_is_oldest_first_is_not_split() -> None:
    stored = whole_range()
    stored.pages, stored.met, stored.cursor, stored.newest, stored.oldest = 1, 100, "obj", START, START + 99
    plan = WindowPlan([stored])

    send(plan)

    assert split(plan) is None


def test_a_list_that_is_oldest_first_goes_on_below_the_floor() -> None:
    window = Window(1, 0, gte=START + 500, lt=UPPER, floor=START + 500)
    plan = WindowPlan([window])

    plan.page_arrived(send(plan), page([START + at for at in range(100)]))

    assert not window.done
