"""What each payout is made of is known when the backfill ends, stays right, and costs nobody else a request."""

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql

from sync.backfill.part_records import FINISH
from sync.events.applying import apply_batch, record_event
from sync.events.ledger import Ledger
from sync.events.reread import reread
from sync.mirror.payouts import PayoutStore, UnreadPayout, read_payout
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from sync.teams.mirrored_types import MirroredTypes
from tests.factories import Json, encoded
from tests.sync.backfilling import Backfilling, Process
from tests.sync.conftest import Team
from tests.sync.mirrored import rejects, row, versions
from tests.sync.simulated_stripe import Request, SimulatedStripe, error, mirrored_of, simulated_stripe, source_of

PAYOUT, TRANSACTION = OBJECT_TYPES["payout"], OBJECT_TYPES["balance_transaction"]
BOTH = ("payout", "balance_transaction")
DAY = 86_400
WHERE_IT_FOLLOWS = {"payout": None, "balance_transaction": None}  # from the charges
Contents = dict[str, set[str]]


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe(counts={"customer": 3, "charge": 90, **WHERE_IT_FOLLOWS}, profile="last-month")


@pytest.fixture
def run(team: Team, stripe: SimulatedStripe) -> Backfilling:
    return Backfilling(team, stripe, page_size=3)


def at_stripe(stripe: SimulatedStripe) -> Contents:
    """By payout, of those that Stripe can tell of."""
    found: Contents = defaultdict(set)
    for (_, transaction_id), payout_id in stripe.account.state.shelves["balance_transaction"].group_of.items():
        if stripe.account.state.get("payout", payout_id)["reconciliation_status"] == "completed":
            found[payout_id].add(transaction_id)
    return dict(found)


def in_mirror(team: Team) -> Contents:
    """By payout, of those that count as read."""
    found: Contents = {payout_id: set() for payout_id in readings(team)}
    statement = sql.SQL("SELECT payout, balance_transaction FROM {}").format(
        sql.Identifier(team.schema, "payout_balance_transactions")
    )
    for payout_id, transaction_id in team.connection.execute(statement):
        found[payout_id].add(transaction_id)
    return found


def readings(team: Team) -> dict[str, tuple[int, int, str | None]]:
    table = sql.Identifier(team.schema, "payout_readings")
    rows = team.connection.execute(
        sql.SQL("SELECT payout, transactions, missing, refusal FROM {}").format(table)
    ).fetchall()
    return {payout: (transactions, missing, refusal) for payout, transactions, missing, refusal in rows}


def lists_of_payouts(stripe: SimulatedStripe) -> list[str]:
    return [each.params["payout"] for each in stripe.requests if "payout" in each.params]


def again(run: Backfilling) -> int:
    return reread(run.team.connection, run.team.id, source_of(run.stripe), is_over=lambda: False)


def hear(run: Backfilling) -> None:
    """All events so far are delivered and applied."""
    ledger = Ledger(run.team.connection, run.team.id)
    for event in run.stripe.account.events():
        record_event(ledger, encoded(event), delivered=True)
    while apply_batch(run.team.connection, run.team.id, source_of(run.stripe), mirrored_of(run.stripe)):
        pass


def new_payout(stripe: SimulatedStripe, **params: str) -> Json:
    """Of the seeded transactions, that are not paid out yet."""
    stripe.clock.advance(7 * DAY)
    made: Json = stripe.account.create("payout", **params)
    stripe.clock.advance(60)
    assert params or made["automatic"]
    return made


def test_a_backfill_of_both_types_knows_what_each_payout_is_made_of(run: Backfilling, stripe: SimulatedStripe) -> None:
    backfill_id = run.start("charge", *BOTH)

    assert run.run(backfill_id) == "ready"

    expected = at_stripe(stripe)
    assert in_mirror(run.team) == expected
    assert any(len(ids) > run.page_size for ids in expected.values()), "some lists have several pages"
    assert run.differences(*BOTH) == []
    assert run.synced(backfill_id)["balance_transaction"] == len(stripe.account.objects("balance_transaction"))


def test_the_net_of_what_is_paid_out_is_the_payouts_amount(run: Backfilling) -> None:
    run.run(run.start(*BOTH))

    question = """
        SELECT payouts.amount, sum(transactions.net) FILTER (WHERE transactions.type <> 'payout'), sum(transactions.net)
        FROM {team}.payouts
        JOIN {team}.payout_balance_transactions AS paid_out ON paid_out.payout = payouts.id
        JOIN {team}.balance_transactions AS transactions ON transactions.id = paid_out.balance_transaction
        GROUP BY payouts.id
    """
    rows = run.team.connection.execute(sql.SQL(question).format(team=sql.Identifier(run.team.schema))).fetchall()
    assert rows
    assert all(amount == net and rest == 0 for amount, net, rest in rows)


