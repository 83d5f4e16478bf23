"""The first pages of all types as one part: a small account is done with it, and whatever is not so simple is given back."""

import pytest

from sync.backfill.part_records import FINISH, OPENING, OPENING_FENCE
from sync.object_types import DEFAULT_TYPES, in_order
from tests.sync.backfilling import Backfilling, Process
from tests.sync.conftest import Team
from tests.sync.simulated_stripe import Request, error, simulated_stripe

SMALL = dict.fromkeys(DEFAULT_TYPES, 5)


@pytest.fixture
def run(team: Team) -> Backfilling:
    return Backfilling(team, simulated_stripe(counts=SMALL))


def due(run: Backfilling, backfill_id: str) -> list[str]:
    return sorted(part.part for part in run.due(backfill_id))


def windows(run: Backfilling) -> list[tuple[str, bool, int]]:
    return run.team.connection.execute("SELECT type, done, met FROM billstack.windows").fetchall()


def refuse(run: Backfilling, path: str, status: int) -> None:
    def act(request: Request) -> None:
        if request.path.startswith(path):
            request.instead = error(status, message="The key may not do that.")

    run.stripe.at_begin = act


def lists(run: Backfilling) -> list[Request]:
    paths = {object_type.path for object_type in in_order(DEFAULT_TYPES)}
    return [request for request in run.stripe.requests if request.path in paths]


def test_a_small_account_is_read_with_a_request_a_list_and_its_end_with_another(run: Backfilling) -> None:
    backfill_id = run.start()

    assert run.work_on(backfill_id, OPENING) == "done"
    assert due(run, backfill_id) == [FINISH]
    assert run.synced(backfill_id) == SMALL

    assert run.work_on(backfill_id, FINISH) == "done"
    assert run.get(backfill_id).state == "ready"
    assert run.differences() == []
    variants = sum(len(object_type.variants) for object_type in in_order(DEFAULT_TYPES))
    assert len(lists(run)) == 2 * variants
    assert len(windows(run)) == variants, "nothing was created meanwhile, so there are no tails"


def test_a_type_with_more_pages_goes_on_after_its_first(team: Team) -> None:
    run = Backfilling(team, simulated_stripe(counts=SMALL | {"charge": 25}), page_size=10)
    backfill_id = run.start()

    run.work_on(backfill_id, OPENING)

    assert due(run, backfill_id) == ["charge"]
    assert [window for window in windows(run) if not window[1]] == [("charge", False, 10)]
    assert run.run(backfill_id) == "ready"
    assert run.synced(backfill_id) == SMALL | {"charge": 25}
    first_pages = [each for each in lists(run) if each.path == "/v1/charges" and "starting_after" not in each.params]
    assert len({tuple(sorted(each.params.items())) for each in first_pages}) == len(first_pages), "none is read twice"


@pytest.mark.parametrize(("lines", "is_whole"), [(12, True), (150, False)])
def test_a_list_that_stripe_cut_is_read_whole_or_its_type_left(team: Team, lines: int, is_whole: bool) -> None:
    run = Backfilling(team, simulated_stripe(counts=SMALL))
    account = run.stripe.account
    invoice = account.create("invoice", customer=account.objects("customer")[0]["id"])
    added = [{"amount": 100 + number, "description": f"line {number}"} for number in range(lines)]
    account.handle("POST", f"/v1/invoices/{invoice['id']}/add_lines", {"lines": added})
    run.stripe.clock.advance(10)
    backfill_id = run.start()

    run.work_on(backfill_id, OPENING)

    assert due(run, backfill_id) == ([FINISH] if is_whole else ["invoice"])
    assert run.run(backfill_id) == "ready"
    assert run.differences() == []


def test_a_type_that_stripe_refuses_is_left_to_its_part_which_says_why(run: Backfilling) -> None:
    refuse(run, "/v1/charges", 403)
    backfill_id = run.start()

    run.work_on(backfill_id, OPENING)

    assert due(run, backfill_id) == ["charge"]
    assert run.run(backfill_id) == "error"
    states = {state.type: (state.status, state.synced) for state in run.store.types(backfill_id)}
    assert states == dict.fromkeys(SMALL, ("ready", 5)) | {"charge": ("error", 0)}


def test_a_key_that_stripe_refuses_altogether_leaves_every_part(run: Backfilling) -> None:
    refuse(run, "/v1/", 401)
    backfill_id = run.start()

    assert run.work_on(backfill_id, OPENING) == "done"

    assert due(run, backfill_id) == sorted(DEFAULT_TYPES)
    assert windows(run) == []


def test_one_of_two_opens_it(run: Backfilling) -> None:
    backfill_id = run.start()
    assert run.parts.acquire_all(backfill_id)

    assert run.work_on(backfill_id, OPENING) == "not_ours"


def test_what_a_dead_opening_held_is_released_at_once(run: Backfilling) -> None:
    backfill_id = run.start()
    run.parts.acquire_all(backfill_id)
    assert due(run, backfill_id) == []

    assert not run.parts.release_dead(backfill_id, OPENING, OPENING_FENCE + 1)
    assert run.parts.release_dead(backfill_id, OPENING, OPENING_FENCE)

    assert due(run, backfill_id) == sorted(DEFAULT_TYPES)
    assert run.run(backfill_id) == "ready"
    assert run.synced(backfill_id) == SMALL


@pytest.mark.parametrize("dies_after", range(0, 60, 4))
def test_a_process_killed_anywhere_in_it_loses_nothing_and_counts_nothing_twice(
    run: Backfilling, dies_after: int
) -> None:
    backfill_id = run.start()

    run.work_on(backfill_id, OPENING, process=Process(dies_after=dies_after))

    assert run.run(backfill_id) == "ready"
    assert run.differences() == []
    assert run.synced(backfill_id) == SMALL


def test_nothing_is_written_after_a_cancel(run: Backfilling) -> None:
    backfill_id = run.start()

    def cancel(request: Request) -> None:
        if request.path == "/v1/charges":
            run.store.cancel(run.team.id)

    run.stripe.at_begin = cancel

    run.work_on(backfill_id, OPENING)

    assert run.synced(backfill_id) != SMALL
    assert run.get(backfill_id).state == "canceled"
    assert due(run, backfill_id) == []


def test_what_others_took_over_meanwhile_is_theirs(run: Backfilling) -> None:
    """As after a process was stopped for longer than a lease lasts."""
    backfill_id = run.start()
    taken: list[int | None] = []

    def take_over(request: Request) -> None:
        if request.path == "/v1/customers" and not taken:
            taken.append(None)
            run.let_leases_run_out()
            fence = run.parts.acquire(backfill_id, "customer")
            assert fence == OPENING_FENCE + 1
            run.store.take_windows(backfill_id, "customer", fence)
            taken.append(fence)

    run.stripe.at_begin = take_over

    run.work_on(backfill_id, OPENING)

    assert "customer" not in due(run, backfill_id), "somebody else holds it"
    assert run.synced(backfill_id)["customer"] == 0
    fence = taken[-1]
    assert fence
    run.parts.give_back(backfill_id, "customer", fence, done=False)
    assert run.run(backfill_id) == "ready"
    assert run.synced(backfill_id) == SMALL
    assert run.differences() == []
