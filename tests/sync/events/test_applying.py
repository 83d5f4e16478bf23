"""Every event goes the way that its object says, and a batch settles each of them: applied, fetched, skipped, refused or kept."""

import sys
from collections.abc import Collection, Iterator
from dataclasses import replace

import psycopg
import pytest

from scripts.local.processes import wait_until
from sync.events.applying import apply_batch, record_event, record_events, route
from sync.events.ledger import Ledger, LedgerEvent, take_from_dead
from sync.mirror.store import MirrorStore
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES
from tests.factories import (
    DAY,
    FACTORIES,
    NOW,
    Json,
    customer,
    encoded,
    event,
    invoice,
    invoice_line,
    listed,
    product,
    subscription,
)
from tests.sync.conftest import Team
from tests.sync.mirrored import mirror, open_window, page_of, row
from tests.sync.simulated_stripe import Request, SimulatedStripe, error, mirrored_of, simulated_stripe, source_of

OLD_VERSION = "2024-06-20"


@pytest.fixture
def stripe_account() -> SimulatedStripe:
    return simulated_stripe(counts={"customer": 2, "product": 1, "price": 1})


@pytest.fixture
def worker(team: Team, stripe_account: SimulatedStripe) -> Iterator["Worker"]:
    with team.connect() as connection:
        yield Worker(team, stripe_account, connection)


class Worker:
    """Records events and applies them."""

    def __init__(self, team: Team, stripe_account: SimulatedStripe, connection: psycopg.Connection) -> None:
        self.stripe = stripe_account
        self.team = team
        self.ledger = Ledger(connection, team.id)
        self.attempts = 2

    def record(self, *events: Json) -> None:
        for each in events:
            record_event(self.ledger, encoded(each), delivered=True)

    def apply(self) -> dict[str, int]:
        source = source_of(self.stripe, attempts=self.attempts)
        return apply_batch(self.ledger.connection, self.team.id, source, mirrored_of(self.stripe))

    def take(self, *events: Json) -> dict[str, int]:
        self.record(*events)
        return self.apply()

    def ends(self) -> dict[str, tuple[str, str | None]]:
        """State and reason by id."""
        rows = self.ledger.connection.execute(
            "SELECT id, state, error FROM billstack.events WHERE team_id = %s", (self.team.id,)
        )
        return {event_id: (state, reason) for event_id, state, reason in rows}

    def let_time_pass(self) -> None:
        self.ledger.connection.execute(
            "UPDATE billstack.events SET next_attempt_at = now() - interval '1 second' WHERE team_id = %s",
            (self.team.id,),
        )

    def claims_ended(self) -> bool:
        row = self.ledger.connection.execute(
            "SELECT bool_and(billstack.session_ended(claimed_by)) FROM billstack.events WHERE team_id = %s",
            (self.team.id,),
        ).fetchone()
        return bool(row and row[0])

    def requests(self) -> list[str]:
        return [request.path for request in self.stripe.requests]


def way(about: Json, *, mirrored: Collection[str] = DEFAULT_TYPES, **options) -> str:
    told = event(about, **options)
    found = route(
        LedgerEvent(told["id"], told["type"], told["created"], encoded(told).decode(), delivered=True, attempts=1),
        replace(mirrored_of(simulated_stripe()), types=mirrored),
    )
    return found.action


# Routes -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECT_TYPES)
def test_an_event_of_our_version_with_a_whole_object_is_applied_as_it_is(name: str) -> None:
    expanded = {field: {} for field in OBJECT_TYPES[name].expanded}
    assert way(FACTORIES[name](**expanded), mirrored=OBJECT_TYPES) == "apply"


@pytest.mark.parametrize("name", [name for name, each in OBJECT_TYPES.items() if each.expanded])
def test_an_event_without_what_stripe_shows_only_on_request_asks_for_it(name: str) -> None:
    assert way(FACTORIES[name](), mirrored=OBJECT_TYPES) == "fetch"


@pytest.mark.parametrize("name", [name for name, each in OBJECT_TYPES.items() if each.parent])
def test_an_event_of_an_object_that_no_list_contains_asks_for_it(name: str) -> None:
    assert way(FACTORIES[name](customer=None), mirrored=OBJECT_TYPES) == "fetch"


