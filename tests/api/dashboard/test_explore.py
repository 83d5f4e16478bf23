"""The explore pages: order, filters, counts, pages in both directions, CSV, links between objects, a customer's timeline."""

import csv
import html
import io
import itertools
import json
import re
from datetime import UTC, datetime

import pytest

from api.dashboard.asked import Asked
from api.dashboard.export import cell
from api.dashboard.mirror_rows import MirrorRows
from api.numbers.currencies import decimals
from sync.object_types import BY_STRIPE_OBJECT
from tests.api.gateway.mirror_filling import connect_team, put_objects, put_tombstone
from tests.factories import charge, customer, invoice, price, product, refund, subscription

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def team(owner, database):
    """An owner whose team has an empty mirror of all types."""
    connect_team(database, owner.team_id)
    yield owner
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def put(team, database):
    def write(*objects):
        for table, group in itertools.groupby(objects, lambda each: BY_STRIPE_OBJECT[each["object"]].table):
            put_objects(database, team.team_id, table, [json.dumps(each) for each in group])

    return write


@pytest.fixture
def show(team):
    """A page below `explore`, as text."""

    def read(place):
        address = place if place.startswith("/") else f"/teams/{team.team_id}/explore/{place}"
        answer = team.client.get(address, headers=BROWSER)
        assert answer.status_code == 200, answer.text
        return answer.text

    return read


@pytest.fixture
def download(team):
    def read(place):
        answer = team.client.get(f"/teams/{team.team_id}/export/{place}", headers=BROWSER)
        assert answer.mimetype == "text/csv"
        return list(csv.DictReader(io.StringIO(answer.text)))

    return read


def ids(page, kind="invoices"):
    return [
        html.unescape(each) for each in re.findall(rf'class="title"><a href="/teams/\w+/explore/{kind}/([^"]+)"', page)
    ]


def link(page, rel):
    found = re.search(rf'<a rel="{rel}" href="([^"]+)"', page)
    return found and html.unescape(found[1])


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


# Order and pages ------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(put):
    """130 invoices: several of one second and of one amount, some without a time, some without an amount."""
    put(
        *(
            invoice(
                f"in_{number:03}",
                created=None if number % 13 == 0 else 1000 + number // 3,
                total=None if number % 17 == 0 else (number % 10 - 3) * 50,
                currency=("usd", "jpy", "kwd")[number % 3],
            )
            for number in range(130)
        )
    )


@pytest.mark.parametrize("sort", ["-created", "created", "-total", "total"], ids=["newest", "oldest", "most", "least"])
def test_pages_show_every_row_once_in_both_directions(show, many, sort):
    page, forward = show(f"invoices?sort={sort}"), []
    while True:
        forward.append(ids(page))
        if not link(page, "next"):
            break
        page = show(link(page, "next"))
    backward = [ids(page)]
    while link(page, "prev"):
        page = show(link(page, "prev"))
        backward.insert(0, ids(page))

    assert sorted(itertools.chain(*forward)) == [f"in_{number:03}" for number in range(130)]
    assert backward == forward
    assert [len(each) for each in forward] == [50, 50, 30]


def test_an_order_is_the_others_reverse(show, many):
    for key in ("created", "total"):
        up, down = show(f"invoices?sort={key}"), show(f"invoices?sort=-{key}")
        last = show(link(show(link(up, "next")), "next"))
        assert ids(down)[:30] == ids(last)[::-1]


def test_amounts_are_sorted_by_what_they_are_worth_in_their_currency(show, put):
    put(
        invoice("in_yen", total=10, currency="jpy"),
        invoice("in_dollars", total=999, currency="usd"),
        invoice("in_dinars", total=9995, currency="kwd"),
    )

    assert ids(show("invoices?sort=-total")) == ["in_yen", "in_dinars", "in_dollars"]


def test_a_previous_page_that_became_the_first_is_whole(show, put, database, team, many):
    second = show(link(show("invoices?sort=created"), "next"))
    put(*(invoice(f"in_early_{number}", created=1) for number in range(3)))

    previous = show(link(second, "prev"))

    assert ids(previous)[0] == "in_001"
    assert ids(show(link(previous, "prev")))[:3] == ["in_early_0", "in_early_1", "in_early_2"]


# Filters and counts ---------------------------------------------------------------------------------------------------


def test_a_range_of_dates_includes_both_days_in_utc(show, put):
    for day, id in (("2026-01-01T23:59:59", "a"), ("2026-01-02T00:00:00", "b"), ("2026-01-03T23:59:59", "c")):
        put(invoice(id, created=at(day)))
    put(invoice("d", created=at("2026-01-04T00:00:00")), invoice("undated", created=None))

    assert ids(show("invoices?from=2026-01-02&to=2026-01-03")) == ["c", "b"]
    assert ids(show("invoices?to=2026-01-01")) == ["a"]


