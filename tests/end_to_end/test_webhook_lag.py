"""How long after a webhook a read through the gateway shows its change, on the Procfile's processes."""

import time
from collections.abc import Iterator

import psycopg
import pytest
import urllib3

from api.projects.key_store import KeyStore, Scope
from tests.end_to_end.product import Installation, Product

BURST = 300
PATIENCE_S = 60
# A change in the seconds in which the backfill read is in doubt, and costs a request to Stripe.
SETTLED_S = 4
P50_S, P99_S = 0.1, 1.0


@pytest.fixture(scope="module")
def product(installation: Installation) -> Iterator[Product]:
    counts = {"customer": BURST, "product": 1, "price": 1, "subscription": 0, "invoice": 0, "charge": 0}
    product = installation.new_team("lag", counts=counts)
    product.client.call("POST", f"/api/billstack/teams/{product.team_id}/stripe/webhook", {})
    assert product.backfill()["syncStatus"] == "ready"
    time.sleep(SETTLED_S)
    yield product
    product.sandbox.call("PUT", "deliveries")


@pytest.fixture(scope="module")
def reader(product: Product) -> "Reader":
    with psycopg.connect(product.stack.postgres.url, autocommit=True) as connection:
        _, key = KeyStore(connection).create_key(
            product.team_id, "lag", project_id=None, scopes=[Scope.READ_CUSTOMERS], expires_at=None
        )
    return Reader(product.stack.url, key)


class Reader:
    """A program that lists all customers again and again."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(headers={"Authorization": f"Bearer {key}"})
        self.round_s = 0.0  # how long it takes to list all once: it cannot notice a change sooner

    def first_seen(self, description: str, count: int) -> dict[str, float]:
        """When each customer was first shown with the description, by id."""
        seen: dict[str, float] = {}
        deadline = time.monotonic() + PATIENCE_S
        while len(seen) < count:
            assert time.monotonic() < deadline, f"{len(seen)} of {count} were shown"
            after, began = "", time.monotonic()
            while after is not None:
                listed = self._page(after)
                now = time.time()
                for each in listed["data"]:
                    if each["description"] == description:
                        seen.setdefault(each["id"], now)
                after = listed["data"][-1]["id"] if listed["has_more"] else None
            self.round_s = max(self.round_s, time.monotonic() - began)
        return seen

    def _page(self, after: str):
        query = "?limit=100" + (f"&starting_after={after}" if after else "")
        answer = self._pool.request("GET", f"{self._url}/v1/customers{query}")
        assert answer.status == 200, answer.data
        assert answer.headers["X-BillStack-Source"] == "mirror"
        return answer.json()


def change_all(product: Product, ids: list[str], description: str) -> None:
    for object_id in ids:
        product.stripe("POST", f"/v1/customers/{object_id}", description=description)


def received(product: Product, description: str) -> dict[str, float]:
    """When each change's webhook was taken in, by the customer's id."""
    rows = product.sql(
        "SELECT body::jsonb #>> '{data,object,id}', extract(epoch FROM received_at)::float8 FROM billstack.events"
        " WHERE team_id = %s AND body::jsonb #>> '{data,object,description}' = %s",
        product.team_id,
        description,
    )
    return dict(rows)


def lags(product: Product, seen: dict[str, float], description: str) -> list[float]:
    came = received(product, description)
    return sorted(seen[object_id] - came[object_id] for object_id in seen)


def own_lags(product: Product, description: str) -> list[float]:
    """From taking in to applying, as the ledger has it: without what the reader's looks take."""
    rows = product.sql(
        "SELECT extract(epoch FROM applied_at - received_at)::float8 FROM billstack.events"
        " WHERE team_id = %s AND body::jsonb #>> '{data,object,description}' = %s ORDER BY 1",
        product.team_id,
        description,
    )
    return [lag for (lag,) in rows]


@pytest.mark.slow
def test_a_burst_can_be_read_within_a_second(product, reader, record_property):
    ids = [each["id"] for each in product.sandbox.objects("customer", account=product.account)]
    product.sandbox.call("PUT", "deliveries", auto=False)
    change_all(product, ids, "burst")

    product.sandbox.call("POST", "deliveries")
    found = lags(product, reader.first_seen("burst", BURST), "burst")

    p50, p99 = found[BURST // 2], found[BURST * 99 // 100]
    record_property("p50_ms", p50 * 1e3)
    record_property("p99_ms", p99 * 1e3)
    record_property("round_ms", reader.round_s * 1e3)
    applied = own_lags(product, "burst")
    record_property("applied_p50_ms", applied[BURST // 2] * 1e3)
    record_property("applied_p99_ms", applied[BURST * 99 // 100] * 1e3)
    told = f"p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, one look at all {reader.round_s * 1e3:.0f} ms"
    assert (p50 < P50_S + reader.round_s, p99 < P99_S + reader.round_s) == (True, True), told


@pytest.mark.slow
def test_one_change_can_be_read_at_once(product, reader, record_property):
    product.sandbox.call("PUT", "deliveries")
    (first, *_) = product.sandbox.objects("customer", account=product.account)
    found = []
    for number in range(20):
        change_all(product, [first["id"]], f"alone {number}")
        found += lags(product, reader.first_seen(f"alone {number}", 1), f"alone {number}")

    p50 = sorted(found)[len(found) // 2]
    record_property("p50_ms", p50 * 1e3)
    record_property("round_ms", reader.round_s * 1e3)
    told = f"p50 {p50 * 1e3:.0f} ms, longest {max(found) * 1e3:.0f} ms, one look at all {reader.round_s * 1e3:.0f} ms"
    assert p50 < P50_S + reader.round_s, told
