"""What forms say and keep: choices are offered, nothing is left of the last time, sentences read right."""

import re
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Page, expect

from api.dashboard import key_permissions
from sync.object_types import DEFAULT_TYPES, in_order
from tests.browser.conftest import sign_in
from tests.end_to_end.product import Installation, Product, sign_up

pytestmark = pytest.mark.browser


@pytest.fixture
def page(synced: Product, open_page: Callable[..., Page]) -> Page:
    page = open_page(synced.stack.url)
    sign_in(page, synced.email)
    return page


def test_who_of_several_stripe_customers_is_meant_can_be_picked(synced: Product, page: Page):
    """Their own ids too, which a text field would have to be typed into."""
    for id, name in (("Team/A 1", "Ada at work"), ("cus_home", "Ada at home")):
        synced.stripe("POST", "/v1/customers", id=id, email="ada@several.example", name=name)
    project = synced.client.call("POST", f"/api/billstack/teams/{synced.team_id}/projects", {"name": "Shop"})["project"]
    page.goto(f"/teams/{synced.team_id}/projects/{project['id']}")
    page.get_by_role("button", name="Add customer").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("E-mail").fill("ada@several.example")
    dialog.get_by_role("button", name="Add", exact=True).click()

    expect(dialog.get_by_role("radio")).to_have_count(2)
    dialog.get_by_label("E-mail").fill("ada@several.example ")
    expect(dialog.get_by_role("radio")).to_have_count(0)  # they were another address'
    dialog.get_by_role("button", name="Add", exact=True).click()
    dialog.get_by_role("radio", name="Team/A 1").check()
    dialog.get_by_role("button", name="Add", exact=True).click()

    expect(page.get_by_role("link", name="Team/A 1")).to_be_visible()
    page.get_by_role("link", name="Team/A 1").click()
    expect(page.get_by_role("heading", name="ada@several.example")).to_be_visible()


def test_a_dialog_keeps_nothing_of_the_last_time(synced: Product, page: Page):
    page.goto(f"/teams/{synced.team_id}/stripe")
    page.get_by_role("button", name="Sync data").click()
    dialog = page.get_by_role("dialog", name="Sync data")
    for box in dialog.get_by_role("checkbox").all():
        box.uncheck()
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.get_by_role("alert")).to_have_text("Choose at least one kind of object.")
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Sync data").click()

    expect(dialog.get_by_role("alert")).to_be_hidden()
    assert all(box.is_checked() for box in dialog.get_by_role("checkbox").all())


def test_a_new_key_is_in_the_list_and_its_secret_gone_however_the_dialog_is_left(synced: Product, page: Page):
    page.goto(f"/teams/{synced.team_id}/api-keys")
    page.get_by_role("button", name="New key").click()
    dialog = page.get_by_role("dialog")
    boxes = dialog.get_by_role("checkbox")
    assert not any(box.is_checked() for box in boxes.all())
    dialog.get_by_role("textbox", name="Name").fill("Back end")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert")).to_have_text("Choose what programs with this key may do.")
    boxes.first.check()
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_label("API key")).to_have_value(re.compile("^bs_"))
    secret = dialog.get_by_label("API key").input_value()

    page.keyboard.press("Escape")

    expect(page.get_by_role("cell", name="Back end", exact=True)).to_be_visible()
    assert secret not in page.content()
    page.get_by_role("button", name="New key").click()
    expect(dialog.get_by_role("textbox", name="Name")).to_have_value("")
    expect(dialog.get_by_text("This is the key")).to_be_hidden()
    assert page.evaluate("[...document.querySelectorAll('input')].every((field) => !field.value.startsWith('bs_'))")


def test_connecting_says_which_permissions_a_key_needs_and_what_is_wrong_with_one(
    installation: Installation, open_page: Callable[..., Page]
):
    sign_up(installation.stack, "fresh@example.com", "Fresh")
    page = open_page(installation.stack.url)
    sign_in(page, "fresh@example.com")

    link = urlsplit(page.get_by_role("link", name="create one in Stripe").get_attribute("href") or "")
    assert (link.hostname, link.path) == ("dashboard.stripe.com", "/apikeys/create")
    asked = [value for name, value in parse_qsl(link.query) if name.startswith("permissions[")]
    assert {each.permission for each in in_order(DEFAULT_TYPES)} <= set(asked)
    page.get_by_text("Permissions that a restricted key needs").click()
    for permission in asked:
        expect(page.get_by_role("cell", name=permission)).to_be_visible()

    def problem_of(key: str) -> str:
        page.get_by_label("Secret key").fill(key)
        page.get_by_role("button", name="Connect", exact=True).click()
        expect(page.locator("form[aria-busy=false] .problem")).to_be_visible()
        return page.locator(".problem:visible").inner_text()

    assert problem_of("pk_test_1") == "Secret key must begin with sk_test_, sk_live_, rk_test_ or rk_live_."
    refused = problem_of("sk_test_nobodys")
    assert refused.startswith("Stripe does not accept this key: ")
    assert ". Copy the secret key from Stripe's dashboard again." in refused


def test_the_permissions_that_the_page_lists_are_enough(installation: Installation):
    """The sandbox refuses as Stripe does: what the link asks for mirrors all types and sets the webhook up."""
    installation.sandbox.add_account("narrow", scale=0.01)
    permissions = [each.name for each in key_permissions.needed(DEFAULT_TYPES)]
    key = installation.sandbox.call("POST", "keys", account="narrow", permissions=permissions)["key"]
    client, team_id = sign_up(installation.stack, "narrow@example.com", "Narrow")
    client.connect(team_id, key)
    product = Product(installation.stack, installation.sandbox, client, team_id, "narrow", "narrow@example.com")

    status = product.backfill()

    assert (status["syncStatus"], status["warnings"]) == ("ready", [])
    assert product.differences() == []
    assert client.call("POST", f"/api/billstack/teams/{team_id}/stripe/webhook", {})
