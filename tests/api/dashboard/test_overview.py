"""The first page of a team: how its mirror is, and how its business does."""

import json
import re
import time
from datetime import UTC, date, datetime

import pytest

from api.dashboard.health import compared_at, next_comparison
from api.dashboard.plots import HEIGHT, WIDTH, Value, plot
from api.gateway.reading import use_of
from api.numbers.business import months_until
from api.numbers.kept import SMALL
from sync.object_types import BY_STRIPE_OBJECT
from tests.api.gateway.mirror_filling import connect_team, put_objects
from tests.factories import DAY, charge, listed, price, subscription, subscription_item

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def now():
    return int(time.time())


@pytest.fixture
def team(owner, database):
    """An owner whose team has an empty mirror."""
    connect_team(database, owner.team_id)
    yield owner
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


@pytest.fixture
def put(team, database):
    def write(*objects):
        for each in objects:
            put_objects(database, team.team_id, BY_STRIPE_OBJECT[each["object"]].table, [json.dumps(each)])

    return write


@pytest.fixture
def show(team):
    return lambda query="": team.client.get(f"/teams/{team.team_id}/overview{query}", headers=BROWSER).text


def figures(page):
    """What the page says, by heading."""
    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page, flags=re.DOTALL)
    return {name: re.sub(r"<.*?>", "", value).strip() for name, value in found}


def test_a_team_without_a_mirror_is_led_to_where_it_connects(owner):
    answer = owner.client.get(f"/teams/{owner.team_id}/overview", headers=BROWSER)

    assert (answer.status_code, answer.headers["Location"]) == (302, f"/teams/{owner.team_id}/stripe")


def test_it_is_for_the_teams_members(team, new_member, client):
    address = f"/teams/{team.team_id}/overview"

    assert new_member().client.get(address, headers=BROWSER).status_code == 404
    assert client.get(address, headers=BROWSER).headers["Location"] == f"/sign-in?next={address}"


def test_an_empty_mirror_says_so_and_draws_nothing(show):
    page = show()

    assert "No subscriptions in the mirror." in page
    assert "<svg" not in page
    assert figures(page)["MRR"] == "—"


def test_it_says_what_runs_what_is_new_what_ended_and_what_failed(show, put, now):
    put(
        subscription("sub_1"),
        subscription("sub_new", created=now),
        subscription("sub_lost", status="canceled", ended_at=now),
        charge("ch_1", status="failed", created=now - DAY),
        charge("ch_old", status="failed", created=now - 40 * DAY),
    )

    said = figures(show())

    assert said["MRR"] == "98.00 USD"
    assert said["Active subscriptions"] == "2"
    assert said["New this month"].startswith("1 ")
    assert said["Lost this month"] == "1 \N{MINUS SIGN}49.00 USD a month"
    assert said["Failed payments in 30 days"] == "1"


def test_each_plot_has_a_bar_and_a_row_a_month_that_say_the_same(show, put, now):
    put(
        subscription("sub_1"),
        charge("ch_1", status="succeeded", created=now, amount=5000, amount_captured=5000, amount_refunded=1000),
    )

    page = show()

    labels = re.findall(r'aria-label="(\w+ \d+: .*?)"', page)
    rows = [": ".join(row) for row in re.findall(r'<th scope="row".*?>(.*?)</th><td class="num">(.*?)</td>', page)]
    assert len(labels) == 24
    assert sorted(labels) == sorted(rows)
    assert labels[11].endswith(": 40.00 USD")
    assert labels[23].endswith(": 1")


def test_with_several_currencies_one_is_chosen(show, put):
    in_euro = listed(subscription_item(price=price(currency="eur", unit_amount=100, unit_amount_decimal="100")))
    put(subscription("sub_1"), subscription("sub_3"), subscription("sub_2", currency="eur", items=in_euro))

    assert figures(show())["MRR"] == "98.00 USD"
    assert figures(show("?currency=eur"))["MRR"] == "1.00 EUR"
    assert figures(show("?currency=nonsense"))["MRR"] == "98.00 USD"


def test_it_names_a_refused_key_and_where_to_mend_it(show, team, database):
    database.execute("UPDATE billstack.connections SET key_valid = false WHERE team_id = %s", (team.team_id,))

    page = show()

    assert "Standing still" in page
    assert f'<a href="/teams/{team.team_id}/stripe#keys">Enter a valid key</a>' in page


