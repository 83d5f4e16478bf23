"""Lists are in Stripe's order, also within a second, as far as Stripe has listed what is in them."""

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from api.gateway.selection import Paging, Selection
from api.gateway.store import MirrorReader
from scripts.sandbox.kinds import KINDS
from sync.backfill.part_records import FINISH
from sync.errors import LeaseLost
from sync.events.reread import reread
from sync.object_types import OBJECT_TYPES, ObjectType
from sync.reconcile.records import ReconcileStore
from sync.reconcile.run import ReconcileRun, ReconcileTools
from tests.factories import encoded
from tests.sync.backfilling import Backfilling, Process, dice, turns_of
from tests.sync.conftest import empty_team, make_team
from tests.sync.simulated_stripe import simulated_stripe, source_of

COUNTS = dict.fromkeys(OBJECT_TYPES, 14) | {"customer": 60, "charge": 80, "invoice": 30, "payment_method": 120}
CHARGE, CUSTOMER, LINK, CARD = (OBJECT_TYPES[name] for name in ("charge", "customer", "payment_link", "payment_method"))
# Inline prices are in no list.
LISTED = [each for each in OBJECT_TYPES.values() if each.name != "price" and not each.parent]


@pytest.fixture(scope="module")
def installed(new_database):
    url = new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        yield [make_team(url, connection, account_id) for account_id in ("acct_1", "acct_2")]


@pytest.fixture
def team(installed):
    yield installed[0]
    empty_team(installed[0])


class Mirrored:
    """A mirror of an account in which half of each type, or all, share a second."""

    def __init__(self, team: Any, *, page_size: int = 100, seed: int = 1, counts: dict[str, int] | None = None) -> None:
        self.stripe = simulated_stripe(seed=seed, counts=counts or COUNTS, profile="one-second")
        self.run = Backfilling(team, self.stripe, page_size=page_size)
        self.reader = MirrorReader(team.connection, team.id)
        self.team = team

    def read(self, *types: str) -> None:
        assert self.run.run(self.run.start(*(types or self.stripe.account.state.shelves))) == "ready"

    def compare(self) -> None:
        source = source_of(self.stripe, page_size=self.run.page_size)
        self.team.connection.execute("DELETE FROM billstack.reconciles WHERE team_id = %s", (self.team.id,))
        store = ReconcileStore(self.team.connection)
        work = store.acquire(store.start(self.team.id, request_id=None)[0])
        tools = ReconcileTools(
            source, lambda: int(self.stripe.clock()), lambda ids, since: set(), lambda: False, sleep=lambda s: None
        )
        assert ReconcileRun(self.team.connection, work, tools).run() == "done"
        store.end(work, "done")

    def mirrors(self, object_type: ObjectType, paging: Paging, **params: Any) -> tuple[list[str], bool]:
        blocks = tuple(f"where_{name}" for name in params)
        _, found = self.reader.page(object_type, Selection(blocks, params), paging)
        return found.ids, found.has_more

    def stripes(self, object_type: ObjectType, paging: Paging, **params: Any) -> tuple[list[str], bool]:
        cursor = {"starting_after": paging.after, "ending_before": paging.before}
        asked = {"limit": paging.limit} | {name: value for name, value in cursor.items() if value} | params
        asked |= object_type.variants[0]
        path = KINDS[object_type.name].path
        if object_type.parent:
            path = object_type.parent.path_of(asked.pop("customer"))
        answer = self.stripe.account.list(path, asked).json()
        return [each["id"] for each in answer["data"]], answer["has_more"]

    def differing(self, object_type: ObjectType, limit: int, **params: Any) -> list[Any]:
        """Pages that are not Stripe's: each page of a list, and the page before each object."""
        every, _ = self.stripes(object_type, Paging(100), **params)
        pagings = [
            Paging(limit),
            *(Paging(limit, after=id) for id in every),
            *(Paging(limit, before=id) for id in every),
        ]
        pages = [
            (paging, self.mirrors(object_type, paging, **params), self.stripes(object_type, paging, **params))
            for paging in pagings
        ]
        return [page for page in pages if page[1] != page[2]]


@pytest.fixture(scope="module")
def everything(installed):
    mirrored = Mirrored(installed[1], page_size=7)
    mirrored.read()
    return mirrored


@pytest.mark.parametrize("object_type", LISTED, ids=lambda each: each.name)
def test_lists_of_each_type_are_in_stripes_order(everything, object_type):
    assert everything.differing(object_type, 5) == []
    assert everything.differing(object_type, 100) == []


def test_it_is_not_the_order_of_ids(everything):
    ids, _ = everything.stripes(CHARGE, Paging(100))
    second = {record.id: record.created for record in everything.stripe.account.state.shelves["charge"].timeline}

    assert ids != sorted(ids, key=lambda each: (second[each], each), reverse=True)


