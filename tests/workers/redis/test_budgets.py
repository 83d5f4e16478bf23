"""Which budgets are found in Redis, and in which order operators see them."""

import fakeredis
import pytest

from workers.redis.budgets import read_budgets
from workers.redis.limiter import Limiter, Rates

RATES = Rates(account_rps=80.0, endpoint_rps=20.0)


@pytest.fixture
def client():
    with fakeredis.FakeRedis() as connection:
        yield connection


@pytest.fixture
def limiter(client):
    """On a clock that stands still: what was granted lately fades, and the order must not depend on milliseconds."""
    return Limiter(client, RATES, now=lambda: 1_000_000.0)


def test_each_account_and_mode_stands_alone_with_the_endpoints_it_used(client, limiter):
    for _ in range(3):
        limiter.reserve("acct_1", "list_invoices", livemode=True)
    limiter.reserve("acct_1", "list_customers", livemode=True)
    limiter.reserve("acct_1", "list_customers", livemode=False)
    limiter.reserve("acct_2", "retrieve_prices", livemode=True)
    client.set("billstack:something:else", "1")
    client.set("rq:job:1", "1")

    found = read_budgets(client, limiter)

    assert [(each.account_id, each.livemode, [name for name, _ in each.endpoints]) for each in found] == [
        ("acct_1", True, ["list_invoices", "list_customers"]),
        ("acct_1", False, ["list_customers"]),
        ("acct_2", True, ["retrieve_prices"]),
    ]
    assert found[0].account.lately > found[1].account.lately > 0


def test_nothing_asked_for_lately_is_nothing_shown(client, limiter):
    assert read_budgets(client, limiter) == []


def test_among_many_other_keys_the_buckets_are_found(client, limiter):
    client.mset({f"rq:job:{number}": "1" for number in range(5000)})
    limiter.reserve("acct_1", "list_invoices", livemode=True)

    (found,) = read_budgets(client, limiter)

    assert found.account_id == "acct_1"
