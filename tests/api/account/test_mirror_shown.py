"""Up to when everything is known: as far as a proof and the events after it reach without a gap."""

import pytest

from api.account.mirror_shown import last_full_sync, right_as_of

PROVEN = {"knownUntil": 1000, "unapplied": None}


def test_nothing_is_known_before_all_of_a_type_was_read() -> None:
    assert right_as_of(None, 5000, None) is None


@pytest.mark.parametrize(
    ("swept_until", "unread_until", "known"),
    [
        pytest.param(None, None, 1000, id="no events were read yet"),
        pytest.param(900, None, 1000, id="events before the proof say nothing more"),
        pytest.param(2000, None, 2000, id="events go on from there"),
        pytest.param(2000, 1500, 1000, id="events in between are lost"),
        pytest.param(2000, 700, 2000, id="what was lost is proven since"),
    ],
)
def test_events_carry_on_from_the_proof(swept_until: int | None, unread_until: int | None, known: int) -> None:
    assert right_as_of(PROVEN, swept_until, unread_until) == known


def test_an_event_that_is_not_applied_holds_it_back() -> None:
    assert right_as_of(PROVEN | {"unapplied": 1500}, 2000, None) == 1499


def test_a_full_sync_is_as_old_as_its_oldest_type() -> None:
    moments = ["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"]
    mirror = {name: {"completedAt": moment} for name, moment in zip("ab", moments, strict=True)}

    assert last_full_sync(mirror) == "2026-01-01T00:00:00Z"
    assert last_full_sync(mirror | {"c": {"completedAt": None}}) is None
    assert last_full_sync({}) is None
