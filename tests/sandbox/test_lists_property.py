"""Whatever is written in between, a list gives what its filter describes: compared with the plain reading of the rules."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scripts.sandbox.account import Account
from scripts.sandbox.changes import Changer
from scripts.sandbox.seeding import Recipe
from tests.sandbox.conftest import Clock

_PROFILES = ("default", "last-month", "one-second", "ten-years", "bursts")


def listed(account: Account, path: str, params: dict[str, Any], *, backwards: bool) -> list[str]:
    """All ids of a list, newest first, paged towards the older or towards the newer ones."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = account.list(path, {**params, **cursor}).json()
        ids = [each["id"] for each in page["data"]]
        found = ids + found if backwards else found + ids
        if not page["has_more"] or not ids:
            return found
        cursor = {"ending_before": ids[0]} if backwards else {"starting_after": ids[-1]}


@given(
    profile=st.sampled_from(_PROFILES),
    seed=st.integers(0, 5),
    changes=st.integers(0, 40),
    limit=st.integers(1, 100),
    bounds=st.tuples(st.integers(0, 1000), st.integers(0, 1000)),
    status=st.sampled_from([None, "all", "active", "canceled", "ended"]),
)
def test_a_list_gives_exactly_what_its_filter_describes(
    profile: str, seed: int, changes: int, limit: int, bounds: tuple[int, int], status: str | None
) -> None:
    counts = {"customer": 20, "product": 3, "price": 8, "subscription": 60, "invoice": 0, "charge": 0}
    clock = Clock()
    account = Account("demo", Recipe(seed, profile=profile, counts=counts), clock)
    clock.now += 100
    Changer(account, seed).make(changes)
    times = sorted(each["created"] for each in account.objects("subscription"))
    low, high = (times[share * (len(times) - 1) // 1000] for share in sorted(bounds))
    params: dict[str, Any] = {"limit": limit, "created": {"gte": low, "lte": high}}
    if status is not None:
        params["status"] = status

    found = listed(account, "/v1/subscriptions", params, backwards=False)

    matching = [
        each
        for each in account.objects("subscription")
        if low <= each["created"] <= high and _matches(each["status"], status)
    ]
    assert sorted(found) == sorted(each["id"] for each in matching)
    created = {each["id"]: each["created"] for each in matching}
    assert [created[id] for id in found] == sorted(created.values(), reverse=True)
    if found:
        newer = listed(account, "/v1/subscriptions", {**params, "ending_before": found[-1]}, backwards=True)
        assert newer == found[:-1]


def _matches(status: str, asked: str | None) -> bool:
    if asked is None:
        return status != "canceled"
    return asked == "all" or status == asked or (asked == "ended" and status in ("canceled", "incomplete_expired"))
