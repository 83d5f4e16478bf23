"""Two worker hosts beside Postgres, Redis and Stripe: a cut cable, a bad line and wrong clocks leave the mirror exact."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts.local.servers import temporary_state_dir
from tests.end_to_end.product import Product
from tests.servers.bad_line import bad_line
from tests.servers.hosts import Host, Network, can_make_hosts, postgres_at, running_hosts, three_hosts

pytestmark = pytest.mark.slow

TAKEN_OVER_WITHIN_S = 15.0
# The rates at Stripe. The product uses four fifths of a test account's 25.
# Postgres again, over the bad line, and the worker host's end of it.
OVER_BAD_LINE, ITS_OTHER_END = "10.78.0.1", "10.78.0.2"
LIMITS = ("--account-rps", "25", "--endpoint-rps", "25")


@pytest.fixture
def network() -> Iterator[Network]:
    if not can_make_hosts():
        pytest.skip("needs root and iproute2, to make network namespaces")
    with three_hosts() as found:
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_state_dir() as found:
        yield found


def held_by(product: Product, host: Host) -> dict[str, int]:
    """The fences of the parts that a process of the host works on."""
    rows = product.sql("SELECT part, fence, holder FROM billstack.leases WHERE held AND NOT done")
    pids = host.pids()
    return {part: fence for part, fence, holder in rows if int(holder.rpartition(":")[2]) in pids}


def is_taken(product: Product, before: dict[str, int]) -> bool:
    rows = product.sql("SELECT part, fence FROM billstack.leases")
    return all(fence > before[part] for part, fence in rows if part in before)


def has_connections(product: Product, host: Host) -> bool:
    [(count,)] = product.sql("SELECT count(*) FROM pg_stat_activity WHERE client_addr = %s::inet", host.address)
    return bool(count)


@pytest.mark.parametrize("how", ["cut", "half_cut"])
def test_a_cut_hosts_parts_are_taken_over_within_fifteen_seconds(network: Network, folder: Path, how: str) -> None:
    with running_hosts(folder, network, "--scale", "1.5", *LIMITS) as installation:
        product = installation.connect_team("hosts", account="demo")
        product.client.start_backfill(product.team_id)
        product.wait_for(lambda status: min(status["result"][name]["synced"] for name in ("charge", "invoice")) > 100)
        cut, before = max(((host, held_by(product, host)) for host in network.workers), key=lambda each: len(each[1]))
        assert before

        getattr(cut, how)()
        cut_at = time.monotonic()
        product.wait_for(lambda _: is_taken(product, before), timeout_s=60)
        took_s = time.monotonic() - cut_at
        assert took_s <= TAKEN_OVER_WITHIN_S
        # None of them keeps a lock or a claimed event.
        product.wait_for(lambda _: not has_connections(product, cut), timeout_s=TAKEN_OVER_WITHIN_S - took_s)
        assert product.wait_while_syncing(300)["syncStatus"] == "ready"
        assert product.differences() == []
        cut.mend()
        time.sleep(10)  # what the host still had to say comes now
        assert product.differences() == []
        assert product.sandbox.stats()["limited"] == {}


def test_a_bad_line_to_postgres_and_a_wrong_clock_leave_the_mirror_exact(network: Network, folder: Path) -> None:
    """One host has both; the other one neither."""
    wrong_clock = five_minutes_ahead()
    if wrong_clock is None:
        pytest.skip("needs libfaketime (apt install faketime)")
    far, _ = network.workers
    of_far = wrong_clock | {"DATABASE_URL": postgres_at(OVER_BAD_LINE)}
    with ExitStack() as stack:
        stack.enter_context(bad_line(network.servers, OVER_BAD_LINE, far.namespace, ITS_OTHER_END))
        installation = stack.enter_context(running_hosts(folder, network, *LIMITS, of_workers=(of_far, {})))
        product = installation.connect_team("far", account="demo")
        product.client.start_backfill(product.team_id)
        product.sandbox.change(100, account=product.account, seed=15, over_s=10)
        product.wait_for(lambda _: held_by(product, far))

        assert product.wait_while_syncing(300)["syncStatus"] == "ready"
        assert product.differences() == []
        assert product.sandbox.stats()["limited"] == {}


def five_minutes_ahead() -> dict[str, str] | None:
    """The environment of processes whose clock is wrong."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    return library and {"LD_PRELOAD": str(library), "FAKETIME": "+300"}