@pytest.mark.parametrize("name", [name for name, each in OBJECT_TYPES.items() if each.deleted_by])
def test_a_deleted_object_is_deleted(name: str) -> None:
    deletion = OBJECT_TYPES[name].deleted_by
    assert way(FACTORIES[name](), type=deletion, mirrored=OBJECT_TYPES) == "delete"
    assert way(FACTORIES[name](), type=deletion, api_version=OLD_VERSION, mirrored=OBJECT_TYPES) == "delete"


@pytest.mark.parametrize("name", [name for name, each in OBJECT_TYPES.items() if not each.is_default])
def test_events_of_a_type_that_the_team_does_not_mirror_are_skipped(name: str) -> None:
    assert way(FACTORIES[name]()) == "skip"


def test_a_subscription_that_ends_is_canceled_and_stays() -> None:
    assert way(subscription(status="canceled"), type="customer.subscription.deleted") == "apply"


@pytest.mark.parametrize(
    ("about", "type"),
    [
        ({"object": "source", "id": "src_1"}, "customer.source.deleted"),
        ({"object": "card", "id": "card_1"}, "customer.source.updated"),
        ({"object": "discount", "id": "di_1"}, "customer.discount.deleted"),
        ({"object": "tax_id", "id": "txi_1"}, "customer.tax_id.deleted"),
        ({"object": "invoiceitem", "id": "ii_1"}, "invoiceitem.deleted"),
        ({"object": "dispute", "id": "dp_1"}, "charge.dispute.created"),
        ({"object": "refund", "id": "re_1"}, "charge.refund.updated"),
        ({"object": "balance"}, "balance.available"),
    ],
)
def test_the_object_says_what_an_event_is_about_not_its_name(about: Json, type: str) -> None:
    assert way(about, type=type) == "skip"


@pytest.mark.parametrize(
    "type",
    ["charge.refunded", "charge.captured", "invoice.paid", "invoice.payment_failed", "customer.subscription.paused"],
)
def test_every_event_about_a_mirrored_object_is_applied(type: str) -> None:
    about = {"charge": FACTORIES["charge"], "invoice": invoice, "customer": subscription}[type.partition(".")[0]]()

    assert way(about, type=type) == "apply"


def test_a_preview_without_an_id_is_skipped() -> None:
    preview = invoice()
    del preview["id"]

    assert way(preview, type="invoice.upcoming") == "skip"


def test_another_api_versions_object_is_fetched() -> None:
    assert way(customer(), api_version=OLD_VERSION) == "fetch"
    assert way(customer(), api_version=None) == "fetch"


def test_an_object_with_a_cut_list_is_fetched() -> None:
    assert way(invoice(lines=listed(invoice_line(), has_more=True))) == "fetch"
    assert way(subscription(items=listed(has_more=True))) == "fetch"


def test_a_shape_that_cannot_be_read_is_fetched() -> None:
    assert way(invoice(lines="none")) == "fetch"
    assert way(customer(created="yesterday")) == "fetch"


@pytest.mark.parametrize("type", ["customer", "v1.customer"])
def test_a_thin_event_is_fetched(type: str) -> None:
    thin = {"related_object": {"id": "cus_1", "type": type}, "object": "v2.core.event"}
    told = {key: value for key, value in event(customer(), **thin).items() if key != "data"}
    found = route(
        LedgerEvent("evt_1", "v1.customer.updated", NOW, encoded(told).decode(), delivered=True, attempts=1),
        mirrored_of(simulated_stripe()),
    )

    assert (found.action, found.object_id) == ("fetch", "cus_1")


@pytest.mark.parametrize("fields", [{"livemode": True}, {"account": "acct_other"}])
def test_an_event_of_another_mode_or_account_is_refused(fields: Json) -> None:
    assert way(customer(), **fields) == "refuse"


def test_an_event_that_names_our_own_account_is_ours() -> None:
    assert way(customer(), account=mirrored_of(simulated_stripe()).account_id) == "apply"


# Batches ----------------------------------------------------------------------------------------------------------------


def test_a_batch_takes_events_oldest_first(worker: Worker, store: MirrorStore) -> None:
    worker.record(event(customer(name="new"), created=NOW + 1), event(customer(name="old"), created=NOW))

    assert worker.apply() == {"applied": 2}

    assert row(store, "cus_1").raw["name"] == "new"  # type: ignore[union-attr]
    assert worker.requests() == []
    assert worker.apply() == {}


def test_an_event_delivered_twice_is_applied_once(worker: Worker) -> None:
    told = event(customer())
    worker.record(told, told)

    assert worker.apply() == {"applied": 1}
    worker.record(told)
    assert worker.apply() == {}


def test_what_is_not_for_us_is_kept_with_its_reason(worker: Worker, store: MirrorStore) -> None:
    skipped = event({"object": "source", "id": "src_1"}, "customer.source.deleted")
    refused = event(customer(), livemode=True)

    assert worker.take(skipped, refused) == {"skipped": 1, "refused": 1}

    ends = worker.ends()
    assert ends[skipped["id"]] == ("skipped", "objects of type source are not mirrored")
    assert ends[refused["id"]][0] == "refused"
    assert row(store, "cus_1") is None
    worker.let_time_pass()
    assert worker.apply() == {}


def test_an_event_that_cannot_be_read_is_skipped(worker: Worker) -> None:
    worker.ledger.record("evt_x", "customer.updated", NOW, '{"id":"evt_x","data":{"object":7}}', delivered=True)

    assert worker.apply() == {"skipped": 1}
    assert worker.ends()["evt_x"][0] == "skipped"


def test_events_in_doubt_about_one_object_are_one_fetch(worker: Worker, store: MirrorStore) -> None:
    about = worker.stripe.account.objects("customer")[0]
    events = [event({**about, "name": name}, created=NOW) for name in ("a", "b", "c", "d")]

    assert worker.take(*events) == {"applied": 1, "fetched": 3}

    assert worker.requests() == [f"/v1/customers/{about['id']}"]
    assert row(store, about["id"]).raw == about  # type: ignore[union-attr]


def test_a_deletion_behind_an_event_in_doubt_leaves_a_tombstone_against_later_updates(
    worker: Worker, store: MirrorStore
) -> None:
    """The fetch for the event in doubt finds nothing, and there is no row that it could make a tombstone of."""
    about = worker.stripe.account.objects("customer")[0]
    worker.stripe.account.delete("customer", about["id"])
    worker.stripe.clock.advance(10)
    doubtful = event(about, created=NOW, api_version=OLD_VERSION)

    assert worker.take(doubtful, event(about, "customer.deleted", created=NOW + 1)) == {"applied": 1, "fetched": 1}
    assert worker.take(event({**about, "name": "late"}, created=NOW)) == {"older": 1}

    assert row(store, about["id"]).deleted_at  # type: ignore[union-attr]


def test_an_event_settled_by_a_fetch_makes_earlier_ones_older(worker: Worker, store: MirrorStore) -> None:
    """A, then B, then A again; the last event is fetched and finds the row equal; then the one of B comes."""
    about = worker.stripe.account.objects("customer")[0]
    mirror(store, open_window(store), page_of([about], as_of=NOW - DAY))
    worker.stripe.clock.advance(20)
    assert worker.take(event(about, created=NOW + 10, api_version=OLD_VERSION)) == {"fetched": 1}

    assert worker.take(event({**about, "name": "B"}, created=NOW + 5)) == {"older": 1}

    assert row(store, about["id"]).raw == about  # type: ignore[union-attr]


def test_an_event_whose_object_cannot_be_fetched_is_kept_and_tried_again_with_backoff(
    worker: Worker, store: MirrorStore
) -> None:
    about = worker.stripe.account.objects("customer")[0]
    told = event(about, api_version=OLD_VERSION)

    def fail(request: Request) -> None:
        request.instead = error(503, message="Stripe is down.")

    worker.stripe.at_begin = fail
    waits = []
    worker.record(told)
    for _ in range(3):
        assert worker.apply() == {"failed": 1}
        assert worker.apply() == {}, "not before its time"
        wait = worker.ledger.connection.execute(
            "SELECT extract(epoch FROM next_attempt_at - clock_timestamp()) FROM billstack.events WHERE id = %s",
            (told["id"],),
        ).fetchone()
        assert wait
        waits.append(round(float(wait[0])))
        worker.let_time_pass()

    assert worker.ends()[told["id"]] == ("failed", "Stripe is down.")
    assert waits == [2, 4, 8]
    worker.stripe.at_begin = lambda request: None
    assert worker.apply() == {"fetched": 1}
    assert worker.ends()[told["id"]] == ("applied", None)
    assert row(store, about["id"])