def test_each_problem_leads_to_where_it_is_mended(show, team, database):
    database.execute(
        "UPDATE billstack.connections SET key_valid = false, sweep_error = 'No events.', refused_at = now(),"
        " refused_since = now(), refused_deliveries = 1 WHERE team_id = %s",
        (team.team_id,),
    )

    links = re.findall(r'<li class="problem">.*?<a href="/teams/\w+/(\S+)">', show(), flags=re.DOTALL)

    assert sorted(links) == ["events#content", "stripe#keys", "stripe#webhook"]


def test_a_large_mirrors_page_opens_without_its_tables(show, put, team, database):
    """What a look costs does not depend on the mirror: once numbers are kept, nothing else is read of it."""
    put(subscription("sub_1"))
    database.execute(
        "UPDATE billstack.row_counts SET live = %s WHERE schema_name = %s AND table_name = 'subscriptions'",
        (SMALL + 1, f"stripe_{team.team_id}"),
    )
    for _ in range(100):  # the first numbers may take longer than a look waits
        if "data-renewed" not in show():
            break
    database.execute(f'DROP VIEW "stripe_{team.team_id}".subscription_items CASCADE')
    database.execute(f'DROP TABLE "stripe_{team.team_id}".charges CASCADE')

    page = show()

    assert figures(page)["MRR"] == "49.00 USD"
    assert "data-renewed" not in page


def test_a_large_mirrors_old_numbers_are_shown_while_new_ones_are_computed(show, put, team, database):
    test_a_large_mirrors_page_opens_without_its_tables(show, put, team, database)
    database.execute("UPDATE billstack.kept_numbers SET computed_at = now() - interval '1 day'")

    page = show()

    assert figures(page)["MRR"] == "49.00 USD"
    assert "newer ones are being computed" in page
    assert "data-renewed" in page


def test_the_months_end_with_the_current_one():
    assert months_until(date(2026, 2, 28), 3) == [date(2025, 12, 1), date(2026, 1, 1), date(2026, 2, 1)]


def test_all_is_compared_once_each_type_was():
    assert (
        compared_at({"customer": {"comparedAt": "2026-01-02"}, "price": {"comparedAt": "2026-01-01"}}) == "2026-01-01"
    )
    assert compared_at({"customer": {"comparedAt": "2026-01-02"}, "price": {"comparedAt": None}}) is None


STATUS = {
    "connected": True,
    "syncStatus": "ready",
    "lastSyncedAt": "2026-01-01T10:00:00Z",
    "lastReconcile": {"status": "done", "startedAt": "2026-01-01T12:30:00Z"},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "in 1 hour"),
        ({"lastReconcile": None}, "in a moment"),
        ({"lastReconcile": {"status": "running", "startedAt": "2026-01-02T11:00:00Z"}}, "running now"),
        ({"lastSyncedAt": None}, "a day after the first sync"),
        ({"syncStatus": "syncing"}, "a day after this sync"),
        ({"connected": False}, "none while disconnected"),
        ({"lastSyncedAt": "2026-01-01T11:50:00Z", "lastReconcile": None}, "in 50 minutes"),
    ],
    ids=["after a comparison", "overdue", "running", "never synced", "syncing", "disconnected", "after a sync"],
)
def test_the_next_comparison_comes_a_day_after_the_last_proof(changes, words):
    assert next_comparison({**STATUS, **changes}, datetime(2026, 1, 2, 11, 0, tzinfo=UTC)) == words


@pytest.mark.parametrize("amounts", [[0, 0, 0], [1, 10**12, -5], [7]])
def test_bars_and_their_texts_stay_inside_the_plot(amounts):
    bars = plot("p", "P", [Value(str(number), amount, "x") for number, amount in enumerate(amounts)]).bars

    for bar, amount in zip(bars, amounts, strict=True):
        assert 0 <= bar.x < bar.x + bar.width <= WIDTH
        assert 0 <= bar.text_x <= WIDTH
        assert 0 <= bar.y <= HEIGHT
        assert (bar.height > 0) == (amount > 0)


def test_it_says_who_answered_the_teams_programs_and_how_fast(team, show, app, redis_url):
    assert "through BillStack" not in show()
    use = use_of(app)
    for took_s in (0.0018, 0.0018, 0.012):
        use.count(team.team_id, "mirror", took_s)

    found = figures(show())

    assert found["Answered by the mirror"] == "3 half within 2 ms, 99 of 100 within 15 ms"
    assert found["Answered by Stripe"] == "0"
