"""Numbers of a team and of a project over HTTP: what they say, and who may read them."""

import json
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from api.numbers.analytics import churn_rate, customer_growth, main_currency
from api.numbers.store import InCurrency
from sync.object_types import BY_STRIPE_OBJECT
from tests.api.gateway.mirror_filling import connect_team, put_objects
from tests.factories import CREATED, DAY, customer, listed, price, subscription, subscription_item


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
def address(team):
    return f"/api/billstack/teams/{team.team_id}"


@pytest.fixture
def business(team, database, now):
    """Two currencies, one new subscription and one that ended, and one each that counts for nothing."""
    in_yen = listed(subscription_item(price=price(currency="jpy", unit_amount=900_000, unit_amount_decimal="900000")))
    objects = [
        customer("cus_1"),
        customer("cus_2", created=now - DAY),
        subscription("sub_old"),
        subscription("sub_new", customer="cus_2", created=now - 5 * DAY, status="past_due"),
        subscription("sub_lost", status="canceled", ended_at=now - 3 * DAY),
        subscription("sub_lost_long_ago", status="canceled", ended_at=CREATED + DAY),
        subscription("sub_tried", status="canceled", ended_at=now - 3 * DAY, trial_end=now - 2 * DAY),
        subscription("sub_trial", status="trialing"),
        subscription("sub_yen", currency="jpy", items=in_yen),
    ]
    for each in objects:
        put_objects(database, team.team_id, BY_STRIPE_OBJECT[each["object"]].table, [json.dumps(each)])


@pytest.fixture
def project(team, address, database):
    """Of customer cus_2 alone."""
    project_id = team.client.post(f"{address}/projects", json={"name": "Shop"}).json["project"]["id"]
    database.execute(
        "INSERT INTO billstack.project_customers (id, team_id, project_id, stripe_customer_id, email, metadata)"
        " VALUES (%s, %s, %s, 'cus_2', 'a@b', '{}')",
        (f"pc_{project_id}", team.team_id, project_id),
    )
    return project_id


def test_the_numbers_of_a_team(team, address, business):
    answer = team.client.get(f"{address}/analytics").json

    assert answer["currencies"] == {
        "jpy": {"mrr": 900_000, "activeSubscriptions": 1, "newMrr": 0, "churnedMrr": 0},
        "usd": {"mrr": 9800, "activeSubscriptions": 2, "newMrr": 4900, "churnedMrr": 4900},
    }
    assert (answer["currency"], answer["mrr"]) == ("jpy", 900_000)
    assert answer["customerCount"] == 2
    assert answer["churnRate"] == 33.33  # sub_lost of the three that ran 30 days ago
    assert answer["subscriptionBreakdown"] == {
        "active": 2,
        "trialing": 1,
        "past_due": 1,
        "canceled": 3,
        "unpaid": 0,
        "incomplete": 0,
        "paused": 0,
        "incomplete_expired": 0,
    }
    assert answer["asOf"] is None  # no full sync has finished


def test_customers_grow_day_by_day(team, address, business, now):
    growth = team.client.get(f"{address}/analytics?days=3").json["customerGrowth"]

    today, came = (datetime.fromtimestamp(at, UTC).date() for at in (now, now - DAY))
    last = date.fromisoformat(growth[-1]["date"])
    dates = [last - timedelta(days=2), last - timedelta(days=1), last]
    assert last in (today, today + timedelta(days=1)), "midnight may have passed since"
    assert growth == [{"date": each.isoformat(), "count": 2 if each >= came else 1} for each in dates]


def test_events_are_counted_by_what_became_of_them(team, address, database, now):
    database.execute(
        "INSERT INTO billstack.activity (team_id, hour, what, count) VALUES (%s, date_trunc('hour', now()), 'event', 7)",
        (team.team_id,),
    )
    for number, state in enumerate(["pending", "failed", "failed", "applied"]):
        database.execute(
            "INSERT INTO billstack.events (team_id, id, type, created, state, body, delivered)"
            " VALUES (%s, %s, 'x', %s, %s, '{}', true)",
            (team.team_id, f"evt_{number}", now, state),
        )

    stats = team.client.get(f"{address}/analytics").json["webhookStats"]

    assert stats == {"total": 10, "processed": 7, "failed": 2}


