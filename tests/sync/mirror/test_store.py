"""The rules by which pages, fetches and events meet a row: newest wins, doubt is said, equal rows stay untouched."""

import threading
from dataclasses import replace

import pytest

from sync.backfill.records import BackfillStore
from sync.mirror.store import MirrorStore, WindowKey, WrittenPage
from sync.object_types import OBJECT_TYPES
from tests.factories import CREATED, FACTORIES, NOW, charge, customer, encoded, product, subscription
from tests.sync.conftest import Team
from tests.sync.mirrored import (
    CUSTOMER,
    answer,
    end_backfill,
    mirror,
    open_window,
    page_of,
    rejects,
    row,
    seen,
    set_window,
    windows,
)

OLD, NEW = customer(email="old@example.com"), customer(email="new@example.com")
CHARGE = OBJECT_TYPES["charge"]
PRODUCT = OBJECT_TYPES["product"]


@pytest.fixture
def key(store: MirrorStore) -> WindowKey:
    return open_window(store)


# Pages ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECT_TYPES)
def test_an_object_of_every_type_is_mirrored_as_stripe_sent_it(store: MirrorStore, name: str) -> None:
    object_type = OBJECT_TYPES[name]
    about = FACTORIES[name](odd={"unicode": "Zoë 🚀", "deep": [1, {"big": 2**62}]})
    key = open_window(store, object_type)

    written = mirror(store, key, page_of([about], as_of=NOW, as_of_until=NOW + 2), object_type)

    found = row(store, about["id"], object_type)
    assert found
    assert (found.raw, found.as_of, found.as_of_until, found.deleted_at) == (about, NOW, NOW + 2, None)
    assert (written.counted, written.overlapping) == (1, [])


def test_a_page_wholly_newer_than_the_row_replaces_it(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW, as_of_until=NOW + 1))

    written = mirror(store, key, page_of([NEW], as_of=NOW + 2, as_of_until=NOW + 3))

    found = row(store, "cus_1")
    assert found
    assert (found.raw, found.as_of, found.as_of_until) == (NEW, NOW + 2, NOW + 3)
    assert written.overlapping == []


def test_a_page_wholly_older_than_the_row_is_ignored(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([NEW], as_of=NOW + 10))
    before = row(store, "cus_1")

    written = mirror(store, key, page_of([OLD], as_of=NOW, as_of_until=NOW + 9))

    assert row(store, "cus_1") == before
    assert written.overlapping == []


@pytest.mark.parametrize(
    ("as_of", "as_of_until"),
    [(NOW, NOW + 5), (NOW + 9, NOW + 9), (NOW + 5, NOW + 5), (NOW + 7, NOW + 8), (NOW, NOW + 20)],
)
def test_a_page_that_overlaps_the_row_in_time_and_differs_is_in_doubt(
    store: MirrorStore, key: WindowKey, as_of: int, as_of_until: int
) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW + 5, as_of_until=NOW + 9))
    before = row(store, "cus_1")

    written = mirror(store, key, page_of([NEW], as_of=as_of, as_of_until=as_of_until))

    assert row(store, "cus_1") == before
    assert written.overlapping == ["cus_1"]


def test_an_equal_row_is_not_touched_however_new_the_page(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW))
    before = row(store, "cus_1")

    written = mirror(store, key, page_of([OLD], as_of=NOW + 100))

    assert row(store, "cus_1") == before
    assert written.overlapping == []


def test_equal_means_the_same_json_not_the_same_text(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW))
    before = row(store, "cus_1")
    reordered = dict(reversed(OLD.items()))

    mirror(store, key, page_of([reordered], as_of=NOW + 100))

    assert row(store, "cus_1") == before


def test_a_page_wholly_newer_than_a_tombstone_raises_the_dead(store: MirrorStore, key: WindowKey) -> None:
    store.apply_deletion(CUSTOMER, "cus_1", encoded(OLD), created=NOW)

    mirror(store, key, page_of([OLD], as_of=NOW + 1))

    found = row(store, "cus_1")
    assert found
    assert (found.deleted_at, found.as_of) == (None, NOW + 1)