@pytest.mark.parametrize(
    ("object_type", "more_than"), [(CHARGE, 1), (CARD, 2)], ids=["narrowed by a filter", "listed by parent"]
)
def test_what_is_of_one_customer_is_in_stripes_order(everything, object_type, more_than):
    customers, _ = everything.stripes(CUSTOMER, Paging(100))
    of = {each: everything.stripes(object_type, Paging(100), customer=each)[0] for each in customers}
    several = [customer for customer, ids in of.items() if len(ids) > more_than]

    assert several
    for customer in several:
        assert everything.differing(object_type, 2, customer=customer) == []


def places(team):
    """With the transaction that wrote each."""
    statement = sql.SQL("SELECT type, id, place, xmin::text FROM {}.shared_seconds ORDER BY 1, 2")
    return team.connection.execute(statement.format(sql.Identifier(team.schema))).fetchall()


def test_a_second_run_writes_no_place(team):
    mirrored = Mirrored(team, page_size=7, counts={"customer": 30, "payment_link": 9})
    mirrored.read("customer", "payment_link")
    before = places(team)
    assert {each[1] for each in before} >= set(mirrored.stripes(LINK, Paging(9))[0])

    mirrored.read("customer", "payment_link")
    mirrored.compare()

    assert places(team) == before


def test_an_object_that_came_with_an_event_is_the_newest_until_a_comparison_lists_it(team):
    mirrored = Mirrored(team, counts={"customer": 4})
    mirrored.read("customer")
    old, new = (mirrored.stripe.account.create("customer") for _ in range(2))
    mirrored.run.mirror.apply_event(CUSTOMER, old["id"], encoded(old), created=old["created"], checked_until=None)
    mirrored.compare()
    assert mirrored.differing(CUSTOMER, 2) == []
    newest = mirrored.stripe.account.create("customer")
    assert newest["created"] == new["created"]

    mirrored.run.mirror.apply_event(
        CUSTOMER, newest["id"], encoded(newest), created=newest["created"], checked_until=None
    )

    assert mirrored.differing(CUSTOMER, 2) == []
    mirrored.compare()
    assert mirrored.differing(CUSTOMER, 2) == []


