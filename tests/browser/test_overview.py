"""The overview of a large mirror shows what was computed last, and by itself what is computed meanwhile."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from api.numbers.kept import SMALL
from tests.browser.conftest import PATIENCE_MS, sign_in
from tests.end_to_end.product import Product

pytestmark = pytest.mark.browser

# By this the overview takes the mirror for a large one.
COUNTED = (
    "UPDATE billstack.row_counts SET live = live {} WHERE schema_name = %s AND table_name = 'subscriptions' RETURNING 1"
)
GROWN_OLD = """
    UPDATE billstack.kept_numbers
    SET computed_at = now() - interval '1 hour', found = jsonb_set(found, '{failedPayments}', '987654')
    WHERE team_id = %s
    RETURNING 1
"""


def test_new_numbers_come_by_themselves(synced: Product, open_page: Callable[..., Page]):
    page = open_page(synced.stack.url)
    sign_in(page, synced.email)
    overview, schema = f"/teams/{synced.team_id}/overview", f"stripe_{synced.team_id}"
    synced.sql(COUNTED.format(f"+ {SMALL}"), schema)
    try:
        page.goto(overview)
        expect(page.locator("#numbers .figures")).to_be_visible(timeout=PATIENCE_MS)
        synced.sql(GROWN_OLD, synced.team_id)

        answer = page.goto(overview)

        assert answer
        assert "987,654" in answer.text()
        assert "newer ones are being computed" in answer.text()
        expect(page.get_by_text("987,654")).to_have_count(0, timeout=PATIENCE_MS)
        expect(page.locator("#numbers")).not_to_have_attribute("data-renewed", "")
    finally:
        synced.sql(COUNTED.format(f"- {SMALL}"), schema)