def test_a_page_that_overlaps_a_tombstone_is_in_doubt_even_where_raw_is_equal(
    store: MirrorStore, key: WindowKey
) -> None:
    store.apply_deletion(CUSTOMER, "cus_1", encoded(OLD), created=NOW)

    written = mirror(store, key, page_of([OLD], as_of=NOW - 1, as_of_until=NOW + 1))

    assert written.overlapping == ["cus_1"]
    assert row(store, "cus_1").deleted_at  # type: ignore[union-attr]


def test_a_page_older_than_a_tombstone_does_not_raise_the_dead(store: MirrorStore, key: WindowKey) -> None:
    store.apply_deletion(CUSTOMER, "cus_1", encoded(OLD), created=NOW)

    written = mirror(store, key, page_of([OLD], as_of=NOW - 9, as_of_until=NOW - 1))

    assert written.overlapping == []
    assert row(store, "cus_1").deleted_at  # type: ignore[union-attr]


def test_an_object_is_counted_once_however_many_pages_meet_it(store: MirrorStore, key: WindowKey) -> None:
    first = mirror(store, key, page_of([customer("cus_2"), customer("cus_1")], as_of=NOW))
    other_window = open_window(store)

    again = mirror(store, other_window, page_of([customer("cus_3"), customer("cus_2")], as_of=NOW))

    assert (first.counted, again.counted) == (2, 1)
    assert seen(store) == {"cus_1", "cus_2", "cus_3"}
    assert [(each["met"], each["counted"]) for each in windows(store)] == [(2, 2), (2, 1)]


def test_an_object_that_a_page_holds_twice_is_counted_once(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([customer("cus_1")], as_of=NOW))

    again = mirror(store, open_window(store), page_of([customer("cus_1"), customer("cus_1")], as_of=NOW))

    assert again.counted == 0
    assert seen(store) == {"cus_1"}


@pytest.mark.parametrize(("upper", "counted"), [(NOW - 50, 0), (NOW + 50, 1)])
def test_only_what_came_after_the_windows_end_is_looked_for_at_all_times(
    store: MirrorStore, upper: int, counted: int
) -> None:
    """A product's own id can be used again: met before, deleted, and met once more with a later `created`."""
    first = open_window(store, PRODUCT)
    mirror(store, first, page_of([product("mug", created=NOW - 1000)], as_of=NOW), PRODUCT)
    BackfillStore(store.connection).fix_upper(first.backfill_id, upper)
    tail = open_window(store, PRODUCT, gte=NOW - 50)

    again = mirror(store, tail, page_of([product("mug", created=NOW - 10)], as_of=NOW), PRODUCT)

    assert again.counted == counted


def test_the_tail_of_a_type_whose_ids_are_never_used_again_does_not_look_at_all_pages(store: MirrorStore) -> None:
    """It would take a second and 300 MB for each two million objects, for every page of the tail."""
    first = open_window(store, CHARGE)
    mirror(store, first, page_of([charge("ch_1", created=NOW - 1000)], as_of=NOW), CHARGE)
    BackfillStore(store.connection).fix_upper(first.backfill_id, NOW - 50)
    tail = open_window(store, CHARGE, gte=NOW - 50)

    again = mirror(store, tail, page_of([charge("ch_1", created=NOW - 10)], as_of=NOW), CHARGE)

    assert again.counted == 1


def test_a_page_is_written_with_one_round_trip_or_not_at_all(store: MirrorStore, key: WindowKey) -> None:
    page = page_of([customer("cus_1")], as_of=NOW)

    written = store.mirror_page_alone(CUSTOMER, key, page)
    late = store.mirror_page_alone(CUSTOMER, replace(key, fence=7), page_of([customer("cus_2")], as_of=NOW))

    assert written == WrittenPage(1, [])
    assert late is None
    assert seen(store) == {"cus_1"}
    assert row(store, "cus_2") is None
    assert [(each["pages"], each["met"]) for each in windows(store)] == [(1, 1)]