def test_a_range_of_amounts_is_in_whole_units_of_each_currency(show, put):
    put(
        invoice("in_usd", total=1050, currency="usd"),
        invoice("in_jpy", total=10, currency="jpy"),
        invoice("in_kwd", total=10_499, currency="kwd"),
        invoice("in_much", total=100_000),
    )

    assert sorted(ids(show("invoices?least=10&most=10.5"))) == ["in_jpy", "in_kwd", "in_usd"]
    assert ids(show("invoices?least=10,5&most=11")) == ["in_usd"]


def test_prices_with_fractions_of_a_cent_have_an_amount_too(show, put):
    put(price("price_1", unit_amount=None, unit_amount_decimal="0.5"), price("price_2", unit_amount=100))

    assert ids(show("prices?most=0.01"), "prices") == ["price_1"]
    assert ids(show("prices?sort=-unit_amount"), "prices") == ["price_2", "price_1"]


def test_filters_stay_on_the_next_page_and_in_the_csv(show, many):
    page = show("invoices?status=paid&from=1970-01-01&least=-2&sort=total")

    for address in (link(page, "next"), html.unescape(re.search(r'href="(/teams/\w+/export/[^"]+)"', page)[1])):
        assert {"status=paid", "from=1970-01-01", "least=-2", "sort=total"} <= set(address.split("?")[1].split("&"))


def test_a_page_says_how_many_rows_there_are(show, put, team, database):
    put(*(invoice(f"in_{number}", status="open" if number < 3 else "paid") for number in range(60)))
    put_tombstone(database, team.team_id, invoice("in_gone"))

    assert ">60 invoices<" in show("invoices")
    assert ">3 invoices<" in show("invoices?status=open")
    assert ">1 invoice<" in show("invoices?find=in_7")


def test_counting_stops(put, team, database):
    put(*(invoice(f"in_{number}") for number in range(5)))

    counted = MirrorRows(database, team.team_id).count(
        "invoices", Asked(conditions=("where_status",), params={"status": "paid"}), 3
    )

    assert counted == 3


@pytest.mark.parametrize("currency", ["usd", "jpy", "kwd", "isk", "ugx", "mga", "xyz", None])
def test_postgres_and_python_know_the_same_decimals(database, currency):
    (worth,) = database.execute("SELECT billstack.whole_units(1000, %s)", (currency,)).fetchone()

    assert worth == 1000 / 10 ** decimals(currency)


# CSV ------------------------------------------------------------------------------------------------------------------


