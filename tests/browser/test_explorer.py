"""The explorer on a phone and on a wide screen: nothing is cut off, and any id leads to its page."""

import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from api.dashboard.mirror_tables import TABLES
from tests.browser.conftest import sign_in
from tests.end_to_end.product import Product

pytestmark = pytest.mark.browser

# Cells that end outside of their table or of the screen, and texts in cells of numbers that are not shown whole.
CUT_OFF = """() => [...document.querySelectorAll('.records td, .records th')].filter((cell) => {
  const box = cell.getBoundingClientRect();
  const isHidden = box.width === 0 || cell.closest('thead')?.getBoundingClientRect().width === 1;
  const isCut = cell.classList.contains('num') && cell.scrollWidth > cell.clientWidth + 1;
  return !isHidden && (box.right > innerWidth || box.left < 0 || isCut);
}).map((cell) => cell.textContent)"""


@pytest.fixture
def page(synced: Product, open_page: Callable[..., Page]) -> Page:
    page = open_page(synced.stack.url)
    sign_in(page, synced.email)
    return page


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440])
def test_no_table_is_cut_off_at_any_width(synced: Product, page: Page, width: int):
    page.set_viewport_size({"width": width, "height": 900})
    found = {}
    for table in TABLES:
        page.goto(f"/teams/{synced.team_id}/explore/{table}")
        found[table] = page.evaluate(CUT_OFF)

    assert {table: cut for table, cut in found.items() if cut} == {}


def test_a_phone_shows_cards_with_what_the_columns_say(synced: Product, page: Page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/teams/{synced.team_id}/explore/invoices")

    first, second = page.get_by_role("row").nth(1), page.get_by_role("row").nth(2)
    boxes = first.bounding_box(), second.bounding_box()
    assert boxes[0]
    assert boxes[1]
    assert boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"]
    assert first.evaluate("row => getComputedStyle(row.cells[1], '::before').content") == '"Status"'
    for title in ("Total", "Created"):
        expect(first.locator(f"td[data-title={title}]")).to_be_in_viewport()


def test_a_wide_screen_shows_when_a_charge_was_made(synced: Product, page: Page):
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"/teams/{synced.team_id}/explore/charges")

    expect(page.get_by_role("columnheader", name="Created")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("row").nth(1).locator("time")).to_be_in_viewport(ratio=1)


def test_a_table_that_goes_on_behind_an_edge_says_so(synced: Product, page: Page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/teams/{synced.team_id}/members")

    assert "linear-gradient" in page.locator(".scroll").first.evaluate("each => getComputedStyle(each).backgroundImage")


@pytest.mark.parametrize("id", ["Team plan $12/month", "..", "a+b %2F?#", 'o"brien'])
def test_a_browser_reaches_the_page_of_any_id(synced: Product, page: Page, id: str):
    body = json.dumps({"id": id, "object": "customer", "created": 2_000_000_000, "name": id})
    insert = "INSERT INTO {team}.customers (id, raw, as_of, as_of_until) VALUES (%s, %s, 1, 1) RETURNING id"
    synced.sql(insert, id, body)
    try:
        page.goto(f"/teams/{synced.team_id}/explore/customers?find={quote(id, safe='')}")
        page.get_by_role("table").get_by_role("link").click()

        expect(page.locator("dl code").first).to_have_text(id)
    finally:
        synced.sql("DELETE FROM {team}.customers WHERE id = %s RETURNING id", id)
