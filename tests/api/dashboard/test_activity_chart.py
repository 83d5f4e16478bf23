"""The chart of what came in: a bar an hour or a day, and the same numbers as a table."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.gateway.mirror_filling import connect_team

BROWSER = {"Accept": "text/html"}


@pytest.fixture
def put(owner, database):
    """Counts something some hours ago: put(3, "event", 12)."""
    connect_team(database, owner.team_id)

    def count(hours_ago, what, number):
        at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_ago)
        database.execute("INSERT INTO billstack.activity VALUES (%s, %s, %s, %s)", (owner.team_id, at, what, number))

    yield count
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


def page_of(owner, query=""):
    return owner.client.get(f"/teams/{owner.team_id}/stripe{query}", headers=BROWSER).text


def bars(page):
    """Of each series: how high."""
    return [
        [float(height) for height in re.findall(r'<rect[^>]* height="([\d.]+)"', figure)]
        for figure in re.findall(r'<figure class="chart">(.*?)</figure>', page, re.DOTALL)
    ]


def test_each_hour_in_which_something_came_in_is_a_bar(owner, put):
    put(0, "customer", 1000)
    put(0, "invoice", 1000)
    put(5, "charge", 500)
    put(23, "event", 7)
    put(24, "event", 1000)  # a bar too far

    page = page_of(owner)

    assert bars(page) == [[25.0, 100.0], [100.0]]
    assert 'aria-label="Objects mirrored by syncs: 2,500 in the last 24 hours"' in page
    assert 'aria-label="Events applied: 7 in the last 24 hours"' in page


def test_thirty_days_are_bars_of_days(owner, put):
    put(0, "event", 4)
    put(24 * 29, "event", 8)
    put(24 * 31, "event", 1000)

    page = page_of(owner, "?activity=day")

    assert bars(page) == [[], [100.0, 50.0]]
    assert "Events applied: 12 in the last 30 days" in page


def test_a_little_beside_much_is_still_seen(owner, put):
    put(0, "event", 1)
    put(1, "event", 100_000)

    (_, (_, least)) = bars(page_of(owner))

    assert least == 2


def test_the_table_has_the_same_numbers(owner, put):
    put(0, "event", 4)
    put(3, "customer", 1234)

    page = page_of(owner)

    section = page.split('id="activity"')[1].split("</section>")[0]
    rows = re.findall(r'<td class="num">([\d,]+)</td><td class="num">([\d,]+)</td>', section)
    assert rows == [("0", "4"), ("1,234", "0")]


def test_where_nothing_came_in_the_table_says_so(owner, put):
    assert "Nothing came in." in page_of(owner)


@pytest.mark.parametrize("wanted", ["hour", "", "year", "%00"])
def test_any_other_span_is_a_day_of_hours(owner, put, wanted):
    put(0, "event", 4)

    assert "Events applied: 4 in the last 24 hours" in page_of(owner, f"?activity={wanted}")
