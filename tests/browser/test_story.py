"""What a person does with BillStack from the first visit on, in a browser, on the real processes."""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from scripts.api_client import ApiClient
from scripts.local.stack import Stack
from scripts.sandbox.running import SandboxProcess
from tests.browser.conftest import PATIENCE_MS, sign_in
from tests.end_to_end.product import PASSWORD, Product

pytestmark = pytest.mark.browser

expect.set_options(timeout=PATIENCE_MS)
KEY = "sk_test_demo"
# Without the permissions for subscriptions, invoices and charges.
SOME_PERMISSIONS = ["rak_accounts_kyc_basic_read", "rak_customer_read", "rak_product_read", "rak_event_read"]


def test_from_the_first_visit_to_a_mirror(fresh_stack: Stack, sandbox: SandboxProcess, open_page: Callable[..., Page]):
    page = open_page(fresh_stack.url)
    first_run(page, fresh_stack)
    team_id = re.search(r"/teams/(\w+)/stripe", page.url)[1]
    product = Product(fresh_stack, sandbox, ApiClient(fresh_stack.url), team_id)

    connect(page)
    a_killed_worker_does_not_stop_the_bar(page, product)
    a_failing_type_is_shown_and_repaired(page, sandbox)
    explore(page)
    project_customer_and_key(page)
    another_team_sees_none_of_it(fresh_stack, team_id, open_page)
    sign_out_everywhere(page)


def first_run(page: Page, stack: Stack) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", name="Set up BillStack")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    page.goto(stack.flask("set-up-link").strip())
    expect(page.get_by_role("heading", name="Set up BillStack")).to_be_visible()
    page.get_by_label("E-mail").fill("founder@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Team").fill("Acme")
    page.get_by_role("button", name="Create the first account").click()
    expect(page.get_by_role("heading", name="Connect your Stripe account")).to_be_visible()


def connect(page: Page) -> None:
    page.get_by_label("Secret key").fill("sk_test_nobody")
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("alert")).to_contain_text("key")
    page.get_by_label("Secret key").fill(KEY)
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_text("Test mode")).to_be_visible()
    assert KEY not in page.content()


def a_killed_worker_does_not_stop_the_bar(page: Page, product: Product) -> None:
    product.slow_stripe(400)
    start_sync(page)
    expect(page.get_by_role("button", name="Cancel sync")).to_be_visible()
    wait_until(lambda: shown_total(page) > 0)
    assert product.kill_work_horse()
    at_kill = shown_total(page)
    wait_until(lambda: shown_total(page) > at_kill or is_ready(page))
    product.slow_stripe(0)
    # The dead worker's lease ends after 30 s, then another worker goes on.
    expect(data_badge(page)).to_have_text("Done", timeout=120_000)
    expected = sum(product.sandbox.call("GET", "accounts")[0]["counts"][name] for name in TYPES)
    assert shown_total(page) >= expected * 0.99
    expect(page.locator("#history").get_by_text("Done")).to_be_visible()
    expect(page.locator("#sync-button")).to_be_focused()


def a_failing_type_is_shown_and_repaired(page: Page, sandbox: SandboxProcess) -> None:
    restricted = sandbox.call("POST", "keys", account="demo", permissions=SOME_PERMISSIONS)["key"]
    replace_key(page, restricted)
    start_sync(page)
    expect(data_badge(page)).to_have_text("Failed in part", timeout=120_000)
    expect(page.locator("#sync .problem").filter(has_text="Invoices:")).to_be_visible()
    expect(page.locator("tr[data-type=customer]")).to_contain_text("Done")
    replace_key(page, KEY)
    start_sync(page)
    expect(data_badge(page)).to_have_text("Done", timeout=120_000)
    expect(page.locator("#sync .problem")).to_have_count(0)


def explore(page: Page) -> None:
    go(page, "Customers")
    email = page.locator("tbody a").filter(has_text="@").first.inner_text()
    page.get_by_label("E-mail or id").fill(email.swapcase())
    page.get_by_role("button", name="Show").click()
    page.locator("tbody a").first.click()
    expect(page.get_by_role("heading", name="Invoices")).to_be_visible()
    page.get_by_text("As Stripe sent it").click()
    expect(page.get_by_role("region", name="JSON")).to_contain_text('"object": "customer"')
    assert (
        page.get_by_role("link", name="Open in Stripe")
        .get_attribute("href")
        .startswith("https://dashboard.stripe.com/acct_")
    )


def project_customer_and_key(page: Page) -> None:
    go(page, "Projects")
    page.get_by_role("button", name="New project").click()
    page.get_by_label("Name").fill("Rocket")
    create(page)
    go(page, "Rocket")
    page.get_by_role("button", name="Add customer").click()
    page.get_by_role("dialog").get_by_label("E-mail").fill("ada@example.com")
    page.get_by_role("dialog").get_by_role("button", name="Add").click()
    expect(page.get_by_role("cell", name="ada@example.com", exact=True)).to_be_visible()

    go(page, "API keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_role("textbox", name="Name").fill("Back end")
    page.get_by_role("checkbox", name="customers:read").check()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_label("API key", exact=True)).to_have_value(re.compile(r"bs_[0-9a-f]{48}"))
    raw_key = page.get_by_label("API key", exact=True).input_value()
    with page.expect_navigation():
        page.get_by_role("button", name="Done").click()
    expect(page.get_by_text("Back end")).to_be_visible()
    assert raw_key not in page.content()
    page.get_by_role("button", name="Revoke Back end").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("No API keys yet.")).to_be_visible()


def another_team_sees_none_of_it(stack: Stack, team_id: str, open_page: Callable[..., Page]) -> None:
    stack.flask("create-user", "--email", "eve@example.com", "--team", "Other", says=PASSWORD)
    page = open_page(stack.url)
    sign_in(page, "eve@example.com")
    expect(page.get_by_role("heading", name="Connect your Stripe account")).to_be_visible()
    for place in ("stripe", "explore/customers", "projects", "api-keys", "members"):
        answer = page.goto(f"/teams/{team_id}/{place}")
        assert answer.status == 404
        expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()


def sign_out_everywhere(page: Page) -> None:
    page.get_by_text("founder@example.com").first.click()
    page.get_by_role("button", name="Sign out everywhere").click()
    page.wait_for_url("**/sign-in")
    page.goto("/operators")
    expect(page).to_have_url(re.compile(r"/sign-in\?next=/operators$"))


TYPES = ("customer", "product", "price", "subscription", "invoice", "charge")


def go(page: Page, link: str) -> None:
    """Waits for the page's scripts, as a person does without noticing."""
    with page.expect_navigation():
        page.get_by_role("link", name=link).click()


def create(page: Page) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name="Create").click()


def start_sync(page: Page) -> None:
    page.get_by_role("button", name="Sync data").click()
    page.get_by_role("dialog").get_by_role("button", name="Start").click()


def replace_key(page: Page, key: str) -> None:
    page.get_by_text("Replace the keys").first.click()
    page.get_by_label("Secret key").fill(key)
    with page.expect_navigation():
        page.get_by_role("button", name="Replace the keys").click()


def data_badge(page: Page):
    return page.locator("#sync .title-row .badge")


def shown_total(page: Page) -> int:
    place = page.locator("[data-field=total]")
    return int(place.inner_text().replace(",", "")) if place.count() else 0


def is_ready(page: Page) -> bool:
    return data_badge(page).inner_text() == "Done"


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
