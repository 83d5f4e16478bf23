"""One bad object does not stop a type: the page goes in without it, and the table of rejects says why."""

import psycopg
import pytest
from psycopg import sql

from sync.database.schema import schema_name
from sync.errors import LeaseLost
from sync.mirror.page_writer import SplitPage, write_page
from sync.mirror.store import MirrorStore, WindowKey, WrittenPage
from sync.object_types import OBJECT_TYPES
from tests.factories import CREATED, NOW, Json, customer, encoded, invoice, invoice_line, listed
from tests.sync.conftest import Team
from tests.sync.mirrored import CUSTOMER, following, head, open_window, page_of, rejects, row, seen, set_window, windows

# Two of the email's index: Postgres takes at most about 2,700 bytes, and compresses what repeats.
TOO_LONG = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(4000)) + "@example.com"


@pytest.fixture
def key(store: MirrorStore) -> WindowKey:
    return open_window(store)


def write(store: MirrorStore, key: WindowKey, objects: list[Json], **fields: object) -> WrittenPage:
    page = following(store, key, page_of(objects, as_of=NOW, **fields))
    apart = SplitPage([head(about) for about in objects], lambda: [encoded(about) for about in objects])
    return write_page(store, OBJECT_TYPES[key.type], key, page, apart)


@pytest.mark.parametrize(
    "bad",
    [{"name": "a\0b"}, {"email": TOO_LONG}, {"metadata": {"\0": "a NUL in a key"}}],
    ids=["NUL", "too long for its index", "NUL in a key"],
)
def test_what_postgres_refuses_is_rejected_and_the_rest_goes_on(store: MirrorStore, key: WindowKey, bad: Json) -> None:
    objects = [customer("cus_3"), customer("cus_2", **bad), customer("cus_1")]

    written = write(store, key, objects)

    assert written.counted == 2
    assert seen(store) == {"cus_1", "cus_3"}
    assert list(rejects(store)) == ["cus_2"]
    window = windows(store)[0]
    assert (window["pages"], window["met"], window["counted"], window["cursor"]) == (1, 2, 2, "cus_1")


def test_a_reason_says_what_is_wrong_and_nothing_of_the_object(store: MirrorStore, key: WindowKey) -> None:
    write(store, key, [customer("cus_1", name="Ada\0 Lovelace", email="private@example.com")])

    reason = rejects(store)["cus_1"]
    assert "Unicode" in reason
    assert "private" not in reason
    assert "Lovelace" not in reason


def test_numbers_beyond_64_bits_are_no_reason_to_reject(store: MirrorStore, key: WindowKey) -> None:
    body = encoded(customer("cus_1")).replace(b'"metadata"', b'"balance":9223372036854775808,"metadata"')
    page = page_of([customer("cus_1")], as_of=NOW)
    page = type(page)(**{name: getattr(page, name) for name in page.__slots__} | {"body": b'{"data":[%s]}' % body})

    written = write_page(store, CUSTOMER, key, page, SplitPage([head(customer())], lambda: [body]))

    assert written.counted == 1
    assert rejects(store) == {}
    assert row(store, "cus_1").raw["balance"] == 2**63  # type: ignore[union-attr]


def test_one_id_twice_in_a_page_counts_once_and_is_in_doubt(store: MirrorStore, key: WindowKey) -> None:
    objects = [customer("cus_2"), customer("cus_1", name="one"), customer("cus_1", name="another")]

    written = write(store, key, objects)

    assert written.counted == 2
    assert written.overlapping == ["cus_1"]
    assert rejects(store) == {}


def test_a_writer_goes_on_after_a_refused_page(store: MirrorStore, key: WindowKey) -> None:
    """psycopg prepares what it has run five times, and forgets all that is prepared when one more fails."""
    write(store, key, [customer("cus_0")])
    write(store, key, [*(customer(f"cus_{number}") for number in range(1, 8)), customer("cus_8", name="\0")])

    written = write(store, key, [customer("cus_9")])

    assert written.counted == 1
    assert list(rejects(store)) == ["cus_8"]
    assert seen(store) == {f"cus_{number}" for number in (*range(8), 9)}


def test_the_window_ends_with_a_refused_last_page(store: MirrorStore, key: WindowKey) -> None:
    write(store, key, [customer("cus_1", name="\0")], has_more=False)

    assert windows(store)[0]["done"]


def test_a_refused_page_keeps_to_its_floor(store: MirrorStore, key: WindowKey) -> None:
    set_window(store, 1, floor=CREATED)
    objects = [customer("cus_3", name="\0"), customer("cus_2"), customer("cus_1", created=CREATED - 1)]

    written = write(store, key, objects)

    assert written.counted == 1
    assert seen(store) == {"cus_2"}
    assert windows(store)[0]["done"]


def test_a_refused_page_keeps_the_whole_lists_and_the_named_prices(store: MirrorStore) -> None:
    invoice_type = OBJECT_TYPES["invoice"]
    key = open_window(store, invoice_type)
    cut = invoice("in_1", lines=listed(invoice_line(), has_more=True))
    lines = [invoice_line(), invoice_line("il_2")]

    write(
        store,
        key,
        [invoice("in_2", description="\0"), cut, invoice("in_3")],
        completed={"in_1": encoded(lines), "in_3": b""},
        named_prices=["price_1"],
    )

    assert row(store, "in_1", invoice_type).raw == {**cut, "lines": listed(*lines)}  # type: ignore[union-attr]
    assert row(store, "in_3", invoice_type) is None
    assert store.missing_prices() == ["price_1"]


def test_a_completed_object_that_is_refused_is_rejected_alone(store: MirrorStore) -> None:
    invoice_type = OBJECT_TYPES["invoice"]
    key = open_window(store, invoice_type)
    bad = invoice("in_1", description="\0")

    written = write(store, key, [invoice("in_2"), invoice("in_1")], completed={"in_1": encoded(bad)})

    assert written.counted == 1
    assert list(rejects(store)) == ["in_1"]


@pytest.mark.parametrize("name", ["fine", "bad\0"])
def test_nothing_of_a_page_is_written_under_a_lost_fence(store: MirrorStore, key: WindowKey, name: str) -> None:
    set_window(store, 1, fence=2)

    with pytest.raises(LeaseLost):
        write(store, key, [customer("cus_1", name=name)])

    assert row(store, "cus_1") is None
    assert rejects(store) == {}
    assert windows(store)[0]["pages"] == 0


def test_a_page_that_fails_for_another_reason_is_not_taken_apart(
    store: MirrorStore, key: WindowKey, team: Team
) -> None:
    page = following(store, key, page_of([customer("cus_1")], as_of=NOW))
    apart = SplitPage([head(customer("cus_1"))], lambda: pytest.fail("it was taken apart"))
    table = sql.Identifier(schema_name(team.id), CUSTOMER.table)
    with team.connect() as connection, store.connection.transaction():
        store.connection.execute(sql.SQL("LOCK TABLE {}").format(table))
        connection.execute("SET statement_timeout = 500")
        with pytest.raises(psycopg.errors.QueryCanceled):
            write_page(MirrorStore(connection, team.id), CUSTOMER, key, page, apart)

    assert rejects(store) == {}


def test_a_writer_plans_its_statements_once(store: MirrorStore, key: WindowKey, team: Team) -> None:
    with team.connect() as connection:
        writer = MirrorStore(connection, team.id)
        for number in range(3):
            write(writer, key, [customer(f"cus_{number}")])

        plans = connection.execute("SELECT generic_plans, custom_plans FROM pg_prepared_statements")

        assert plans.fetchall() == [(3, 0), (3, 0), (3, 0)]