def test_the_same_id_of_two_types_counts_for_both(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([customer("same")], as_of=NOW))

    written = mirror(store, open_window(store, PRODUCT), page_of([product("same")], as_of=NOW), PRODUCT)

    assert written.counted == 1


def test_objects_below_the_floor_are_another_windows(store: MirrorStore) -> None:
    key = open_window(store, floor=CREATED)
    above, at, below = (customer(f"cus_{age}", created=CREATED - age) for age in (-1, 0, 1))

    written = mirror(store, key, page_of([above, at, below], as_of=NOW))

    assert written.counted == 2
    assert seen(store) == {"cus_-1", "cus_0"}
    assert row(store, "cus_1") is None
    assert windows(store)[0]["done"], "what is older than the floor ends the window"


def test_a_window_goes_on_below_an_object_that_stands_on_its_floor(store: MirrorStore) -> None:
    key = open_window(store, floor=CREATED)

    mirror(store, key, page_of([customer()], as_of=NOW))

    assert not windows(store)[0]["done"], "more objects of that second may follow"


def test_a_floor_raised_while_the_page_was_under_way_holds_for_it(store: MirrorStore, key: WindowKey) -> None:
    page = page_of([customer("cus_2", created=CREATED), customer("cus_1", created=CREATED - 1)], as_of=NOW)
    set_window(store, 1, floor=CREATED)

    written = mirror(store, key, page)

    assert written.counted == 1


def test_the_last_page_ends_its_window(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([customer()], as_of=NOW, has_more=False))

    assert windows(store)[0]["done"]
    assert not store.lock_window(CUSTOMER, key)


def test_an_empty_page_ends_its_window_and_keeps_where_it_stood(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([customer()], as_of=NOW))

    mirror(store, key, page_of([], as_of=NOW, has_more=False))

    window = windows(store)[0]
    assert (window["done"], window["cursor"], window["oldest"], window["pages"]) == (True, "cus_1", CREATED, 2)


def test_a_page_leaves_its_checkpoint(store: MirrorStore, key: WindowKey) -> None:
    newer, older = customer("cus_2", created=CREATED + 5), customer("cus_1", created=CREATED)

    mirror(store, key, page_of([newer, older], as_of=NOW, as_of_until=NOW + 3))
    mirror(store, key, page_of([customer("cus_0", created=CREATED - 1)], as_of=NOW - 9))

    window = windows(store)[0]
    assert (window["newest"], window["oldest"], window["cursor"]) == (CREATED + 5, CREATED - 1, "cus_0")
    assert (window["pages"], window["met"], window["counted"]) == (2, 3, 3)
    assert window["checked_until"] == NOW + 3, "an earlier page that comes later does not take it back"


def test_completed_lists_take_the_place_of_their_cut_ones(store: MirrorStore) -> None:
    subscription_type = OBJECT_TYPES["subscription"]
    key = open_window(store, subscription_type)
    cut = subscription("sub_2", items={"data": [1], "has_more": True, "url": "/items"}, tags={"data": ["a"]})

    page = page_of([cut, subscription("sub_1")], as_of=NOW, completed={"sub_2": encoded([1, 2, 3])})
    written = mirror(store, key, page, subscription_type)

    whole = {"data": [1, 2, 3], "has_more": False, "url": "/items"}
    assert row(store, "sub_2", subscription_type).raw == {**cut, "items": whole}  # type: ignore[union-attr]
    assert row(store, "sub_1", subscription_type).raw == subscription("sub_1")  # type: ignore[union-attr]
    assert written.counted == 2


def test_a_completed_object_takes_the_place_of_the_listed_one(store: MirrorStore, key: WindowKey) -> None:
    whole = customer("cus_2", items=[1, 2, 3])
    listed = customer("cus_2", items=[1], name="gone from the whole one")

    written = mirror(store, key, page_of([listed, customer("cus_1")], as_of=NOW, completed={"cus_2": encoded(whole)}))

    assert row(store, "cus_2").raw == whole  # type: ignore[union-attr]
    assert written.counted == 2