def test_one_event_that_fails_does_not_hold_up_the_others(worker: Worker, store: MirrorStore) -> None:
    def fail(request: Request) -> None:
        request.instead = error(403, message="The key may not read customers.")

    worker.stripe.at_begin = fail

    assert worker.take(event(customer(), api_version=OLD_VERSION), event(product())) == {"applied": 1, "failed": 1}
    assert row(store, "prod_1", OBJECT_TYPES["product"])


@pytest.mark.parametrize("bad", [{"name": "a\0b"}, {"email": "".join(map(chr, range(0x4E00, 0x4E00 + 6000)))}])
def test_an_event_that_postgres_refuses_fails_alone_and_its_reason_tells_nothing_of_the_object(
    worker: Worker, store: MirrorStore, bad: Json
) -> None:
    about = worker.stripe.account.objects("customer")[0]
    worker.stripe.account.update("customer", about["id"], **bad)
    told = event({**about, **bad})

    assert worker.take(told, event(product()), event(customer("cus_2"))) == {"applied": 2, "failed": 1}

    state, reason = worker.ends()[told["id"]]
    assert state == "failed"
    assert "JSON data" not in str(reason)
    assert row(store, "cus_2")


@pytest.mark.parametrize("lives", [True, False])
def test_a_deletion_in_the_second_of_another_change_is_settled_by_stripe(
    worker: Worker, store: MirrorStore, lives: bool
) -> None:
    """A product of that id was deleted and made again within one second, and the deletion comes last; or was only changed."""
    about = worker.stripe.account.create("product", name="again")
    worker.take(event(about, created=NOW))
    if not lives:
        worker.stripe.account.delete("product", about["id"])

    assert worker.take(event({**about, "name": "before"}, type="product.deleted", created=NOW)) == {"fetched": 1}

    found = row(store, about["id"], OBJECT_TYPES["product"])
    assert found
    assert (found.deleted_at is None) == lives


def test_an_event_that_is_nested_too_deep_to_read_does_not_stop_the_others(worker: Worker) -> None:
    deep = encoded(event(customer("cus_deep"))).replace(b'"metadata":{}', b'"metadata":' + b"[" * 700 + b"]" * 700)
    assert b"[[" in deep
    record_event(worker.ledger, deep, delivered=True)
    worker.record(event(customer("cus_good")))

    def deeper(levels: int) -> dict[str, int]:
        return deeper(levels - 1) if levels else worker.apply()

    assert deeper(sys.getrecursionlimit() - 400) == {"applied": 1, "skipped": 1}


def test_a_key_that_may_not_read_a_type_is_not_tried_with_each_object_of_it(worker: Worker) -> None:
    def forbid(request: Request) -> None:
        if request.path.startswith("/v1/customers/"):
            request.instead = error(403, message="rak_customer_read")

    worker.stripe.at_begin = forbid
    told = [event(customer(f"cus_{number}"), api_version=OLD_VERSION) for number in range(20)]
    found = worker.stripe.account.objects("product")[0]

    assert worker.take(*told, event(found, api_version=OLD_VERSION)) == {"failed": 20, "fetched": 1}

    assert len(worker.requests()) == 2
    assert {worker.ends()[each["id"]] for each in told} == {("failed", "rak_customer_read")}


def test_events_of_a_worker_that_died_come_back(worker: Worker, store: MirrorStore) -> None:
    worker.record(event(customer()))
    worker.ledger.claim(10)  # and dies

    assert worker.apply() == {}
    worker.let_time_pass()
    assert worker.apply() == {"applied": 1}


