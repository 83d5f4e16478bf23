"""What the Stripe page says is so, also after something failed: canceled, selective, failed, disconnected, stuck, changed."""

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from scripts.benchmark.processes import children
from sync.object_types import DEFAULT_TYPES, in_order
from tests.browser.conftest import PATIENCE_MS, sign_in
from tests.end_to_end.product import Installation, Product

pytestmark = pytest.mark.browser

expect.set_options(timeout=PATIENCE_MS)

CUSTOMERS_AND_PRODUCTS = ["rak_accounts_kyc_basic_read", "rak_customer_read", "rak_product_read", "rak_event_read"]


@pytest.fixture
def new_product(installation: Installation) -> Iterator[Callable[..., Product]]:
    """Makes teams; what slows the sandbox down is gone afterwards, and no sync runs on."""
    made: list[Product] = []

    def create(name: str, scale: float = 0.1) -> Product:
        made.append(installation.new_team(name, scale=scale))
        return made[-1]

    yield create
    installation.sandbox.call("DELETE", "faults")
    installation.sandbox.call("PUT", "latency", ms=0)
    for product in made:
        product.client.call("POST", f"/api/billstack/teams/{product.team_id}/stripe/backfill/cancel", {})


@pytest.fixture
def visit(open_page: Callable[..., Page]) -> Callable[[Product], Page]:
    def to_stripe_page(product: Product) -> Page:
        page = open_page(product.stack.url)
        sign_in(page, product.email)
        page.goto(f"/teams/{product.team_id}/stripe")
        page.wait_for_function("'ready' in document.documentElement.dataset")
        return page

    return to_stripe_page


def mirror_badge(page: Page) -> Locator:
    return page.locator("#mirror .title-row .badge")


def run_badge(page: Page) -> Locator:
    return page.locator("#sync .title-row .badge")


def fact(page: Page, name: str) -> Locator:
    return page.locator("#summary .facts > div").filter(has_text=name).locator("dd")


def rows(product: Product) -> dict[str, int]:
    found = {}
    for table in (object_type.table for object_type in in_order(DEFAULT_TYPES)):
        statement = "SELECT count(*) FROM {team}.TABLE WHERE deleted_at IS NULL"
        ((found[table],),) = product.sql(statement.replace("TABLE", table))
    return found


def shows_what_is_there(page: Page, product: Product) -> None:
    """Each type, and all together, as they are in Postgres now."""
    there = rows(product)
    for name, object_type in ((each.name, each) for each in in_order(DEFAULT_TYPES)):
        place = page.locator(f"tr[data-mirror={name}] [data-field=objects]")
        expect(place).to_have_text(f"{there[object_type.table]:,}")
    expect(page.locator("[data-field=mirror-total]")).to_have_text(f"{sum(there.values()):,}")


def test_a_canceled_first_sync_leaves_rows_that_are_shown_and_not_called_complete(new_product, visit):
    product = new_product("canceled", scale=1)
    product.slow_stripe(1000)
    page = visit(product)
    expect(mirror_badge(page)).to_have_text("Empty")
    expect(page.locator("#mirror")).to_contain_text("Nothing is mirrored yet.")
    product.client.start_backfill(product.team_id)
    expect(mirror_badge(page)).to_have_text("Filling")
    expect(page.locator("[data-field=mirror-total]")).not_to_have_text("0")

    page.get_by_role("button", name="Cancel sync").click()
    page.get_by_role("button", name="Cancel it").click()

    expect(run_badge(page)).to_have_text("Canceled")
    expect(mirror_badge(page)).to_have_text("Incomplete")
    expect(page.locator("#mirror")).to_contain_text("The last sync was canceled")
    expect(fact(page, "Last full sync")).to_have_text("never")
    expect(page.get_by_text("Nothing is mirrored yet")).to_have_count(0)
    assert sum(rows(product).values()) > 0
    shows_what_is_there(page, product)