def test_csv_has_what_is_filtered_in_whole_units(download, put):
    put(
        invoice("in_1", number="A-1", total=123_450, currency="usd", created=at("2026-01-02T03:04:05")),
        invoice("in_2", number="A-2", total=-1200, currency="jpy", status="open"),
    )

    (row,) = download("invoices.csv?status=paid")

    assert {key: row[key] for key in ("id", "number", "total", "currency", "created", "deleted_at")} == {
        "id": "in_1",
        "number": "A-1",
        "total": "1234.50",
        "currency": "usd",
        "created": "2026-01-02T03:04:05Z",
        "deleted_at": "",
    }
    assert [each["total"] for each in download("invoices.csv?sort=total")] == ["-1200", "1234.50"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_csv_starts_no_formula(text):
    assert cell(text) == f"'{text}"


def test_csv_keeps_other_texts_as_they_are(download, put):
    names = ['quo"te', "com,ma", "line\nbreak", "中村", "1=1", ""]
    put(*(customer(f"cus_{number}", name=name) for number, name in enumerate(names)))

    assert [each["name"] for each in download("customers.csv?sort=created")] == names


def test_csv_has_all_pages(download, put):
    put(*(customer(f"cus_{number:04}", created=number // 7 or None) for number in range(2100)))

    assert sorted(each["id"] for each in download("customers.csv")) == [f"cus_{number:04}" for number in range(2100)]


def test_csv_is_sent_piece_by_piece(team, put):
    put(*(customer(f"cus_{number}") for number in range(1500)))

    answer = team.client.get(f"/teams/{team.team_id}/export/customers.csv", headers=BROWSER, buffered=False)

    assert answer.is_streamed
    assert len(list(answer.response)) == 3  # headings, a thousand, the rest


@pytest.mark.parametrize("kind", ["nothing", "customers.csv"])
def test_csv_of_nothing_is_404(team, kind):
    assert team.client.get(f"/teams/{team.team_id}/export/{kind}.csv", headers=BROWSER).status_code == 404


def test_csv_is_for_the_teams_members(team, new_member):
    assert new_member().client.get(f"/teams/{team.team_id}/export/customers.csv").status_code == 404


# Links ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("charges", "ch_1"), ("payment_intents", "pi_1")),
        (("charges", "ch_1"), ("refunds", "re_1")),
        (("charges", "ch_1"), ("balance_transactions", "txn_1")),
        (("invoices", "in_1"), ("subscriptions", "sub_1")),
        (("prices", "price_2"), ("subscriptions", "sub_1")),
        (("prices", "price_1"), ("products", "prod_1")),
        (("customers", "cus_1"), ("charges", "ch_1")),
        (("invoices", "in_old"), ("charges", "ch_1")),
    ],
    ids=lambda pair: pair[1],
)
def test_objects_lead_to_each_other(show, put, one, other):
    items = {"data": [{"id": "si_1", "price": price("price_1")}, {"id": "si_2", "price": price("price_2")}]}
    put(
        customer("cus_1"),
        product("prod_1"),
        price("price_1", product="prod_1"),
        price("price_2", product="prod_1"),
        subscription("sub_1", items=items, customer="cus_1"),
        invoice("in_1"),
        invoice("in_old"),
        charge("ch_1", customer="cus_1", payment_intent="pi_1", invoice="in_old"),
        refund("re_1", charge="ch_1"),
        {"id": "pi_1", "object": "payment_intent", "created": 1, "latest_charge": "ch_1"},
        {"id": "txn_1", "object": "balance_transaction", "created": 1, "source": "ch_1"},
    )

    for this, that in ((one, other), (other, one)):
        if this[1] == "sub_1" and that[1] == "price_2":
            continue  # a subscription's columns are of its first item
        assert re.search(rf'href="/teams/\w+/explore/{that[0]}/{that[1]}"', show("/".join(this))), (this, that)


def test_what_the_mirror_lacks_is_named_without_a_link(show, put):
    put(charge("ch_1", customer=None, payment_intent="pi_elsewhere"))

    page = show("charges/ch_1")

    assert "<code>pi_elsewhere</code>" in page
    assert "not in the mirror" in page


def test_many_that_name_an_object_have_a_list_of_their_own(show, put):
    put(
        charge("ch_1"),
        *(refund(f"re_{number:02}", charge="ch_1") for number in range(12)),
        refund("re_x", charge="ch_2"),
    )

    page = show("charges/ch_1")
    everything = show(html.unescape(re.search(r'<a href="([^"]+)">All refunds</a>', page)[1]))

    assert len(set(re.findall(r"explore/refunds/(re_\d+)", page))) == 10
    assert len(ids(everything, "refunds")) == 12
    assert "12 refunds with charge <code>ch_1</code>" in everything


# Timeline -------------------------------------------------------------------------------------------------------------


def moments(page):
    part = re.search(r'<ol class="timeline">(.*?)</ol>', page, re.DOTALL)[1]
    lines = re.findall(r"<li>(.*?)</li>", part, re.DOTALL)
    return [re.sub(r"\s+", " ", re.sub("<.*?>", "", line.split("</time>")[1])).strip() for line in lines]


def test_a_customers_timeline_tells_what_happened_newest_first(show, put):
    put(
        customer("cus_1", created=100),
        subscription("sub_1", customer="cus_1", created=200, ended_at=900, status="canceled"),
        charge("ch_1", created=300, amount=4900),
        charge("ch_2", created=400, status="failed"),
        refund("re_1", charge="ch_1", created=500, amount=1000),
        refund("re_2", charge="ch_1", created=600, status="failed"),
        charge("ch_other", customer="cus_2", created=700),
        refund("re_other", charge="ch_other", created=800),
    )

    assert moments(show("customers/cus_1")) == [
        "Canceled sub_1",
        "Refunded 10.00 USD re_1",
        "Payment failed 49.00 USD ch_2",
        "Paid 49.00 USD ch_1",
        "Subscribed sub_1",
        "Created",
    ]


def test_a_team_that_mirrors_no_refunds_sees_that_there_was_one(show, put, team, database):
    database.execute("UPDATE billstack.mirrored_types SET stopped_at = now() WHERE type = 'refund'")
    put(customer("cus_1", created=100), charge("ch_1", created=300, amount_refunded=500))

    assert moments(show("customers/cus_1")) == ["Refunded since then 5.00 USD ch_1", "Paid 49.00 USD ch_1", "Created"]