@pytest.mark.parametrize("types", [("charge", "payout"), ("charge", "balance_transaction"), ("charge",)])
def test_a_team_without_both_types_asks_nothing_more(
    run: Backfilling, stripe: SimulatedStripe, types: tuple[str, ...]
) -> None:
    run.run(run.start(*types))
    again(run)

    assert lists_of_payouts(stripe) == []


def test_the_second_type_may_come_later(run: Backfilling, stripe: SimulatedStripe) -> None:
    run.run(run.start("payout"))

    run.run(run.start("balance_transaction"))

    assert in_mirror(run.team) == at_stripe(stripe)


def test_a_payout_is_asked_for_once(run: Backfilling, stripe: SimulatedStripe) -> None:
    run.run(run.start(*BOTH))
    stripe.clock.advance(3600)
    before, written = in_mirror(run.team), versions(run.team.connection, run.team.schema)
    stripe.requests.clear()

    again(run)
    run.run(run.start(*BOTH))

    assert lists_of_payouts(stripe) == []
    assert in_mirror(run.team) == before
    assert versions(run.team.connection, run.team.schema) == written


@pytest.mark.parametrize("dies_after", [20, 40, 70, 110, 160])
def test_a_finish_that_dies_leaves_no_payout_half_read(
    run: Backfilling, stripe: SimulatedStripe, dies_after: int
) -> None:
    backfill_id = run.start(*BOTH)
    for part in ("opening", *BOTH):
        run.work_on(backfill_id, part)

    run.work_on(backfill_id, FINISH, process=Process(dies_after=dies_after))
    expected, read = at_stripe(stripe), in_mirror(run.team)
    assert all(ids == expected[payout_id] for payout_id, ids in read.items())
    run.let_leases_run_out()
    stripe.requests.clear()

    assert run.run(backfill_id) == "ready"
    assert in_mirror(run.team) == expected
    assert not read.keys() & set(lists_of_payouts(stripe)), "what is read is not asked for again"


def test_a_new_payout_is_read_when_stripe_has_reconciled_it(run: Backfilling, stripe: SimulatedStripe) -> None:
    run.run(run.start(*BOTH))
    made = new_payout(stripe, reconciliation_status="in_progress")
    hear(run)
    again(run)
    assert made["id"] not in readings(run.team), "Stripe does not know it yet"

    stripe.account.update("payout", made["id"], reconciliation_status="completed")
    stripe.clock.advance(60)
    hear(run)
    again(run)

    assert in_mirror(run.team) == at_stripe(stripe)
    assert made["id"] in readings(run.team)
    assert run.differences(*BOTH) == []


def test_what_a_payout_is_made_of_is_mirrored_with_it(run: Backfilling, stripe: SimulatedStripe) -> None:
    """A balance transaction becomes available without an event; the payout's list shows it so."""
    run.run(run.start(*BOTH))
    made = new_payout(stripe)
    own = stripe.account.state.get("balance_transaction", made["balance_transaction"])
    stale = next(id for id in at_stripe(stripe)[made["id"]] if id != own["id"])
    changed = {**stripe.account.state.get("balance_transaction", stale), "status": "available", "description": "new"}
    stripe.account.state.change("balance_transaction", changed)
    hear(run)

    again(run)

    found = {id: row(run.mirror, id, TRANSACTION) for id in (own["id"], stale)}
    assert {id: row and row.raw for id, row in found.items()} == {own["id"]: own, stale: changed}


def test_a_payout_that_changes_is_read_again(run: Backfilling, stripe: SimulatedStripe) -> None:
    run.run(run.start(*BOTH))
    payout_id = next(iter(at_stripe(stripe)))
    stripe.clock.advance(60)
    stripe.account.update("payout", payout_id, status="failed")
    gone = next(iter(at_stripe(stripe)[payout_id]))
    shelf = stripe.account.state.shelves["balance_transaction"]
    shelf.indexed("payout", payout_id).remove(shelf.by_id[gone])
    del shelf.group_of["payout", gone]
    stripe.clock.advance(60)
    stripe.requests.clear()
    hear(run)

    again(run)

    assert set(lists_of_payouts(stripe)) == {payout_id}
    assert in_mirror(run.team) == at_stripe(stripe)


def test_a_manual_payout_is_not_asked_for(run: Backfilling, stripe: SimulatedStripe) -> None:
    manual = stripe.account.create("payout", reconciliation_status="not_applicable")
    stripe.clock.advance(60)

    run.run(run.start(*BOTH))

    assert manual["id"] not in lists_of_payouts(stripe)
    assert manual["id"] not in readings(run.team)