def test_an_object_that_was_deleted_while_its_lists_were_read_is_left_out(store: MirrorStore, key: WindowKey) -> None:
    written = mirror(store, key, page_of([customer("cus_2"), customer("cus_1")], as_of=NOW, completed={"cus_2": b""}))

    assert row(store, "cus_2") is None
    assert written.counted == 1


@pytest.mark.parametrize("fence", [0, 2])
def test_a_page_with_another_fence_than_its_windows_is_refused(store: MirrorStore, key: WindowKey, fence: int) -> None:
    stranger = WindowKey(key.backfill_id, key.type, key.number, fence)

    assert not store.lock_window(CUSTOMER, stranger)
    assert store.lock_window(CUSTOMER, key)


def test_a_takeover_waits_for_the_page_in_flight_and_the_next_page_is_refused(
    store: MirrorStore, key: WindowKey, team: Team
) -> None:
    with team.connect() as successor:
        with store.connection.transaction():
            assert store.lock_window(CUSTOMER, key)
            takeover = threading.Thread(
                target=successor.execute,
                args=("UPDATE billstack.windows SET fence = 2 WHERE backfill_id = %s", (key.backfill_id,)),
            )
            takeover.start()
            takeover.join(0.05)
            assert takeover.is_alive()
            store.mirror_page(CUSTOMER, key, page_of([customer()], as_of=NOW))
        takeover.join()

    assert not store.lock_window(CUSTOMER, key)
    assert windows(store)[0]["counted"] == 1


def test_named_prices_that_no_list_gave_are_missing(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([customer()], as_of=NOW, named_prices=["price_1", "price_2"]))
    price_type = OBJECT_TYPES["price"]
    mirror(
        store,
        open_window(store, price_type),
        page_of([FACTORIES["price"]("price_2")], as_of=NOW, named_prices=["price_1"]),
        price_type,
    )

    assert store.missing_prices() == ["price_1"]


# Fetched objects --------------------------------------------------------------------------------------------------------


def test_a_fetched_object_is_inserted_where_there_was_none(store: MirrorStore) -> None:
    assert store.put_fetched(CUSTOMER, "cus_1", answer(NEW, as_of=NOW), version=None) == "written"
    assert row(store, "cus_1").raw == NEW  # type: ignore[union-attr]


def test_a_fetched_object_replaces_the_row_that_was_there_when_the_fetch_began(
    store: MirrorStore, key: WindowKey
) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW, as_of_until=NOW + 60))
    version = store.version(CUSTOMER, "cus_1")

    verdict = store.put_fetched(CUSTOMER, "cus_1", answer(NEW, as_of=NOW + 1), version=version)

    assert verdict == "written"
    assert row(store, "cus_1").raw == NEW  # type: ignore[union-attr]


def test_a_fetched_object_does_not_replace_a_row_written_during_the_fetch(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW))
    version = store.version(CUSTOMER, "cus_1")
    store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=NOW + 5, checked_until=None)

    verdict = store.put_fetched(CUSTOMER, "cus_1", answer(OLD, as_of=NOW + 4, as_of_until=NOW + 6), version=version)

    assert verdict == "changed"
    assert row(store, "cus_1").raw == NEW  # type: ignore[union-attr]


def test_a_row_that_appeared_during_the_fetch_is_not_replaced(store: MirrorStore) -> None:
    version = store.version(CUSTOMER, "cus_1")
    store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=NOW + 5, checked_until=None)

    assert store.put_fetched(CUSTOMER, "cus_1", answer(OLD, as_of=NOW + 5), version=version) == "changed"
    assert row(store, "cus_1").raw == NEW  # type: ignore[union-attr]


def test_a_fetch_wholly_newer_than_a_row_written_meanwhile_replaces_it(store: MirrorStore, key: WindowKey) -> None:
    version = store.version(CUSTOMER, "cus_1")
    mirror(store, key, page_of([OLD], as_of=NOW - 9, as_of_until=NOW - 1))

    assert store.put_fetched(CUSTOMER, "cus_1", answer(NEW, as_of=NOW), version=version) == "written"


