"""The switches of the object types: names and costs are readable at every width."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from sync.object_types import OBJECT_TYPES
from tests.browser.conftest import sign_in
from tests.end_to_end.product import Product

pytestmark = pytest.mark.browser

# How many lines each text takes that is directly in a row's heading, and in its <small>.
LINES = """headings => headings.map(heading => {
    const range = document.createRange()
    const lines = node => { range.selectNodeContents(node); return range.getClientRects().length }
    const texts = [heading.firstChild, heading.querySelector('small')].filter(Boolean)
    return [heading.textContent.trim(), ...texts.map(lines)]
})"""


@pytest.mark.parametrize("width", [1440, 900, 390])
def test_a_types_name_and_its_cost_take_a_line_each(synced: Product, open_page: Callable[..., Page], width: int):
    page = open_page(synced.stack.url, viewport={"width": width, "height": 900})
    sign_in(page, synced.email)
    page.goto(f"/teams/{synced.team_id}/stripe")

    page.locator("#types summary").click()

    found = page.locator("#types th[scope=row]").evaluate_all(LINES)
    assert len(found) == len(OBJECT_TYPES)
    assert [heading for heading, *lines in found if set(lines) != {1}] == []
    assert len([lines for _, *lines in found if len(lines) == 2]) == 3, "what is listed by customer has a cost"
