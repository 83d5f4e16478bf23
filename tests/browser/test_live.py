"""The live view in a browser: it follows the stream, asks by itself where there is none, and lets go when nobody looks."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import PATIENCE_MS, sign_in
from tests.end_to_end.product import Installation, Product

pytestmark = pytest.mark.browser

expect.set_options(timeout=PATIENCE_MS)

STREAM, STATUS = re.compile(r"/status/stream$"), re.compile(r"/status$")
TROUBLE = "BillStack does not answer; trying again"
# A sync then takes some twenty seconds, in half of which the numbers move.
LATENCY_MS, SPREAD = 1000, 0.5


@pytest.fixture(scope="module")
def slow(installation: Installation) -> Product:
    return installation.new_team("slow")


@pytest.fixture
def product(slow: Product) -> Iterator[Product]:
    """No sync runs before and after."""
    slow.sandbox.call("PUT", "latency", ms=LATENCY_MS, sigma=SPREAD)
    yield slow
    slow.client.call("POST", f"/api/billstack/teams/{slow.team_id}/stripe/backfill/cancel", {})
    slow.slow_stripe(0)


@pytest.fixture
def page(product: Product, open_page: Callable[..., Page]) -> Page:
    page = open_page(product.stack.url)
    sign_in(page, product.email)
    return page


def visit(page: Page, product: Product) -> None:
    page.goto(f"/teams/{product.team_id}/stripe")
    page.wait_for_function("'ready' in document.documentElement.dataset")


def total_moves(page: Page) -> None:
    """Twice: the first number may come with the page."""
    total = page.locator("[data-field=total]")
    for _ in range(2):
        expect(total).not_to_have_text(total.inner_text())


def test_the_bars_move_by_the_stream_alone(product: Product, page: Page):
    page.route(STATUS, lambda route: route.abort())
    visit(page, product)

    product.client.start_backfill(product.team_id)

    expect(page.get_by_role("button", name="Cancel sync")).to_be_visible()
    total_moves(page)


def test_where_the_stream_is_refused_the_page_asks_by_itself(product: Product, page: Page):
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.fulfill(status=503, headers={"Retry-After": "5"}, json={"error": "too many", "code": "too_many_streams"})

    page.route(STREAM, refuse)
    product.client.start_backfill(product.team_id)
    visit(page, product)

    total_moves(page)
    assert len(refused) == 1  # and not again and again


def test_a_stream_that_breaks_off_twice_is_given_up_for_a_while(product: Product, page: Page):
    broken: list[str] = []

    def break_off(route: Route) -> None:
        broken.append(route.request.url)
        route.fulfill(status=200, content_type="text/event-stream", body="retry: 50\n\n")

    page.route(STREAM, break_off)
    product.client.start_backfill(product.team_id)
    visit(page, product)

    total_moves(page)
    assert len(broken) == 2


def test_the_page_says_that_nothing_can_be_read_and_recovers(product: Product, page: Page):
    product.client.start_backfill(product.team_id)
    body = "retry: 50\n\nevent: away\ndata: {}\n\n"
    page.route(STREAM, lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body))
    visit(page, product)
    eta = page.locator("[data-field=eta]")
    expect(eta).to_have_text(TROUBLE)

    page.unroute(STREAM)

    expect(eta).not_to_have_text(TROUBLE)
    total_moves(page)


def test_a_page_that_nobody_sees_holds_no_stream(product: Product, page: Page):
    visit(page, product)
    product.client.start_backfill(product.team_id)
    expect(page.get_by_role("button", name="Cancel sync")).to_be_visible()

    with page.expect_event("requestfailed", lambda request: bool(STREAM.search(request.url))):
        set_hidden(page, True)
    with page.expect_request(STREAM):
        set_hidden(page, False)
    total_moves(page)


def set_hidden(page: Page, is_hidden: bool) -> None:
    """As when another tab comes to the front, which a headless browser cannot do."""
    page.evaluate(
        """(isHidden) => {
            Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )
