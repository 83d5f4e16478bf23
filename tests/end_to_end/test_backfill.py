"""The main job over HTTP, on the Procfile's processes: connect, backfill, watch, and a mirror that equals Stripe."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from api.http.times import iso
from scripts.api_client import ApiError
from tests.end_to_end.product import Installation, Product, sign_up


@pytest.fixture(scope="module")
def product(installation: Installation) -> Product:
    return installation.new_team("backfill")


@pytest.fixture(scope="module")
def first_status(product: Product) -> dict[str, Any]:
    """How the first backfill ended."""
    return product.backfill()


@pytest.fixture
def mirrored(product: Product, first_status: dict[str, Any]) -> Product:
    """A team whose account is in the mirror."""
    return product


def test_a_full_backfill_ends_with_a_mirror_equal_to_stripe_and_exact_counts(product, first_status):
    assert first_status["syncStatus"] == "ready"
    assert {name: result["synced"] for name, result in first_status["result"].items()} == {
        "customer": 1250, "product": 15, "price": 42, "subscription": 890, "invoice": 3200, "charge": 4100,
    }  # fmt: skip
    assert all(result["status"] == "ready" and result["progress"] == 1.0 for result in first_status["result"].values())
    assert product.differences() == []


def test_a_second_backfill_of_an_unchanged_account_rewrites_no_row(mirrored):
    rows = "SELECT id, xmin::text FROM {team}.invoices UNION ALL SELECT id, xmin::text FROM {team}.prices"
    before = mirrored.sql(rows)

    status = mirrored.backfill()

    assert status["syncStatus"] == "ready"
    assert sorted(mirrored.sql(rows)) == sorted(before)


def test_what_was_deleted_at_stripe_while_nobody_listened_becomes_a_tombstone(mirrored):
    product = mirrored
    [(customer_id,)] = product.sql("SELECT id FROM {team}.customers WHERE deleted_at IS NULL ORDER BY id LIMIT 1")
    product.stripe("DELETE", f"/v1/customers/{customer_id}")

    status = product.backfill(objects=["customer"])

    [(deleted,)] = product.sql("SELECT deleted_at IS NOT NULL FROM {team}.customers WHERE id = %s", customer_id)
    assert deleted
    assert status["result"]["customer"]["synced"] == 1249


def test_the_same_request_while_it_runs_gives_the_running_one_and_another_is_a_conflict(product):
    product.slow_stripe(300)
    first = product.client.start_backfill(product.team_id, objects=["product", "price"])

    same = product.client.start_backfill(product.team_id, objects=["product", "price"])
    with pytest.raises(ApiError) as other:
        product.client.start_backfill(product.team_id, objects=["customer"])

    product.slow_stripe(0)
    product.wait_while_syncing()
    assert (same["message"], same["backfillId"]) == ("Backfill already running", first["backfillId"])
    assert (other.value.status, other.value.code) == (409, "backfill_in_progress")


def test_a_canceled_backfill_leaves_the_status_as_it_was_and_is_never_resumed(product):
    before = product.backfill(objects=["product"])
    product.slow_stripe(500)
    canceled = product.client.start_backfill(product.team_id)["backfillId"]

    product.client.call("POST", f"/api/billstack/teams/{product.team_id}/stripe/backfill/cancel", {})

    status = product.client.status(product.team_id)
    product.slow_stripe(0)
    history = product.client.call("GET", f"/api/billstack/teams/{product.team_id}/stripe/backfills")
    assert (status["syncStatus"], status["backfill"]["id"]) == (before["syncStatus"], before["backfill"]["id"])
    assert [entry["status"] for entry in history["backfills"] if entry["id"] == canceled] == ["canceled"]


def test_another_team_does_not_exist_for_a_stranger(product):
    stranger, _ = sign_up(product.stack, "stranger@example.com", "Strangers")

    with pytest.raises(ApiError) as refused:
        stranger.status(product.team_id)

    assert refused.value.status == 404


def test_created_after_mirrors_only_what_was_created_after_it(product):
    created = sorted(each["created"] for each in product.sandbox.objects("charge", account=product.account))
    middle = created[len(created) // 2]

    status = product.backfill(objects=["charge"], createdAfter=iso(datetime.fromtimestamp(middle, UTC)))

    assert status["result"] == {
        "charge": {
            "synced": sum(second > middle for second in created),
            "status": "ready",
            "progress": 1.0,
            "error": None,
        }
    }


def test_the_request_id_of_the_post_is_in_the_lines_of_its_jobs(product):
    product.backfill(objects=["product"])
    [(request_id,)] = product.sql("SELECT request_id FROM billstack.backfills ORDER BY requested_at DESC LIMIT 1")

    lines = (product.stack.log_dir / "worker.log").read_text().splitlines()

    events = {json.loads(line)["event"] for line in lines if request_id in line}
    assert {"part.taken", "part.done"} <= events


def test_a_type_that_the_key_may_not_read_fails_alone_and_the_next_backfill_mends_it(installation):
    restricted = installation.connect_team("restricted", account="demo")
    client, team_id = restricted.client, restricted.team_id
    permissions = ["rak_accounts_kyc_basic_read", "rak_customer_read", "rak_product_read", "rak_event_read"]
    key = restricted.sandbox.call("POST", "keys", account="demo", permissions=permissions)["key"]
    client.connect(team_id, key)

    failed = restricted.backfill(objects=["customer", "product", "invoice"])
    client.connect(team_id, restricted.key)
    repaired = restricted.backfill(objects=["customer", "product", "invoice"])

    assert (failed["syncStatus"], failed["result"]["invoice"]["status"]) == ("error", "error")
    assert "rak_invoice_read" in failed["result"]["invoice"]["error"]
    assert [failed["result"][name]["status"] for name in ("customer", "product")] == ["ready", "ready"]
    assert (repaired["syncStatus"], repaired["result"]["invoice"]["synced"]) == ("ready", 960)