def test_events_of_a_dead_worker_are_due_as_soon_as_its_connection_is_closed(worker: Worker, team: Team) -> None:
    worker.record(*(event(customer(f"cus_{number}")) for number in range(4)))
    with team.connect() as paused, team.connect() as dying:
        assert len(Ledger(paused, team.id).claim(2)) == 2
        assert len(Ledger(dying, team.id).claim(2)) == 2
        assert take_from_dead(worker.ledger.connection) == 0
        dying.close()

        assert wait_until(lambda: take_from_dead(worker.ledger.connection), timeout_s=5)

        assert worker.apply() == {"applied": 2}
        assert worker.apply() == {}, "the paused worker's are still its own"


def test_nothing_is_taken_from_who_has_settled_it(worker: Worker, team: Team) -> None:
    told = [event(customer(f"cus_{number}")) for number in range(4)]
    with team.connect() as dying:
        ledger = Ledger(dying, team.id)
        worker.record(*told)
        applied, failed, later, _ = [each.id for each in ledger.claim(4)]
        ledger.settle([applied], "applied")
        ledger.postpone([failed], "No.")
        ledger.put_back([later], wait_s=60)
    wait_until(lambda: worker.claims_ended(), timeout_s=5)

    assert take_from_dead(worker.ledger.connection) == 1
    assert worker.ledger.replay() == 4
    assert take_from_dead(worker.ledger.connection) == 0


def test_two_workers_share_the_events_and_none_is_applied_twice(worker: Worker, team: Team) -> None:
    worker.record(*(event(customer(f"cus_{number}")) for number in range(10)))
    with team.connect() as other, other.transaction():
        claimed = Ledger(other, team.id).claim(4)

        assert worker.apply() == {"applied": 6}

    assert len(claimed) == 4


def test_other_teams_events_are_not_taken(worker: Worker, other_team: Team) -> None:
    record_event(Ledger(other_team.connection, other_team.id), encoded(event(customer())), delivered=True)

    assert worker.apply() == {}


def test_an_event_waits_for_a_page_and_is_compared_with_what_it_left(
    worker: Worker, store: MirrorStore, team: Team
) -> None:
    """The page was read after the event's change was undone; the event comes late, when the page is written."""
    about = worker.stripe.account.objects("customer")[0]
    mirror(store, open_window(store), page_of([about], as_of=NOW - DAY))
    mirror(store, open_window(store), page_of([about], as_of=NOW + 60))
    worker.stripe.clock.advance(120)

    assert worker.take(event({**about, "name": "undone"}, created=NOW)) == {"fetched": 1}

    assert row(store, about["id"]).raw == about  # type: ignore[union-attr]


# Into the ledger --------------------------------------------------------------------------------------------------------


def test_events_read_from_stripe_are_recorded_once_and_together(worker: Worker) -> None:
    events = [encoded(event(customer())) for _ in range(3)]

    assert record_events(worker.ledger, events) == 3
    assert record_events(worker.ledger, events) == 0
    assert len(worker.ends()) == 3


@pytest.mark.parametrize(
    "odd",
    [b'{"id":"evt_broken"', encoded({**event(customer()), "created": -1}), encoded(event(customer(), id="e" * 256))],
)
def test_an_odd_event_of_stripes_list_keeps_no_other_out(worker: Worker, odd: bytes) -> None:
    assert record_events(worker.ledger, [encoded(event(customer())), odd, encoded(event(customer()))]) == 2


def test_a_thin_events_time_is_read_too(worker: Worker) -> None:
    told = event(customer()) | {"created": "2026-01-01T00:00:07.5Z"}

    worker.record(told)

    (found,) = worker.ledger.claim(1)
    assert found.created == NOW + 7


def test_a_nul_in_an_event_can_be_recorded(worker: Worker) -> None:
    worker.record(event(customer(name="a\0b")))

    assert worker.ledger.claim(1)


def test_pending_are_those_up_to_a_second(worker: Worker) -> None:
    worker.record(event(customer(), created=NOW), event(customer(), created=NOW + 5))

    assert worker.ledger.pending(NOW - 1) == 0
    assert worker.ledger.pending(NOW) == 1
    assert worker.ledger.pending(NOW + 5) == 2