def test_the_numbers_of_a_project_are_of_its_customers_alone(team, address, business, project, database):
    answer = team.client.get(f"{address}/projects/{project}/analytics?growthDays=2").json

    assert answer["currencies"] == {
        "usd": {"mrr": 4900, "activeSubscriptions": 1, "newMrr": 0, "churnedMrr": 0},
    }
    assert answer["mrr"] == 49
    assert answer["customerCount"] == 1
    assert answer["subscriptionBreakdown"]["past_due"] == 1
    assert sum(answer["subscriptionBreakdown"].values()) == 1
    linked = database.execute("SELECT (created_at AT TIME ZONE 'UTC')::date::text FROM billstack.project_customers")
    ((day,),) = linked.fetchall()
    assert [each["count"] for each in answer["customerGrowth"]] == [
        int(each["date"] >= day) for each in answer["customerGrowth"]
    ]


def test_a_business_without_anything_has_zeros(team, address):
    answer = team.client.get(f"{address}/analytics").json

    assert (answer["currencies"], answer["currency"], answer["mrr"], answer["churnRate"]) == ({}, None, 0, 0)
    assert len(answer["customerGrowth"]) == 30


def test_a_team_without_a_mirror_is_told_to_connect(owner):
    answer = owner.client.get(f"/api/billstack/teams/{owner.team_id}/analytics")

    assert (answer.status_code, answer.json["code"]) == (409, "not_connected")


@pytest.mark.parametrize("query", ["days=0", "days=367", "days=x"])
def test_an_impossible_span_is_400(team, address, query):
    assert team.client.get(f"{address}/analytics?{query}").status_code == 400


def test_another_teams_numbers_are_404(team, address, new_member):
    assert new_member().client.get(f"{address}/analytics").status_code == 404


@pytest.fixture
def use_key(app, team, address):
    """Reads with a new key."""

    def read(path, **asked):
        answer = team.client.post(f"{address}/api-keys", json={"name": "K", **asked})
        headers = {"Authorization": f"Bearer {answer.json['rawKey']}"}
        return app.test_client().get(address + path, headers=headers)

    return read


@pytest.mark.parametrize("missing", ["subscriptions:read", "customers:read"])
def test_a_key_needs_both_scopes(use_key, project, missing):
    scopes = sorted({"subscriptions:read", "customers:read"} - {missing})

    for path in ("/analytics", f"/projects/{project}/analytics"):
        refused = use_key(path, scopes=scopes)
        assert (refused.status_code, refused.json["details"]) == (403, {"scope": missing})
        assert use_key(path, scopes=["subscriptions:read", "customers:read"]).status_code == 200


def test_a_key_of_a_project_reads_its_numbers_and_not_the_teams(use_key, project):
    assert use_key(f"/projects/{project}/analytics", projectId=project).status_code == 200
    assert use_key("/analytics", projectId=project).status_code == 403


def in_currency(currency, mrr, **fields):
    counts = dict.fromkeys(("active_subscriptions", "new_mrr", "churned_mrr", "began", "lost", "stayed", "left"), 0)
    return InCurrency(currency=currency, mrr=mrr, **counts | fields)


def test_the_main_currency_has_the_most_in_whole_units():
    dollars, yen, dinars = in_currency("usd", 98_050), in_currency("jpy", 979), in_currency("kwd", 980_000)

    assert main_currency([yen, dinars, dollars]) is dollars
    assert main_currency([yen, dinars]) is dinars


def test_nobody_left_is_a_churn_of_zero():
    assert churn_rate([]) == 0
    assert churn_rate([in_currency("usd", 1, left=1, stayed=3), in_currency("eur", 1, left=1, stayed=3)]) == 25


def test_a_customer_of_tomorrow_counts_today():
    today = date(2026, 5, 2)

    growth = customer_growth({today: 2, today + timedelta(days=1): 1}, today - timedelta(days=1), 2)

    assert [each["count"] for each in growth] == [0, 3]
