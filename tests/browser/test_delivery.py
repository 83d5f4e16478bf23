"""How pages come to a browser: few requests, kept files, words without script, a sheet of paper."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.end_to_end.product import Product

pytestmark = pytest.mark.browser


def test_a_page_needs_few_requests_and_the_next_one_hardly_any(synced: Product, open_page: Callable[..., Page]):
    page = open_page(synced.stack.url)
    sign_in(page, synced.email)
    address = f"/teams/{synced.team_id}/explore/customers"
    page.goto(address)

    sizes = page.evaluate("performance.getEntriesByType('resource').map((each) => [each.name, each.transferSize])")

    assert len({name for name, _ in sizes}) <= 4
    assert all(size == 0 for _, size in sizes), sizes  # kept from the page before


def test_without_script_the_sign_in_says_that_it_needs_it(synced: Product, open_page: Callable[..., Page]):
    page = open_page(synced.stack.url, java_script_enabled=False)
    page.goto("/sign-in")

    expect(page.get_by_text("BillStack's pages need JavaScript")).to_be_visible()
    expect(page.get_by_role("button", name="Sign in")).to_be_hidden()


def test_paper_shows_the_page_without_its_navigation(synced: Product, open_page: Callable[..., Page]):
    page = open_page(synced.stack.url)
    sign_in(page, synced.email)
    for place in ("stripe", "explore/invoices"):
        page.goto(f"/teams/{synced.team_id}/{place}")
        page.emulate_media(media="print")
        expect(page.get_by_role("navigation")).to_have_count(0)
        expect(page.get_by_role("banner")).to_be_hidden()
        expect(page.get_by_role("button")).to_have_count(0)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.emulate_media(media="screen")


def test_the_api_reference_is_read_by_opening_what_one_looks_for(synced: Product, open_page: Callable[..., Page]):
    page = open_page(synced.stack.url)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto("/api/docs")

    assert page.evaluate("document.documentElement.scrollHeight") < 9000
    page.get_by_text("/api/auth/sign-in", exact=True).click()
    expect(page.get_by_text("curl -X POST").first).to_be_visible()