@settings(
    max_examples=max(10, settings().max_examples // 5), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), page_size=st.sampled_from([1, 2, 5, 9]))
def test_however_a_backfill_is_interrupted_its_lists_are_in_stripes_order(team, seed, page_size):
    empty_team(team)
    rng = dice(seed)
    mirrored = Mirrored(
        team, page_size=page_size, seed=seed % 1000, counts={"customer": 24, "charge": 20, "payment_link": 7}
    )
    account = mirrored.stripe.account
    working_on: list[str] = []

    def delete_some(request):
        if working_on != [FINISH] and rng.random() < 0.05 and (left := account.objects("customer")):
            account.delete("customer", rng.choice(left)["id"])

    def take_turn(backfill_id, part):
        working_on[:] = [part]
        dies_after = rng.randrange(60) if rng.random() < 0.5 else None
        over = turns_of(rng.randrange(6)) if rng.random() < 0.5 else lambda: False
        try:
            mirrored.run.work_on(backfill_id, part, process=Process(dies_after=dies_after), should_yield=over)
        except LeaseLost:
            mirrored.run.let_leases_run_out()

    mirrored.stripe.at_begin = delete_some
    types = ("customer", "charge", "payment_link")
    assert mirrored.run.run(mirrored.run.start(*types), take_turn) == "ready"
    mirrored.stripe.at_begin = lambda request: None

    for object_type in (CUSTOMER, CHARGE, LINK):
        assert mirrored.differing(object_type, 3) == []


def test_a_page_with_an_object_that_postgres_refuses_keeps_the_order_of_the_others(team):
    mirrored = Mirrored(team, counts={"customer": 12})
    ids, _ = mirrored.stripes(CUSTOMER, Paging(100))

    def spoil(request):
        if request.path == CUSTOMER.path:
            request.body = request.body.replace(b'"name":', b'"name":"\\u0000","as_it_was":', 1)

    mirrored.stripe.at_end = spoil
    mirrored.read("customer")

    assert mirrored.mirrors(CUSTOMER, Paging(100)) == (ids[1:], False)


@pytest.mark.parametrize("name", ["balance_transaction", "payment_link"])
def test_what_is_listed_again_regularly_gets_its_place(team, name):
    """Stripe sends no events of the first. Of the second, the whole list is read."""
    mirrored = Mirrored(team, counts={"customer": 3, name: 6})
    mirrored.read("customer", name)
    mirrored.stripe.clock.advance(60)
    for _ in range(3):
        mirrored.stripe.account.create(name)
    mirrored.stripe.clock.advance(60)

    if name == "balance_transaction":
        assert reread(team.connection, team.id, source_of(mirrored.stripe), is_over=lambda: False) == 3
    else:
        mirrored.read(name)

    assert mirrored.differing(OBJECT_TYPES[name], 2) == []


def test_a_list_of_a_team_that_an_older_program_has_connected_is_in_the_order_of_ids(team):
    """Until the scheduler upgrades it, it has no table of places."""
    mirrored = Mirrored(team, counts={"payment_link": 6})
    mirrored.read("payment_link")
    ids = sorted(mirrored.stripes(LINK, Paging(6))[0], reverse=True)
    table = sql.Identifier(team.schema, "shared_seconds")

    team.connection.execute(sql.SQL("ALTER TABLE {} RENAME TO put_aside").format(table))
    try:
        _, found = mirrored.reader.page(LINK, Selection(), Paging(2, after=ids[0]))
    finally:
        aside = sql.Identifier(team.schema, "put_aside")
        team.connection.execute(sql.SQL("ALTER TABLE {} RENAME TO shared_seconds").format(aside))

    assert (found.ids, found.has_more, found.is_in_order) == (ids[1:3], True, False)


@pytest.mark.parametrize("way", ["backfill", "comparison"])
def test_after_a_page_that_ends_with_an_object_that_cannot_be_mirrored_the_order_goes_on(team, way):
    mirrored = Mirrored(team, page_size=3, counts={"payment_link": 12})
    ids, _ = mirrored.stripes(LINK, Paging(100))

    def spoil(request):
        request.body = request.body.replace(b'"%s"' % ids[5].encode(), b'"%s","deleted":true' % ids[5].encode(), 1)

    if way == "backfill":
        mirrored.stripe.at_end = spoil
        mirrored.read("payment_link")
    else:
        mirrored.read("payment_link")
        mirrored.stripe.at_end = spoil
        team.connection.execute(sql.SQL("DELETE FROM {}.shared_seconds").format(sql.Identifier(team.schema)))
        mirrored.compare()

    found, _ = mirrored.mirrors(LINK, Paging(100))
    assert [each for each in found if each != ids[5]] == [each for each in ids if each != ids[5]]


def test_what_changes_from_one_variant_to_the_other_and_back_keeps_its_place(team):
    """Active and inactive prices are read as two lists."""
    mirrored = Mirrored(team, counts={"product": 1, "price": 2})
    account, price = mirrored.stripe.account, OBJECT_TYPES["price"]
    mirrored.stripe.clock.advance(60)
    product = account.objects("product")[0]["id"]
    ids = [
        account.create("price", product=product, currency="eur", unit_amount=each, nickname="x")["id"]
        for each in range(1, 7)
    ]
    listed, _ = mirrored.stripes(price, Paging(6))
    assert set(listed) == set(ids)
    mirrored.read("product", "price")
    for each in listed[:3]:
        account.update("price", each, active="false")
    mirrored.read("product", "price")

    for each in listed[:2]:
        mirrored.stripe.clock.advance(60)
        active = account.update("price", each, active="true")
        now = int(mirrored.stripe.clock())
        assert (
            mirrored.run.mirror.apply_event(price, each, encoded(active), created=now, checked_until=None) == "applied"
        )

    assert mirrored.mirrors(price, Paging(4), active=True) == mirrored.stripes(price, Paging(4), active="true")


def test_an_id_that_is_used_again_does_not_take_its_old_place(team):
    mirrored = Mirrored(team, counts={"coupon": 2})
    account, coupon = mirrored.stripe.account, OBJECT_TYPES["coupon"]
    for name in ("A", "B", "C"):
        account.create("coupon", id=name, percent_off=5, duration="once")
    mirrored.read("coupon")
    for name in ("A", "B", "C"):
        account.delete("coupon", name)
    mirrored.stripe.clock.advance(60)
    again = [account.create("coupon", id=name, percent_off=5, duration="once") for name in ("C", "B", "A")]
    for each in again:
        created = int(mirrored.stripe.clock())
        mirrored.run.mirror.apply_event(coupon, each["id"], encoded(each), created=created, checked_until=None)

    _, found = mirrored.reader.page(coupon, Selection(), Paging(2))

    assert not found.is_in_order
    mirrored.compare()
    assert mirrored.differing(coupon, 2) == []


@pytest.mark.parametrize("name", ["quote", "payment_link"])
def test_one_new_object_moves_no_other(team, name):
    """The lists of these take no `created`, so each is one second."""
    mirrored = Mirrored(team, page_size=5, counts={"customer": 1, name: 23})
    mirrored.read("customer", name)
    before = places(team)
    mirrored.stripe.clock.advance(60)
    created = mirrored.stripe.account.create(name)["id"]

    mirrored.read(name)

    assert {each[1] for each in {*places(team)} - {*before}} == {created}
    assert mirrored.differing(OBJECT_TYPES[name], 2) == []
