"""Accounts in a browser: an invitation, a team of one's own, a new password, and a session that ends while one types."""

import re
from collections.abc import Callable

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE_MS, sign_in
from tests.end_to_end.product import PASSWORD, Installation, sign_up

pytestmark = pytest.mark.browser

expect.set_options(timeout=PATIENCE_MS)
NEW_PASSWORD = "a horse of another colour"


@pytest.fixture
def stack(installation: Installation):
    return installation.stack


@pytest.fixture
def owner_page(stack, open_page: Callable[..., Page]) -> Page:
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        connection.execute("DELETE FROM billstack.users WHERE email LIKE '%@people.example'")
        connection.execute("DELETE FROM billstack.attempts")
    sign_up(stack, "owner@people.example", "People")
    page = open_page(stack.url)
    sign_in(page, "owner@people.example")
    return page


def test_somebody_is_invited_joins_and_makes_a_team_of_their_own(owner_page: Page, stack, open_page):
    link = invite(owner_page, "ada@people.example")

    ada = open_page(stack.url)
    ada.goto(link)
    expect(ada.get_by_role("heading", name="Join People")).to_be_visible()
    ada.get_by_label("Password").fill("password")
    ada.get_by_role("button", name="Create the account and join").click()
    expect(ada.get_by_role("alert")).to_contain_text("first passwords that attackers guess")
    ada.get_by_label("Password").fill(PASSWORD)
    ada.get_by_role("button", name="Create the account and join").click()
    ada.wait_for_url("**/teams/**")

    ada.get_by_text("People", exact=True).first.click()
    ada.get_by_role("link", name="New team").click()
    ada.get_by_label("Name").fill("Ada's own")
    ada.get_by_role("button", name="Create the team").click()
    expect(ada.get_by_role("heading", name="Connect your Stripe account")).to_be_visible()
    go(ada, "Members")
    ada.locator(".team-menu summary").click()
    ada.get_by_role("link", name="People").click()
    expect(ada.get_by_role("heading", name="Members")).to_be_visible()
    expect(ada.get_by_role("cell", name="owner@people.example")).to_be_visible()

    owner_page.reload()
    expect(owner_page.get_by_role("cell", name="ada@people.example", exact=True)).to_be_visible()
    expect(owner_page.get_by_role("heading", name="Invited")).to_have_count(0)
    go(owner_page, "Audit log")
    expect(owner_page.get_by_role("cell", name="member.joined")).to_be_visible()


def test_an_invited_person_with_an_account_signs_in_and_joins(owner_page: Page, stack, open_page):
    sign_up(stack, "bob@people.example", "Bob's")
    link = invite(owner_page, "bob@people.example")

    bob = open_page(stack.url)
    bob.goto(link)
    bob.get_by_role("link", name="I have an account: sign in").click()
    bob.get_by_label("E-mail").fill("bob@people.example")
    bob.get_by_label("Password").fill(PASSWORD)
    bob.get_by_role("button", name="Sign in").click()
    bob.get_by_role("button", name="Join the team").click()

    bob.wait_for_url("**/teams/**")
    expect(bob.locator(".team-menu summary")).to_contain_text("People")


def test_a_session_that_ends_loses_nothing_that_was_typed(owner_page: Page, stack):
    go(owner_page, "Projects")
    owner_page.get_by_role("button", name="New project").click()
    owner_page.get_by_label("Name").fill("Typed with much love")
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        connection.execute("DELETE FROM billstack.sessions")

    owner_page.get_by_role("button", name="Create").click()
    again = owner_page.get_by_role("dialog", name="Your session has ended")
    expect(again).to_contain_text("owner@people.example")
    again.get_by_label("Password").fill("wrong password")
    again.get_by_role("button", name="Sign in").click()
    expect(again.get_by_role("alert")).to_contain_text("wrong")
    again.get_by_label("Password").fill(PASSWORD)
    again.get_by_role("button", name="Sign in").click()

    expect(owner_page.get_by_role("link", name="Typed with much love")).to_be_visible()


def test_a_session_that_ends_can_be_left_ended(owner_page: Page, stack):
    go(owner_page, "Projects")
    owner_page.get_by_role("button", name="New project").click()
    owner_page.get_by_label("Name").fill("Typed with much love")
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        connection.execute("DELETE FROM billstack.sessions")

    owner_page.get_by_role("button", name="Create").click()
    owner_page.get_by_role("button", name="Not now").click()

    expect(owner_page.get_by_role("alert")).to_contain_text("Sign in first")
    expect(owner_page.get_by_label("Name")).to_have_value("Typed with much love")


def test_a_password_is_changed_and_other_devices_are_signed_out(owner_page: Page, stack, open_page):
    phone = open_page(stack.url)
    sign_in(phone, "owner@people.example")

    owner_page.locator(".user-menu summary").click()
    owner_page.get_by_role("link", name="Your account").click()
    expect(owner_page.get_by_role("row")).to_have_count(4)
    owner_page.get_by_label("Current password").fill(PASSWORD)
    owner_page.get_by_label("New password").fill(NEW_PASSWORD)
    owner_page.get_by_role("button", name="Change the password").click()

    expect(owner_page.get_by_role("row")).to_have_count(2)
    expect(owner_page.get_by_text("this one")).to_be_visible()
    phone.reload()
    expect(phone).to_have_url(re.compile("/sign-in"))


def test_a_forgotten_password_is_set_again_by_a_link(owner_page: Page, stack):
    owner_page.goto(stack.flask("reset-link", "--email", "owner@people.example").strip())
    owner_page.get_by_label("New password").fill(NEW_PASSWORD)
    owner_page.get_by_role("button", name="Set the password").click()

    owner_page.wait_for_url("**/sign-in")
    owner_page.get_by_label("E-mail").fill("owner@people.example")
    owner_page.get_by_label("Password").fill(NEW_PASSWORD)
    owner_page.get_by_role("button", name="Sign in").click()
    owner_page.wait_for_url("**/teams/**")


def invite(page: Page, email: str) -> str:
    go(page, "Members")
    page.get_by_role("button", name="Invite").click()
    page.get_by_label("E-mail").fill(email)
    page.get_by_role("button", name="Make the link").click()
    field = page.get_by_label("Invitation link")
    expect(field).to_have_value(re.compile(r"/invitation\?token="))
    link = field.input_value()
    with page.expect_navigation():
        page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("heading", name="Invited")).to_be_visible()
    return link


def go(page: Page, link: str) -> None:
    with page.expect_navigation():
        page.get_by_role("link", name=link, exact=True).click()
