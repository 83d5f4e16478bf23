"""What came in, by the hour: each object and event is counted once, when it is certain, and for its own team."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from sync.backfill.part_records import PartStore
from sync.backfill.records import BackfillStore
from sync.events.applying import apply_batch, record_event
from sync.events.ledger import Ledger
from sync.mirror.store import MirrorStore
from sync.teams.activity import Activity, activity_since, prune_activity
from sync.teams.connections import Connections
from sync.teams.secrets import SecretBox
from tests.factories import NOW, customer, encoded, event
from tests.sync.conftest import Team
from tests.sync.mirrored import mirror, open_window, page_of
from tests.sync.simulated_stripe import mirrored_of, simulated_stripe, source_of

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def totals(team: Team) -> tuple[int, int]:
    """Objects and events."""
    found = activity_since(team.connection, team.id, "hour", LONG_AGO)
    return sum(each.objects for each in found), sum(each.events for each in found)


def put(team: Team, at: datetime, what: str, count: int) -> None:
    team.connection.execute("INSERT INTO billstack.activity VALUES (%s, %s, %s, %s)", (team.id, at, what, count))


def test_objects_count_when_they_are_published_and_only_once(
    backfills: BackfillStore, store: MirrorStore, team: Team
) -> None:
    key = open_window(store)
    mirror(store, key, page_of([customer("cus_1"), customer("cus_2")], as_of=NOW))
    before = totals(team)
    backfills.publish(key.backfill_id, "customer", 0.5)
    backfills.publish(key.backfill_id, "customer", 0.6)
    first = totals(team)
    mirror(store, open_window(store), page_of([customer("cus_2"), customer("cus_3")], as_of=NOW))
    backfills.publish(key.backfill_id, "customer", 0.7)

    assert (before, first, totals(team)) == ((0, 0), (2, 0), (3, 0))


def test_objects_of_the_last_moment_count_at_the_end_of_their_type(
    backfills: BackfillStore, part_store: PartStore, store: MirrorStore, team: Team
) -> None:
    key = open_window(store)
    fence = part_store.acquire(key.backfill_id, "customer")
    mirror(store, key, page_of([customer("cus_1")], as_of=NOW, has_more=False))
    backfills.publish(key.backfill_id, "customer", 0.5)
    mirror(store, open_window(store), page_of([customer("cus_2")], as_of=NOW, has_more=False))

    assert fence
    backfills.end_type(key.backfill_id, "customer", fence, status="ready")

    assert totals(team) == (2, 0)


def test_what_a_renewal_publishes_while_the_type_ends_is_not_counted_again(
    backfills: BackfillStore, part_store: PartStore, store: MirrorStore, team: Team
) -> None:
    key = open_window(store)
    fence = part_store.acquire(key.backfill_id, "customer")
    assert fence
    mirror(store, key, page_of([customer("cus_1")], as_of=NOW, has_more=False))

    with team.connect() as connection, connection.transaction():
        keeper = BackfillStore(connection)
        PartStore(connection).renew(key.backfill_id, "customer", fence)
        keeper.publish(key.backfill_id, "customer", 0.5)
        ending = threading.Thread(target=lambda: backfills.end_type(key.backfill_id, "customer", fence, status="ready"))
        ending.start()
        ending.join(0.2)
        assert ending.is_alive(), "it waits for the renewal's commit"
    ending.join()

    assert totals(team) == (1, 0)
    assert [each.status for each in backfills.types(key.backfill_id) if each.type == "customer"] == ["ready"]


def test_events_count_when_they_are_applied_or_found_older_and_skipped_ones_do_not(team: Team) -> None:
    stripe = simulated_stripe(counts={"customer": 2})
    with team.connect() as connection:
        ledger = Ledger(connection, team.id)
        for each in (
            event(customer("cus_1"), id="evt_1", created=NOW),
            event(customer("cus_1"), id="evt_2", created=NOW - 60),  # older than that one
            event({"object": "payout", "id": "po_1"}, id="evt_4", type="payout.paid"),
        ):
            record_event(ledger, encoded(each), delivered=True)

        outcomes = apply_batch(connection, team.id, source_of(stripe), mirrored_of(stripe))

    counted = sum(outcomes.get(name, 0) for name in ("applied", "older"))
    assert outcomes["skipped"] == 1
    assert counted == 2
    assert totals(team) == (0, counted)


def test_fetched_events_count(team: Team) -> None:
    stripe = simulated_stripe(counts={"customer": 2})
    with team.connect() as connection:
        old_version = event(customer("cus_1"), id="evt_1", created=NOW) | {"api_version": "2024-06-20"}
        record_event(Ledger(connection, team.id), encoded(old_version), delivered=True)

        outcomes = apply_batch(connection, team.id, source_of(stripe), mirrored_of(stripe))

    assert outcomes == {"fetched": 1}
    assert totals(team) == (0, 1)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("hour", [(datetime(2026, 3, 1, 22), 5, 1), (datetime(2026, 3, 1, 23), 1, 0), (datetime(2026, 3, 2, 0), 0, 7)]),
        ("day", [(datetime(2026, 3, 1), 6, 1), (datetime(2026, 3, 2), 0, 7)]),
    ],
)
def test_hours_and_days_add_up_in_utc_whatever_the_sessions_time_zone(
    team: Team, other_team: Team, span: str, expected: list[tuple[datetime, int, int]]
) -> None:
    at = datetime(2026, 3, 1, 22, tzinfo=UTC)
    put(team, at - HOUR, "customer", 1000)  # before it is asked for
    put(team, at, "customer", 2)
    put(team, at, "invoice", 3)
    put(team, at, "event", 1)
    put(team, at + HOUR, "charge", 1)
    put(team, at + 2 * HOUR, "event", 7)
    put(other_team, at, "event", 99)

    with team.connect() as connection:
        connection.execute("SET TIME ZONE 'Asia/Kolkata'")
        found = activity_since(connection, team.id, span, at)

    assert found == [Activity(begins.replace(tzinfo=UTC), objects, events) for begins, objects, events in expected]


def test_what_no_chart_shows_any_more_is_deleted(team: Team) -> None:
    now = datetime.now(UTC)
    put(team, now - timedelta(days=40), "event", 1)
    put(team, now - timedelta(days=30), "event", 2)

    assert prune_activity(team.connection, timedelta(days=32)) == 1
    assert totals(team) == (0, 2)


def test_a_purged_team_leaves_none(team: Team) -> None:
    put(team, datetime.now(UTC), "event", 1)

    with team.connection.transaction(force_rollback=True):
        Connections(team.connection, SecretBox((b"k" * 32,))).delete(team.id)
        assert totals(team) == (0, 0)