def test_an_equal_row_is_left_alone_by_a_fetch(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW))
    before = row(store, "cus_1")

    assert store.put_fetched(CUSTOMER, "cus_1", answer(OLD, as_of=NOW + 9), version=before.xmin) == "equal"  # type: ignore[union-attr]
    assert row(store, "cus_1") == before


def test_a_fetch_that_finds_an_object_alive_raises_the_dead(store: MirrorStore) -> None:
    store.apply_deletion(CUSTOMER, "cus_1", encoded(OLD), created=NOW)

    verdict = store.put_fetched(CUSTOMER, "cus_1", answer(OLD, as_of=NOW + 9), version=None)

    assert verdict == "written"
    assert row(store, "cus_1").deleted_at is None  # type: ignore[union-attr]


def test_what_stripe_no_longer_has_becomes_a_tombstone_with_its_last_state(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW))
    version = store.version(CUSTOMER, "cus_1")

    assert store.put_deleted(CUSTOMER, "cus_1", answer(None, as_of=NOW + 5), version=version)

    found = row(store, "cus_1")
    assert found
    assert (found.raw, found.as_of) == (OLD, NOW + 5)
    assert found.deleted_at
    assert found.deleted_at.timestamp() == NOW + 5


def test_a_row_written_during_the_fetch_does_not_become_a_tombstone(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW))
    version = store.version(CUSTOMER, "cus_1")
    store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=NOW + 5, checked_until=None)

    assert not store.put_deleted(CUSTOMER, "cus_1", answer(None, as_of=NOW + 5), version=version)
    assert row(store, "cus_1").deleted_at is None  # type: ignore[union-attr]


def test_there_is_no_tombstone_of_a_row_that_is_not_there(store: MirrorStore) -> None:
    assert not store.put_deleted(CUSTOMER, "cus_1", answer(None, as_of=NOW), version="1")


# Events -----------------------------------------------------------------------------------------------------------------


def test_an_event_of_an_unknown_object_inserts_it(store: MirrorStore) -> None:
    assert store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=NOW, checked_until=NOW + 9) == "applied"

    found = row(store, "cus_1")
    assert found
    assert (found.raw, found.as_of, found.as_of_until) == (NEW, NOW, NOW)


def test_an_event_after_the_row_and_after_every_look_at_its_type_replaces_it(
    store: MirrorStore, key: WindowKey
) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW, as_of_until=NOW + 1))

    assert store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=NOW + 2, checked_until=NOW + 1) == "applied"
    assert row(store, "cus_1").raw == NEW  # type: ignore[union-attr]


def test_an_event_before_the_row_is_older(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([NEW], as_of=NOW, as_of_until=NOW + 1))

    assert store.apply_event(CUSTOMER, "cus_1", encoded(OLD), created=NOW - 1, checked_until=None) == "older"
    assert row(store, "cus_1").raw == NEW  # type: ignore[union-attr]


@pytest.mark.parametrize("created", [NOW, NOW + 1, NOW + 2])
def test_an_event_within_the_rows_time_that_differs_is_in_doubt(
    store: MirrorStore, key: WindowKey, created: int
) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW, as_of_until=NOW + 2))

    assert store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=created, checked_until=None) == "doubtful"
    assert row(store, "cus_1").raw == OLD  # type: ignore[union-attr]


def test_two_different_events_of_one_second_are_in_doubt(store: MirrorStore) -> None:
    store.apply_event(CUSTOMER, "cus_1", encoded(OLD), created=NOW, checked_until=None)

    assert store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=NOW, checked_until=None) == "doubtful"


def test_an_equal_event_advances_the_rows_time(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([NEW], as_of=NOW, as_of_until=NOW + 1))

    assert store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=NOW + 5, checked_until=None) == "applied"

    found = row(store, "cus_1")
    assert found
    assert (found.as_of, found.as_of_until) == (NOW + 5, NOW + 5)


