"""init-db beside a running product: again and again while a backfill writes and events come, and all of it ends exact."""

import psycopg
import pytest
from psycopg import sql

from scripts.local.servers import temporary_state_dir
from sync.database.schema import schema_name
from sync.database.upgrade import upgrade
from tests.end_to_end.product import Product, running_installation
from tests.end_to_end.test_events import wait_until_delivered, wait_until_quiet

COUNTS = {"customer": 1500, "product": 20, "price": 40, "subscription": 1000, "invoice": 1500, "charge": 2000}
UPGRADES = 5


@pytest.mark.slow
def test_upgrades_beside_a_live_backfill_and_events_leave_it_exact() -> None:
    """Of 15 such runs three once ended in a deadlock's traceback, or failed types of the backfill."""
    with temporary_state_dir() as folder, running_installation(folder) as installation:
        product = installation.new_team("upgraded", counts=COUNTS)
        product.client.call("POST", f"/api/billstack/teams/{product.team_id}/stripe/webhook", {})
        product.slow_stripe(400)
        product.client.start_backfill(product.team_id)
        product.wait_for(lambda status: status["result"]["charge"]["synced"] > 0)
        product.slow_stripe(4000)
        product.sandbox.change(200, account=product.account, seed=11, over_s=40)
        while_syncing = sum(make_old_and_upgrade(product) for _ in range(UPGRADES))
        product.slow_stripe(0)
        wait_until_delivered(product)
        status = product.wait_while_syncing(240)
        wait_until_quiet(product)

        assert while_syncing >= 3, "the backfill was over too early to say anything"
        assert status["syncStatus"] == "ready", status
        assert product.differences() == []


def make_old_and_upgrade(product: Product) -> bool:
    """As a deploy of a version whose tables have other columns: each table is made again beside the old one, and swapped.

    Whether the backfill was still running afterwards.
    """
    comment = sql.SQL("COMMENT ON SCHEMA {} IS NULL").format(sql.Identifier(schema_name(product.team_id)))
    with psycopg.connect(product.stack.postgres.url, autocommit=True) as connection:
        connection.execute(comment)
        upgrade(connection)
    return bool(product.client.status(product.team_id)["syncStatus"] == "syncing")
