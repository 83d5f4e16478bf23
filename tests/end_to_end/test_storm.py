"""Everything at once: a share of every kind of fault, kill -9s and an account that changes under the run."""

import os
import random
import signal
import time
from typing import Any

import pytest

from scripts.local.processes import wait_until
from sync.object_types import DEFAULT_TYPES, OBJECT_TYPES
from tests.end_to_end.product import Installation, Product

FAULTS = ("500", "502", "429", "reset", "truncated", "garbage", "slow", "hang")
SHARE = 0.05
LATE_S = 1.0  # how long a slow or hanging answer takes
KILLS = 3
# At scale 1. They must be over before the lists are read: what comes later is for webhooks, which nobody sends here.
CHANGES = 300
CHANGES_TAKE_S = 6.0
PATIENCE_S = 400.0
NEXT_HORSE_S = 10.0


@pytest.mark.parametrize(
    ("seed", "scale", "types"),
    [
        (1, 0.5, "six"),
        *(pytest.param(seed, 0.2, "all", marks=pytest.mark.slow) for seed in range(1, 51)),
    ],
)
def test_faults_kills_and_changes_end_with_an_equal_mirror_and_exact_counts(
    installation: Installation, seed: int, scale: float, types: str
):
    name = f"storm{seed}_{scale * 10:.0f}_{types}"
    storm, dice = installation.new_team(name, seed=seed, scale=scale, types=types), random.Random(seed)
    sandbox, objects = storm.sandbox, OBJECT_TYPES if types == "all" else DEFAULT_TYPES
    faults = [{"kind": kind, "share": SHARE, "seconds": LATE_S, "path": "/v1/"} for kind in FAULTS]
    sandbox.call("PUT", "faults", faults=faults, seed=seed)

    storm.client.start_backfill(storm.team_id, objects=list(objects))
    changes = {"n": int(CHANGES * scale), "seed": seed, "over_s": CHANGES_TAKE_S * scale}
    sandbox.call("POST", "changes", account=storm.account, **changes)
    killed = 0
    for _ in range(KILLS):
        time.sleep(dice.uniform(0.5, 3))
        killed += kill_some_work_horse(storm, dice)
    storm.wait_for(lambda status: not still_reads(status), PATIENCE_S)
    assert sandbox.call("GET", "deliveries")["changesUnderWay"] == 0, (
        "the changes took longer than the lists: slow machine"
    )
    storm.wait_while_syncing(PATIENCE_S)
    sandbox.call("DELETE", "faults")
    # An event that a fault hit at both of its attempts is told of, and tried again by itself.
    status = storm.wait_for(lambda status: not status["warnings"])

    assert killed == KILLS
    assert status["syncStatus"] == "ready", status
    assert storm.differences() == []
    met = "SELECT type, count(DISTINCT id) FROM {team}.seen_pages, unnest(ids) AS id GROUP BY type"
    counted = dict.fromkeys(objects, 0) | dict(storm.sql(met))
    assert {name: result["synced"] for name, result in status["result"].items()} == counted


def still_reads(status: dict[str, Any]) -> bool:
    return any(result["status"] == "syncing" for result in status["result"].values())


def kill_some_work_horse(product: Product, dice: random.Random) -> bool:
    """Waits a little if the one killed before has no successor yet."""
    wait_until(lambda: bool(product.work_horses()), NEXT_HORSE_S)
    horses = product.work_horses()
    if horses:
        os.kill(dice.choice(horses), signal.SIGKILL)
    return bool(horses)
