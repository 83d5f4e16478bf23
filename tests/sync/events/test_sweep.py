"""What Stripe did not deliver is read from /v1/events: all of it, once, within its 30 days."""

import json

import pytest

from sync.errors import StripeRejected
from sync.event_types import listened_types
from sync.events.ledger import Ledger
from sync.events.sweep import OVERLAP_S, SLICE_S, Swept, sweep
from sync.object_types import DEFAULT_TYPES
from sync.teams.connections import Connections
from sync.teams.secrets import SecretBox
from tests.factories import DAY, NOW
from tests.sync.conftest import Team
from tests.sync.simulated_stripe import SimulatedStripe, error, simulated_stripe, source_of

LISTENED_TYPES = listened_types(DEFAULT_TYPES)


@pytest.fixture
def stripe() -> SimulatedStripe:
    return simulated_stripe(counts={"customer": 3})


@pytest.fixture
def connections(team: Team) -> Connections:
    team.connection.execute(
        "UPDATE billstack.connections SET swept_until = NULL, sweep_error = NULL, unread_until = NULL"
    )
    return Connections(team.connection, SecretBox((b"k" * 32,)))


@pytest.fixture
def run(stripe, connections, ledger):
    """Sweeps once, as far as it comes."""
    return lambda is_over=lambda: False: sweep(ledger, connections, source_of(stripe), is_over=is_over)


@pytest.fixture
def backfilled(team: Team):
    """The first backfill began at NOW and is done."""
    team.connection.execute(
        "INSERT INTO billstack.backfills (id, team_id, objects, state, started, finished_at)"
        " VALUES ('bf_swept', %s, '{customer}', 'ready', %s, now())",
        (team.id, NOW),
    )


def ids(team: Team) -> set[str]:
    rows = team.connection.execute("SELECT id FROM billstack.events WHERE team_id = %s AND NOT delivered", (team.id,))
    return {event_id for (event_id,) in rows}


def happened(stripe: SimulatedStripe) -> set[str]:
    return {event["id"] for event in stripe.account.events() if event["type"] in LISTENED_TYPES}


def test_nothing_is_swept_before_the_first_backfill(run, stripe):
    assert run() == Swept(0, complete=True)
    assert stripe.requests == []


@pytest.mark.usefixtures("backfilled")
def test_all_events_since_the_first_backfill_began_are_recorded(run, stripe, team):
    for number in range(250):
        stripe.account.create("customer", name=f"Number {number}")
        stripe.clock.advance(3)

    assert run() == Swept(250, complete=True)

    assert ids(team) == happened(stripe)


@pytest.mark.usefixtures("backfilled")
def test_a_sweep_goes_on_where_the_last_one_ended(run, stripe, team):
    stripe.account.create("customer")
    run()
    stripe.clock.advance(DAY)
    stripe.account.create("customer")
    stripe.requests.clear()

    assert run() == Swept(1, complete=True)

    (gte, *_) = [request.params["created[gte]"] for request in stripe.requests if request.path == "/v1/events"]
    assert int(gte) == NOW - OVERLAP_S
    assert ids(team) == happened(stripe)


@pytest.mark.usefixtures("backfilled")
def test_an_event_that_stripe_lists_late_is_found_by_the_next_sweep(run, stripe, team):
    stripe.account.create("customer")
    (record,) = stripe.account.state.events.timeline
    stripe.account.state.events.delete(record.id, NOW)
    run()
    stripe.clock.advance(OVERLAP_S - 60)
    stripe.account.state.events.put(json.loads(record.body))

    assert run().new == 1


@pytest.mark.usefixtures("backfilled")
def test_what_was_delivered_is_not_new(run, stripe, ledger):
    stripe.account.create("customer")
    (event,) = stripe.account.events()
    ledger.record(event["id"], event["type"], event["created"], "{}", delivered=True)

    assert run() == Swept(0, complete=True)


@pytest.mark.usefixtures("backfilled")
def test_only_types_that_matter_are_recorded_and_few_events_are_one_list(run, stripe, team):
    stripe.account.create("customer")
    stripe.account.state.emit("payout.paid", b'{"id":"po_1","object":"payout"}')
    stripe.requests.clear()

    run()

    assert len(ids(team)) == 1
    assert ids(team) == happened(stripe)
    assert [request.path for request in stripe.requests].count("/v1/events") == 1


@pytest.mark.usefixtures("backfilled")
def test_among_many_events_only_types_that_matter_are_asked_for_at_most_20_at_a_time(run, stripe, team):
    stripe.account.create("customer")
    for number in range(1000):
        stripe.account.state.emit("payout.paid", b'{"id":"po_%d","object":"payout"}' % number)

    run()

    assert ids(team) == happened(stripe)
    asked = [
        {value for name, value in request.params.items() if name.startswith("types")}
        for request in stripe.requests
        if request.path == "/v1/events"
    ]
    assert set.union(*asked) == set(LISTENED_TYPES)
    assert max(map(len, asked)) <= 20
    assert len(asked) <= 2 * -(-len(LISTENED_TYPES) // 20)


@pytest.mark.usefixtures("backfilled")
def test_a_sweep_after_a_long_outage_reaches_30_days_back(run, stripe, team, connections):
    stripe.account.create("customer")
    stripe.clock.advance(60 * DAY)
    stripe.account.create("customer")
    stripe.requests.clear()

    assert run().complete

    oldest = min(int(request.params["created[gte]"]) for request in stripe.requests if request.path == "/v1/events")
    assert NOW + 30 * DAY < oldest <= NOW + 30 * DAY + 3600
    assert len(ids(team)) == 1


@pytest.mark.parametrize(("days", "unread"), [(29, None), (60, NOW + 30 * DAY + 3600)])
@pytest.mark.usefixtures("backfilled")
def test_what_stripe_forgot_unread_is_remembered(run, stripe, team, connections, days, unread):
    stripe.clock.advance(days * DAY)

    run()

    found = team.connection.execute("SELECT unread_until FROM billstack.connections WHERE team_id = %s", (team.id,))
    assert found.fetchone() == (unread,)


@pytest.mark.usefixtures("backfilled")
def test_a_sweep_whose_turn_is_over_stops_after_a_slice_and_goes_on_later(run, stripe, team, connections):
    for _ in range(4):
        stripe.account.create("customer")
        stripe.clock.advance(SLICE_S)

    first = run(lambda: True)

    assert not first.complete
    assert connections.swept_until(team.id) == NOW - OVERLAP_S + SLICE_S
    while not run(lambda: True).complete:
        pass
    assert ids(team) == happened(stripe)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/account"])
@pytest.mark.usefixtures("backfilled")
def test_a_key_that_may_not_read_events_is_remembered_until_it_may(run, stripe, team, connections, path):
    def refuse(request):
        if request.path == path:
            request.instead = error(403, message="The key lacks rak_event_read.")

    stripe.at_begin = refuse
    with pytest.raises(StripeRejected):
        run()
    status = connections.status(team.id)
    assert status
    assert "rak_event_read" in status["sweep_error"]
    assert connections.swept_until(team.id) == NOW

    stripe.at_begin = lambda request: None
    run()
    status = connections.status(team.id)
    assert status
    assert status["sweep_error"] is None


def test_ledger_is_one_teams(ledger: Ledger, other_team: Team):
    ledger.record("evt_1", "x", NOW, "{}", delivered=True)

    assert Ledger(other_team.connection, other_team.id).record("evt_1", "x", NOW, "{}", delivered=True)
