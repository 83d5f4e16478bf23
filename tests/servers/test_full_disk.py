"""Postgres' disk fills up in the middle of a backfill: everything says so, nothing is lost, and it goes on with room."""

import html
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from scripts.api_client import ApiError
from scripts.local.postgres import EmbeddedPostgres
from scripts.local.processes import wait_until
from scripts.local.servers import temporary_state_dir
from scripts.local.stack import answers
from tests.end_to_end.product import Product, running_product
from tests.end_to_end.test_events import wait_until_delivered, wait_until_quiet

pytestmark = pytest.mark.slow

MB = 1024 * 1024
# Less than the backfill writes, and enough that it begins.
LEFT_MB = 6
ROOMY_MB = 800
# A refused write is remembered for half a minute.
NOTED_FOR_S = 40
SAYS_FULL = "Postgres' disk is full"


class PostgresOnSmallDisk(EmbeddedPostgres):
    """Its data is in a file system of its own. Its log is elsewhere: without room for it, Postgres would end itself."""

    def _prepare(self) -> None:
        super()._prepare()
        log, elsewhere = self._data / "pg_wal", self.home.parent / "wal"
        if log.is_symlink():
            return
        shutil.move(log, elsewhere)
        if self._drop:
            for moved in (elsewhere, *elsewhere.rglob("*")):
                os.chown(moved, self._drop.pw_uid, self._drop.pw_gid)
        log.symlink_to(elsewhere)


class Disk:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resize(self, size_mb: float) -> None:
        mount("-o", f"remount,size={int(size_mb * 1024)}k", self._folder)

    def fill(self) -> None:
        """Leaves it LEFT_MB."""
        found = os.statvfs(self._folder)
        used_mb = (found.f_blocks - found.f_bfree) * found.f_frsize / MB
        self.resize(used_mb + LEFT_MB)


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


@pytest.fixture
def disk_and_product() -> Iterator[tuple[Disk, Product]]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a small file system")
    with (
        temporary_state_dir() as folder,
        small_disk(folder / "postgres18") as disk,
        running_product(folder, postgres_kind=PostgresOnSmallDisk) as product,
    ):
        yield disk, product


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={ROOMY_MB}m,mode=700", "tmpfs", folder)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_told_of_and_waited_for(disk_and_product: tuple[Disk, Product]) -> None:
    disk, product = disk_and_product
    product.client.call("POST", f"/api/billstack/teams/{product.team_id}/stripe/webhook", {})
    product.sandbox.call("PUT", "deliveries", retry_after_s=[5] * 60)
    disk.fill()

    product.client.start_backfill(product.team_id)
    full = product.wait_for(lambda status: any(SAYS_FULL in each for each in status["warnings"]))
    product.sandbox.change(200, account=product.account, seed=3)
    assert refusal(product, "/readyz") == (503, "not_ready")
    wait_until_some_are_refused(product)

    assert SAYS_FULL in page(product)
    assert full["syncStatus"] == "syncing"
    time.sleep(NOTED_FOR_S)  # by now it was noted again
    still = product.wait_for(lambda _: True)
    assert still["syncStatus"] == "syncing"
    assert any(SAYS_FULL in each for each in still["warnings"])
    disk.resize(ROOMY_MB)
    status = product.wait_while_syncing(180)
    wait_until_delivered(product)
    wait_until_quiet(product)

    assert status["syncStatus"] == "ready", status
    assert product.differences() == []
    product.wait_for(lambda status: status["warnings"] == [])
    assert wait_until(lambda: answers(f"{product.stack.url}/readyz"), NOTED_FOR_S)


def page(product: Product) -> str:
    """Without its quotes' escapes."""
    address = f"{product.stack.url}/teams/{product.team_id}/stripe"
    answer = urllib3.request("GET", address, headers={"Cookie": product.client.cookie})
    assert answer.status == 200
    return html.unescape(answer.data.decode())


def refusal(product: Product, path: str) -> tuple[int, str]:
    with pytest.raises(ApiError) as refused:
        product.client.call("GET", path)
    return refused.value.status, refused.value.code


def wait_until_some_are_refused(product: Product) -> None:
    """Deliveries of webhooks. Those that still had room were taken."""
    deadline = time.monotonic() + 60
    while not (found := webhook_answers(product)) & {503}:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    assert found <= {200, 503}


def webhook_answers(product: Product) -> set[int]:
    lines = [
        json.loads(line) for line in (product.stack.log_dir / "web.log").read_text().splitlines() if line[:1] == "{"
    ]
    answered = [line for line in lines if line["event"] == "request.answered"]
    return {line["status"] for line in answered if "/webhook" in line["path"] and "/teams/" not in line["path"]}