def test_an_equal_event_inside_the_rows_time_narrows_it(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([NEW], as_of=NOW, as_of_until=NOW + 9))

    store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=NOW + 5, checked_until=None)

    found = row(store, "cus_1")
    assert found
    assert (found.as_of, found.as_of_until) == (NOW + 5, NOW + 9)


def test_a_flip_flop_whose_middle_comes_late_stays_as_it_ended(store: MirrorStore, key: WindowKey) -> None:
    """A, then B at 10, then A again at 20; the event of 20 comes first."""
    mirror(store, key, page_of([OLD], as_of=NOW))

    store.apply_event(CUSTOMER, "cus_1", encoded(OLD), created=NOW + 20, checked_until=NOW)

    assert store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=NOW + 10, checked_until=NOW) == "older"


def test_a_flip_flop_that_only_a_page_saw_the_end_of_is_in_doubt(store: MirrorStore, key: WindowKey) -> None:
    """A, then B at 10, then A again; a page at 30 finds the row equal and leaves it as it is, then the event of 10 comes."""
    mirror(store, key, page_of([OLD], as_of=NOW))
    mirror(store, key, page_of([OLD], as_of=NOW + 30, as_of_until=NOW + 31))
    checked_until = store.checked_until(CUSTOMER)

    verdict = store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=NOW + 10, checked_until=checked_until)

    assert checked_until == NOW + 31
    assert verdict == "doubtful"


def test_until_when_pages_looked_is_kept_when_the_next_backfill_begins(
    store: MirrorStore, key: WindowKey, backfills
) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW, as_of_until=NOW + 7))
    end_backfill(backfills, key.backfill_id)
    backfills.start(store.team_id, ["customer"], None, request_id=None)

    assert windows(store) == []
    assert store.checked_until(CUSTOMER) == NOW + 7
    assert store.checked_until(PRODUCT) is None


def test_a_late_update_does_not_raise_the_dead(store: MirrorStore) -> None:
    store.apply_deletion(CUSTOMER, "cus_1", encoded(OLD), created=NOW)

    for created, verdict in ((NOW - 1, "older"), (NOW, "doubtful"), (NOW + 1, "doubtful")):
        assert store.apply_event(CUSTOMER, "cus_1", encoded(NEW), created=created, checked_until=None) == verdict

    found = row(store, "cus_1")
    assert found
    assert found.deleted_at
    assert found.raw == OLD


def test_a_deletion_buries_a_row_also_in_the_second_of_its_last_update(store: MirrorStore) -> None:
    # Of a type whose ids are never used again.
    store.apply_event(CHARGE, "ch_1", encoded(charge("ch_1")), created=NOW, checked_until=None)

    assert store.apply_deletion(CHARGE, "ch_1", encoded(charge("ch_1")), created=NOW) == "applied"

    found = row(store, "ch_1", CHARGE)
    assert found
    assert found.deleted_at
    assert found.deleted_at.timestamp() == NOW


def test_a_deletion_of_an_unknown_object_is_a_tombstone(store: MirrorStore) -> None:
    store.apply_deletion(CUSTOMER, "cus_1", encoded(OLD), created=NOW)

    assert row(store, "cus_1").deleted_at  # type: ignore[union-attr]


def test_a_deletion_before_the_row_was_read_alive_is_older(store: MirrorStore, key: WindowKey) -> None:
    mirror(store, key, page_of([OLD], as_of=NOW))

    assert store.apply_deletion(CUSTOMER, "cus_1", encoded(OLD), created=NOW - 1) == "older"
    assert row(store, "cus_1").deleted_at is None  # type: ignore[union-attr]


def test_a_deletion_in_a_page_that_a_slow_answer_overlaps_is_applied(store: MirrorStore) -> None:
    # Of a type whose ids are never used again.
    listed = charge("ch_1")
    mirror(store, open_window(store, CHARGE), page_of([listed], as_of=NOW, as_of_until=NOW + 9), CHARGE)

    assert store.apply_deletion(CHARGE, "ch_1", encoded(listed), created=NOW + 4) == "applied"

    found = row(store, "ch_1", CHARGE)
    assert found
    assert (found.as_of, found.as_of_until) == (NOW + 4, NOW + 9)