def test_a_selective_sync_changes_neither_the_mirrors_numbers_nor_the_last_full_sync(new_product, visit):
    product = new_product("selective")
    product.backfill()
    page = visit(product)
    moment = fact(page, "Last full sync").locator("time").get_attribute("datetime")
    product.backfill(objects=["product", "price"])

    expect(page.locator("#sync")).to_contain_text("Only products, prices.")
    expect(run_badge(page)).to_have_text("Done")
    expect(page.locator("[data-field=written]")).to_have_text("0")
    expect(mirror_badge(page)).to_have_text("Complete")
    assert fact(page, "Last full sync").locator("time").get_attribute("datetime") == moment
    shows_what_is_there(page, product)
    assert len(rows(product)) == len(DEFAULT_TYPES)


def test_a_failed_type_keeps_its_rows_and_the_page_says_so(new_product, visit):
    product = new_product("failed")
    product.backfill()
    before = rows(product)
    page = visit(product)
    key = product.sandbox.call("POST", "keys", account=product.account, permissions=CUSTOMERS_AND_PRODUCTS)["key"]
    product.client.connect(product.team_id, key)
    product.backfill()

    expect(run_badge(page)).to_have_text("Failed in part")
    expect(page.locator("#sync .problem").filter(has_text="Invoices:")).to_be_visible()
    expect(page.locator("#sync")).to_contain_text("The mirror keeps its earlier rows of the types that failed.")
    expect(page.get_by_text("All else is in the mirror")).to_have_count(0)
    expect(page.locator("tr[data-mirror=invoice]")).to_contain_text("Complete")
    shows_what_is_there(page, product)
    assert rows(product) == before


def test_a_disconnected_mirror_is_not_green(new_product, visit):
    product = new_product("disconnected")
    product.backfill()
    page = visit(product)
    expect(mirror_badge(page)).to_have_class(re.compile("good"))

    product.client.call("DELETE", f"/api/billstack/teams/{product.team_id}/stripe/connect", {})

    expect(mirror_badge(page)).to_have_text("Disconnected")
    expect(page.locator("#mirror .badge.good")).to_have_count(0)
    expect(page.locator("#mirror")).to_contain_text("BillStack no longer reads from Stripe.")
    shows_what_is_there(page, product)


def test_events_and_comparisons_move_the_page_without_a_reload(new_product, visit):
    product = new_product("changing")
    product.backfill()
    product.client.call("POST", f"/api/billstack/teams/{product.team_id}/stripe/webhook", {})
    page = visit(product)
    page.evaluate("window.wasNotReloaded = true")
    expect(fact(page, "Last event")).to_have_text("never")
    drawn = page.locator("#activity figcaption").last.inner_text()

    for number in range(3):
        product.stripe("POST", "/v1/customers", email=f"new{number}@example.com")
    expect(page.locator("#summary time[data-field=last-event]")).to_be_visible()
    product.wait_for(lambda status: status["mirror"]["customer"]["objects"] == 128)

    expect(page.locator("tr[data-mirror=customer] [data-field=objects]")).to_have_text("128")
    shows_what_is_there(page, product)
    expect(page.locator("#activity figcaption").last).not_to_have_text(drawn)
    page.get_by_role("button", name="Compare now").click()
    total = f"{sum(rows(product).values()):,}"
    expect(page.locator("#reconcile")).to_contain_text(f"All {total} objects were equal to Stripe's")
    expect(page.locator("[data-field=mirror-total]")).to_have_text(total)
    assert page.evaluate("window.wasNotReloaded")


def test_the_webhook_card_follows_from_none_to_active_without_a_reload(new_product, visit):
    product = new_product("hooked")
    product.backfill()
    page = visit(product)
    page.evaluate("window.wasNotReloaded = true")
    card = page.locator("#webhook")
    badge, facts = card.locator(".title-row .badge"), card.locator(".facts dd")
    expect(badge).to_have_text("Not set up")
    expect(facts).to_have_text(["never", "—", "none"])

    card.get_by_role("button", name="Set up the webhook at Stripe").click()

    expect(badge).to_have_text("Waiting for the first event")
    expect(facts).to_have_text(["never", "—", re.compile(r"^we_\w+$")])
    expect(card.get_by_role("button", name="Check and repair the webhook")).to_be_enabled()
    expect(card.locator("#webhook-unreachable")).to_contain_text("Stripe cannot reach 127.0.0.1")

    product.stripe("POST", "/v1/customers", email="hooked@example.com")

    expect(badge).to_have_text("Active")
    expect(badge).to_have_class(re.compile("good"))
    expect(facts.first.locator("time")).to_be_visible()
    expect(facts.nth(1)).not_to_have_text("—")
    expect(card.locator("#webhook-unreachable")).to_have_count(0)
    assert page.evaluate("window.wasNotReloaded")


