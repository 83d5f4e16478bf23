"""The search by keyboard alone, from any page, and as a plain form."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.end_to_end.product import Product

pytestmark = pytest.mark.browser


@pytest.fixture
def two_customers(synced: Product) -> None:
    """Of the same name."""
    insert = "INSERT INTO {team}.customers (id, raw, as_of, as_of_until) VALUES (%s, %s, 1, 1) ON CONFLICT DO NOTHING"
    for id in ("cus_found_1", "cus_found_2"):
        body = {"id": id, "object": "customer", "created": 1, "email": f"{id}@example.com", "name": "Çiğdem Zyx"}
        synced.sql(f"{insert} RETURNING id", id, json.dumps(body))


@pytest.mark.usefixtures("two_customers")
def test_a_customer_is_found_without_a_mouse(synced: Product, open_page: Callable[..., Page]):
    page = open_page(synced.stack.url)
    sign_in(page, synced.email)
    page.goto(f"/teams/{synced.team_id}/members")

    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("zyx")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=*")
    expect(page.locator("#hits a")).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")

    expect(page.locator("dl code").first).to_have_text("cus_found_1")
    page.get_by_role("searchbox").fill("a/b")  # a slash in a field is a letter
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_have_value("a/b/")


@pytest.mark.usefixtures("two_customers")
def test_without_script_the_search_is_a_form(synced: Product, open_page: Callable[..., Page]):
    signed_in = open_page(synced.stack.url)
    sign_in(signed_in, synced.email)
    page = open_page(synced.stack.url, java_script_enabled=False, storage_state=signed_in.context.storage_state())
    page.goto(f"/teams/{synced.team_id}/overview")

    page.get_by_role("searchbox").fill("cus_found_2")
    page.get_by_role("searchbox").press("Enter")

    expect(page.locator("dl code").first).to_have_text("cus_found_2")