def test_a_second_deletion_keeps_the_first_ones_time(store: MirrorStore) -> None:
    store.apply_deletion(CUSTOMER, "cus_1", encoded(OLD), created=NOW)

    store.apply_deletion(CUSTOMER, "cus_1", encoded(OLD), created=NOW + 5)

    assert row(store, "cus_1").deleted_at.timestamp() == NOW  # type: ignore[union-attr]


def test_an_event_waits_for_the_page_in_flight(store: MirrorStore, key: WindowKey, team: Team) -> None:
    """Else a page that found the row equal would be overtaken by an older event between its look and its commit."""
    order = []

    def apply() -> None:
        with team.connect() as connection, connection.transaction():
            MirrorStore(connection, team.id).lock_type(CUSTOMER)
            order.append("event")

    with store.connection.transaction():
        assert store.lock_window(CUSTOMER, key)
        event = threading.Thread(target=apply)
        event.start()
        event.join(0.05)
        order.append("page")
    event.join()

    assert order == ["page", "event"]


def test_pages_of_one_type_do_not_wait_for_events_of_another(store: MirrorStore, key: WindowKey, team: Team) -> None:
    with team.connect() as connection, connection.transaction():
        MirrorStore(connection, team.id).lock_type(PRODUCT)

        assert store.lock_window(CUSTOMER, key)


# Suspects, rejects ------------------------------------------------------------------------------------------------------


def test_suspects_are_the_live_rows_of_the_range_that_no_list_gave(store: MirrorStore, key: WindowKey) -> None:
    listed_one = customer("cus_a")
    others = [
        customer("cus_b", created=CREATED),
        customer("cus_c", created=CREATED - 1),
        customer("cus_d", created=CREATED + 10),
        customer("cus_e", created="never"),
        customer("cus_f", created=CREATED),
    ]
    for about in others:
        store.apply_event(CUSTOMER, about["id"], encoded(about), created=NOW, checked_until=None)
    store.apply_deletion(CUSTOMER, "cus_f", encoded(others[-1]), created=NOW + 1)
    mirror(store, key, page_of([listed_one], as_of=NOW))

    found = store.suspects(CUSTOMER, gte=CREATED, lt=CREATED + 10, after="", limit=10)

    assert found == ["cus_b", "cus_e"], "an unreadable created is in every range; a tombstone is no suspect"


def test_suspects_come_in_portions(store: MirrorStore) -> None:
    for number in range(5):
        about = customer(f"cus_{number}")
        store.apply_event(CUSTOMER, about["id"], encoded(about), created=NOW, checked_until=None)

    portions, after = [], ""
    while found := store.suspects(CUSTOMER, gte=0, lt=NOW, after=after, limit=2):
        portions.append(found)
        after = found[-1]

    assert portions == [["cus_0", "cus_1"], ["cus_2", "cus_3"], ["cus_4"]]


def test_rejects_are_told_with_their_number_newest_first(store: MirrorStore) -> None:
    for number in range(3):
        store.reject(CUSTOMER, f"cus_{number}", "too long")
    store.reject(PRODUCT, "prod_1", "a NUL")
    store.reject(CUSTOMER, "cus_0", "still too long")

    found = store.rejects(["customer"])

    assert [row[0] for row in found] == ["customer"] * 3
    assert found[0] == ("customer", "cus_0", "still too long", 3)
    store.forget_rejects(["customer"])
    assert list(rejects(store)) == ["prod_1"]


def test_another_teams_mirror_is_out_of_reach(store: MirrorStore, key: WindowKey, team: Team, other_team: Team) -> None:
    other = MirrorStore(team.connection, other_team.id)

    mirror(store, key, page_of([customer()], as_of=NOW, as_of_until=NOW + 9))

    assert row(other, "cus_1") is None
    assert seen(other) == set()
    assert other.checked_until(CUSTOMER) is None
