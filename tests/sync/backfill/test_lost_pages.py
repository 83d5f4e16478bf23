"""A crash of Postgres takes back the last commits of pages, which do not wait for the disk, and their worker goes on.

The page that was lost and those after it in its window are then read again, and nothing is called done without them.
"""

from collections.abc import Iterable
from typing import Any

import pytest

from sync.backfill import opening, parent_run, type_run
from sync.mirror import page_writer
from sync.mirror.store import WindowKey, WrittenPage
from tests.sync.backfilling import Backfilling
from tests.sync.conftest import Team
from tests.sync.mirrored import seen
from tests.sync.simulated_stripe import Request, simulated_stripe

COUNTS = {"customer": 23, "charge": 17, "payment_method": 30}


class Crashes:
    """Commits of one type's pages that are lost after the worker has heard of them, by their turn."""

    def __init__(self, name: str, lost: Iterable[int]) -> None:
        self._name = name
        self._lost = set(lost)
        self._commits = 0
        self.happened = 0

    def write_page(self, store: Any, object_type: Any, key: WindowKey, page: Any, objects: Any) -> WrittenPage:
        if object_type.name == self._name:
            self._commits += 1
            if self._commits in self._lost:
                self.happened += 1
                return WrittenPage(0, [])
        return page_writer.write_page(store, object_type, key, page, objects)


@pytest.fixture
def run(team: Team) -> Backfilling:
    return Backfilling(team, simulated_stripe(counts=COUNTS), page_size=4)


def crash(monkeypatch: pytest.MonkeyPatch, name: str, lost: Iterable[int]) -> Crashes:
    crashes = Crashes(name, lost)
    for module in (opening, type_run, parent_run):
        monkeypatch.setattr(module, "write_page", crashes.write_page)
    return crashes


def assert_is_exact(run: Backfilling, backfill_id: str, *types: str) -> None:
    assert run.differences(*types) == []
    assert run.synced(backfill_id) == {name: COUNTS[name] for name in types}


@pytest.mark.parametrize("lost", [[1], [2], [3], [4], [5], [6], [2, 3], [5, 6, 7], range(2, 30)], ids=str)
def test_a_types_pages(run: Backfilling, monkeypatch: pytest.MonkeyPatch, lost: Iterable[int]) -> None:
    backfill_id = run.start("customer")
    crashes = crash(monkeypatch, "customer", lost)

    ended = run.work_on(backfill_id, "customer")
    assert crashes.happened, "a page was lost"
    assert ended == "not_ours"
    assert [state.status for state in run.store.types(backfill_id)] == ["syncing"]

    assert run.run(backfill_id) == "ready"
    assert_is_exact(run, backfill_id, "customer")


def test_the_pages_before_a_cursor_is_lost(run: Backfilling, monkeypatch: pytest.MonkeyPatch) -> None:
    backfill_id = run.start("customer")
    crashes = crash(monkeypatch, "customer", [1])
    refused: list[str] = []

    def delete_cursor(request: Request) -> None:
        if request.path == "/v1/customers" and "starting_after" in request.params and not refused:
            refused.append(request.params["starting_after"])
            run.stripe.account.delete("customer", refused[0])

    run.stripe.at_begin = delete_cursor
    assert run.work_on(backfill_id, "customer") == "not_ours"
    assert refused
    assert crashes.happened

    assert run.run(backfill_id) == "ready"
    assert run.differences("customer") == []
    left = {each["id"] for each in run.stripe.account.objects("customer")}
    met = seen(run.mirror)
    assert met in (left, left | set(refused)), (
        "the deleted one was on the lost page, or on one that another window kept"
    )
    assert run.synced(backfill_id) == {"customer": len(met)}


def test_the_first_pages_of_all_types(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Backfilling(team, simulated_stripe(counts=COUNTS))
    backfill_id = run.start("customer", "charge")
    crashes = crash(monkeypatch, "charge", [1])

    run.work_on(backfill_id, "opening")
    assert crashes.happened
    assert run.run(backfill_id) == "ready"

    assert_is_exact(run, backfill_id, "customer", "charge")


@pytest.mark.parametrize("lost", [[1], [2], [3], [4], [2, 3], range(1, 40)], ids=str)
def test_what_is_read_customer_by_customer(
    run: Backfilling, monkeypatch: pytest.MonkeyPatch, lost: Iterable[int]
) -> None:
    """Also those customers whose list has several pages."""
    backfill_id = run.start("customer", "payment_method")
    for part in ("opening", "customer"):
        run.work_on(backfill_id, part)
    crashes = crash(monkeypatch, "payment_method", lost)

    assert run.work_on(backfill_id, "payment_method") == "not_ours"
    assert crashes.happened

    assert run.run(backfill_id) == "ready"
    assert_is_exact(run, backfill_id, "customer", "payment_method")


@pytest.mark.parametrize("name", ["customer", "payment_method"])
def test_what_came_after_the_windows(run: Backfilling, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The finish reads it, and a backfill is not over without it."""
    backfill_id = run.start("customer", "payment_method")
    for part in ("opening", "customer", "payment_method"):
        while run.work_on(backfill_id, part) == "yielded":
            pass
    run.stripe.clock.advance(5)
    new = run.stripe.account.create("customer")
    run.stripe.account.create("payment_method", customer=new["id"])
    crashes = crash(monkeypatch, name, [1])

    assert run.run(backfill_id) == "ready"

    assert crashes.happened
    assert run.differences("customer", "payment_method") == []
    assert new["id"] in seen(run.mirror)
