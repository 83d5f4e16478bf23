"""Counters that many threads of many processes add to."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from sync.errors import StripeUnavailable
from sync.object_types import OBJECT_TYPES
from sync.teams.connections import Connections
from workers.redis.meter import Meter
from workers.redis.metrics import exposition
from workers.stripe_account import open_source


@pytest.mark.parametrize("flush_every_s", [0.0, 0.05])
def test_requests_of_many_threads_lose_no_wait_and_fail_none(redis_url, flush_every_s):
    connection = redis.Redis.from_url(redis_url)
    connection.delete("billstack:metrics:budget_wait_seconds", "billstack:metrics:stripe_requests")
    meter = Meter(connection, flush_every_s=flush_every_s)

    def ask(_: int) -> None:
        meter.budget_wait("list_charges", 1.0)
        meter.request("list_charges", 200)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(2000)))
    meter.flush()

    waits = connection.hgetall("billstack:metrics:budget_wait_seconds")
    assert [float(seconds) for seconds in waits.values()] == [2000.0]
    requests = connection.hgetall("billstack:metrics:stripe_requests")
    assert [float(count) for count in requests.values()] == [2000.0]


def test_requests_that_are_sent_again_are_counted_by_what_they_failed_with(context, database, team_id, stripe):
    stripe.call("PUT", "faults", faults=[{"kind": "500", "share": 1.0, "path": "/v1/customers"}])
    connected = Connections(database, context.box).get(team_id)

    with pytest.raises(StripeUnavailable):
        open_source(context, connected, attempts=3).fetch(OBJECT_TYPES["customer"], "cus_1")
    context.meter.flush()

    lines = exposition(context).decode().splitlines()
    labels = '{endpoint="retrieve_customers",status="500"}'
    assert f"billstack_stripe_retries_total{labels} 2.0" in lines
    assert f"billstack_stripe_requests_total{labels} 3.0" in lines


def test_what_is_counted_within_a_second_goes_to_redis_together():
    now, sent = [100.0], []

    class Redis:
        def pipeline(self, transaction):
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def hincrbyfloat(self, name, labels, amount):
            sent.append((labels, amount))

        def execute(self):
            sent.append("sent")

    meter = Meter(Redis(), flush_every_s=1.0, clock=lambda: now[0])
    meter.request("list_charges", 200)
    assert sent == [('["list_charges","200"]', 1.0), "sent"]

    sent.clear()
    meter.request("list_charges", 200)
    meter.request("list_charges", 200)
    assert sent == []

    now[0] += 1.0
    meter.request("list_charges", 429)
    assert sorted(map(str, sent)) == sorted(
        map(str, [('["list_charges","200"]', 2.0), ('["list_charges","429"]', 1.0), "sent"])
    )