def test_what_stripe_does_not_tell_is_noted_and_not_asked_for_again(run: Backfilling, stripe: SimulatedStripe) -> None:
    refused = next(iter(at_stripe(stripe)))

    def refuse(request: Request) -> None:
        if request.params.get("payout") == refused:
            request.instead = error(400, message="Not this one.")

    stripe.at_begin = refuse

    assert run.run(run.start(*BOTH)) == "ready"
    again(run)

    assert readings(run.team)[refused] == (0, 0, "Not this one.")
    assert lists_of_payouts(stripe).count(refused) == 1
    assert in_mirror(run.team) == {**at_stripe(stripe), refused: set()}


def test_a_key_that_may_not_list_them_fails_no_backfill(run: Backfilling, stripe: SimulatedStripe) -> None:
    def refuse(request: Request) -> None:
        if "payout" in request.params:
            request.instead = error(403, message="No permission.")

    stripe.at_begin = refuse

    assert run.run(run.start(*BOTH)) == "ready"

    warnings = run.store.history(run.team.id, 1)[0]["warnings"]
    assert [warning for warning in warnings if "No permission." in warning] == warnings
    assert readings(run.team) == {}


def test_a_list_that_loses_its_cursor_is_read_again_later(run: Backfilling, stripe: SimulatedStripe) -> None:
    def lose(request: Request) -> None:
        if "payout" in request.params and "starting_after" in request.params:
            request.instead = error(400, "resource_missing")

    stripe.at_begin = lose
    assert run.run(run.start(*BOTH)) == "ready"
    expected = at_stripe(stripe)
    assert in_mirror(run.team) == {id: ids for id, ids in expected.items() if len(ids) <= run.page_size}

    stripe.at_begin = lambda request: None
    again(run)

    assert in_mirror(run.team) == expected


def test_a_transaction_that_cannot_be_stored_is_counted_as_missing(run: Backfilling, stripe: SimulatedStripe) -> None:
    payout_id, ids = next(iter(at_stripe(stripe).items()))
    bad = stripe.account.state.get("balance_transaction", next(iter(ids)))
    stripe.account.state.change("balance_transaction", {**bad, "description": "\0"})

    run.run(run.start(*BOTH))

    assert set(rejects(run.mirror)) == {bad["id"]}
    assert readings(run.team)[payout_id] == (len(ids), 1, None)
    assert in_mirror(run.team) == at_stripe(stripe)


def test_a_list_read_before_the_payout_changed_is_not_taken_for_todays(
    run: Backfilling, stripe: SimulatedStripe
) -> None:
    run.run(run.start(*BOTH))
    payout_id = next(iter(at_stripe(stripe)))
    stripe.clock.advance(60)
    stripe.account.update("payout", payout_id, status="failed")
    hear(run)
    contents = PayoutStore(run.mirror)
    (payout,) = contents.unread(limit=9)
    early = UnreadPayout(payout_id, payout.as_of - 60)

    assert not contents.put_contents(early, ["txn_other"])

    assert in_mirror(run.team) == at_stripe(stripe)
    assert contents.unread(limit=9) == [payout]
    read_payout(run.mirror, source_of(stripe), payout)
    assert contents.unread(limit=9) == []


def test_of_two_readers_the_second_ones_list_counts_as_a_whole(run: Backfilling, stripe: SimulatedStripe) -> None:
    run.run(run.start(*BOTH))
    payout_id = next(iter(at_stripe(stripe)))
    as_of = row(run.mirror, payout_id, PAYOUT).as_of_until  # type: ignore[union-attr]
    payout, contents = UnreadPayout(payout_id, as_of), PayoutStore(run.mirror)

    with ThreadPoolExecutor(1) as beside, run.team.connect() as other:
        with run.team.connection.transaction():
            contents.put_contents(payout, ["txn_of_the_first"])
            second = beside.submit(
                PayoutStore(MirrorStore(other, run.team.id)).put_contents, payout, ["txn_of_the_second"]
            )
            wait_until_waiting(run.team, other)
        assert second.result()

    assert in_mirror(run.team)[payout_id] == {"txn_of_the_second"}
    assert readings(run.team)[payout_id] == (1, 1, None)


def wait_until_waiting(team: Team, other: psycopg.Connection) -> None:
    """For the other one's lock."""
    statement = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
    with team.connect() as watching:
        for _ in range(1000):
            if watching.execute(statement, (other.info.backend_pid,)).fetchone() == ("Lock",):
                return
            time.sleep(0.01)
    raise AssertionError("it waits for nothing")


def test_the_types_tables_are_dropped_together(run: Backfilling) -> None:
    run.run(run.start(*BOTH))
    connection = run.team.connection

    with connection.transaction(force_rollback=True):
        MirroredTypes(connection, run.team.id).stop(PAYOUT, purge=True)
        left = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relname LIKE 'payout%%'",
            (run.team.schema,),
        ).fetchall()

    assert left == []