def test_retries_are_shown_with_status_attempt_and_request(new_product, visit):
    product = new_product("retried", scale=1)
    product.slow_stripe(300)
    page = visit(product)
    product.client.start_backfill(product.team_id)
    expect(run_badge(page)).to_have_text("Syncing")
    product.sandbox.call("PUT", "faults", faults=[{"kind": "500", "share": 1.0, "path": "/v1/invoices"}])

    told = re.compile(
        r"Stripe answered 500 to /v1/invoices\S*, request req_\w+: attempt \d+ of 15 failed, the next starts"
    )
    expect(page.locator("[data-field=notice]")).to_have_text(told)
    status = product.client.status(product.team_id)["backfill"]
    assert status["retries"]["invoice"]["status"] == 500
    assert status["etaSeconds"] is None

    product.sandbox.call("DELETE", "faults")
    product.slow_stripe(0)
    expect(run_badge(page)).to_have_text("Done", timeout=90_000)
    expect(page.locator("[data-field=notice]:visible")).to_have_count(0)


def test_with_all_workers_dead_the_page_says_so_and_promises_no_end(new_product, visit):
    product = new_product("stuck", scale=1)
    product.slow_stripe(1000)
    page = visit(product)
    product.client.start_backfill(product.team_id)
    expect(page.locator("[data-field=total]")).not_to_have_text("0")
    with dead_workers(product):
        expect(page.locator("[data-field=notice]")).to_contain_text(
            re.compile("worker(s)? stopped|no worker is running")
        )
        expect(page.locator("[data-field=speed]")).to_have_text("")
        expect(page.locator("[data-field=eta]")).to_have_text("")
        expect(page.locator("[data-field=notice]")).to_contain_text(re.compile(r"^No progress for \d+ s: "))
    product.slow_stripe(0)

    expect(run_badge(page)).to_have_text("Done", timeout=120_000)
    assert product.differences() == []


@contextlib.contextmanager
def dead_workers(product: Product) -> Iterator[None]:
    """All of them killed, and the pool that would start others asleep."""
    pool = product.stack.processes.pids()["worker"]
    os.kill(pool, signal.SIGSTOP)
    try:
        for pid in [*product.work_horses(), *children(pool)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        yield
    finally:
        os.kill(pool, signal.SIGCONT)


def test_without_script_the_page_says_the_same(new_product, open_page):
    product = new_product("plain")
    product.backfill()
    page = open_page(product.stack.url)
    sign_in(page, product.email)
    cookies = page.context.cookies()
    plain = open_page(product.stack.url, java_script_enabled=False)
    plain.context.add_cookies(cookies)
    plain.goto(f"/teams/{product.team_id}/stripe")
    expect(mirror_badge(plain)).to_have_text("Complete")
    shows_what_is_there(plain, product)
    product.slow_stripe(1000)
    product.client.start_backfill(product.team_id)

    plain.reload()

    expect(run_badge(plain)).to_have_text("Syncing")
    product.slow_stripe(0)
    expect(run_badge(plain)).to_have_text("Done")  # it reads itself again
    shows_what_is_there(plain, product)


def test_a_bar_does_not_move_where_motion_is_not_wanted(new_product, open_page):
    product = new_product("still")
    product.backfill()
    page = open_page(product.stack.url, reduced_motion="reduce")
    sign_in(page, product.email)
    page.goto(f"/teams/{product.team_id}/stripe")
    page.locator("#sync summary").click()
    bar = page.locator("tr[data-type=customer] progress")
    full = bar.screenshot()

    bar.evaluate("bar => { bar.value = 0; bar.getBoundingClientRect(); }")
    empty = bar.screenshot()
    bar.evaluate("bar => { bar.value = 1; }")

    assert bar.screenshot() == full != empty
